import { setMaxListeners } from 'node:events';

/** While the first request gets no answer, one more may be sent each time this long has passed: one slow answer does not prove a slow host. */
const PATIENCE_MS = 1000;
/** The same once a request to the host has failed: those that are under way will soon show whether it is down. */
const PATIENCE_AFTER_FAILURE_MS = 10_000;
const MOST_AT_ONCE = 4;

interface Host {
  isKnown: boolean;
  hasFailed: boolean;
  allowed: number;
  asking: number;
  readonly waiting: (() => void)[];
  timer: NodeJS.Timeout | undefined;
}

/**
 * Lets one request go first to a host that has not answered yet; all others wait for its outcome. A registry's first answer
 * saves the others a round trip, because it says how to log in; and a host that is down is not asked by a whole run at the
 * same time.
 */
export class FirstRequest {
  readonly #hosts = new Map<string, Host>();

  /** The host is known, good or bad: no request waits any longer. */
  known(name: string): void {
    const host = this.#of(name);
    host.isKnown = true;
    this.#admit(host);
  }

  /**
   * Waits until a request to the host may be sent. The function returned must be called once when the request has ended,
   * with true if the host failed. @throws the signal's reason
   */
  async enter(name: string, signal: AbortSignal): Promise<(failed: boolean) => void> {
    signal.throwIfAborted();
    const host = this.#of(name);
    if (host.isKnown) return () => {};
    if (host.asking < host.allowed) host.asking += 1;
    else await this.#wait(host, signal);
    return failed => {
      host.asking -= 1;
      if (failed) {
        host.hasFailed = true;
        stopTimer(host);
        host.allowed = Math.max(1, host.allowed - 1);
      }
      this.#admit(host);
    };
  }

  #wait(host: Host, signal: AbortSignal): Promise<void> {
    // One signal serves a whole run, so that many listeners are not a leak.
    setMaxListeners(0, signal);
    return new Promise((resolve, reject) => {
      const admitted = (): void => {
        signal.removeEventListener('abort', leave);
        host.asking += 1;
        resolve();
      };
      const leave = (): void => {
        host.waiting.splice(host.waiting.indexOf(admitted), 1);
        this.#admit(host);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      host.waiting.push(admitted);
      this.#admit(host);
    });
  }

  #admit(host: Host): void {
    while (host.waiting.length > 0 && (host.isKnown || host.asking < host.allowed)) host.waiting.shift()?.();
    if (host.waiting.length === 0 || host.allowed >= MOST_AT_ONCE) {
      stopTimer(host);
      return;
    }
    host.timer ??= setTimeout(
      () => {
        host.timer = undefined;
        host.allowed += 1;
        this.#admit(host);
      },
      host.hasFailed ? PATIENCE_AFTER_FAILURE_MS : PATIENCE_MS,
    );
  }

  #of(name: string): Host {
    const host = this.#hosts.get(name) ?? {
      isKnown: false,
      hasFailed: false,
      allowed: 1,
      asking: 0,
      waiting: [],
      timer: undefined,
    };
    this.#hosts.set(name, host);
    return host;
  }
}

function stopTimer(host: Host): void {
  clearTimeout(host.timer);
  host.timer = undefined;
}
