import { setMaxListeners } from 'node:events';

/** A first request that is not answered within this time holds the others back no longer. */
const PATIENCE_MS = 1000;

interface Contact {
  readonly over: Promise<void>;
  readonly end: () => void;
}

/**
 * Lets one request go ahead to a host that has not answered yet: what it learns, how to log in above all, saves each of
 * the others a round trip. Whatever comes of the first, the others wait for it once only, and not for long.
 */
export class FirstContacts {
  readonly #contacts = new Map<string, Contact>();

  /** Resolves at once for the first and when that has ended for the others; the answer ends it, later calls do nothing. */
  async enter(host: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const known = this.#contacts.get(host);
    if (known === undefined) {
      const contact = begin();
      this.#contacts.set(host, contact);
      return contact.end;
    }
    // One signal serves a whole run: that many wait on it is no leak.
    setMaxListeners(0, signal);
    let stop = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      const leave = (): void => reject(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
      stop = () => signal.removeEventListener('abort', leave);
    });
    try {
      await Promise.race([known.over, aborted]);
    } finally {
      stop();
    }
    return known.end;
  }
}

function begin(): Contact {
  let resolveOver = (): void => {};
  const over = new Promise<void>(resolve => {
    resolveOver = resolve;
  });
  const alarm = setTimeout(resolveOver, PATIENCE_MS);
  const end = (): void => {
    clearTimeout(alarm);
    resolveOver();
  };
  return { over, end };
}
