import { setMaxListeners } from 'node:events';

/** While nothing has come of those who ask, one more may ask after each such time: one slow answer is not the host's. */
const PATIENCE_MS = 1000;
/** … and after so long once the host has failed somebody: the others under way most often tell the same soon. */
const DOUBTFUL_PATIENCE_MS = 10_000;
const MOST_AT_ONCE = 4;

interface Host {
  settled: boolean;
  doubtful: boolean;
  allowed: number;
  asking: number;
  readonly waiting: (() => void)[];
  alarm: NodeJS.Timeout | undefined;
}

/**
 * Lets one caller ask a host of which nothing is known yet, and the others wait for what comes of it: a host that is down,
 * or not what it should be, is then not met by a whole run at once.
 */
export class FirstAnswers {
  readonly #hosts = new Map<string, Host>();

  /** It is known what the host is like, good or bad: nobody waits any more. */
  settle(name: string): void {
    const host = this.#of(name);
    host.settled = true;
    this.#admit(host);
  }

  /** Waits for a place; the answer gives it back, and says whether the host failed. @throws the signal's reason */
  async enter(name: string, signal: AbortSignal): Promise<(failed: boolean) => void> {
    signal.throwIfAborted();
    const host = this.#of(name);
    if (host.settled) return () => {};
    if (host.asking < host.allowed) host.asking += 1;
    else await this.#wait(host, signal);
    return failed => {
      host.asking -= 1;
      if (failed) {
        host.doubtful = true;
        stopAlarm(host);
        host.allowed = Math.max(1, host.allowed - 1);
      }
      this.#admit(host);
    };
  }

  #wait(host: Host, signal: AbortSignal): Promise<void> {
    // One signal serves a whole run: that many wait on it is no leak.
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
    while (host.waiting.length > 0 && (host.settled || host.asking < host.allowed)) host.waiting.shift()?.();
    if (host.waiting.length === 0 || host.allowed >= MOST_AT_ONCE) {
      stopAlarm(host);
      return;
    }
    host.alarm ??= setTimeout(
      () => {
        host.alarm = undefined;
        host.allowed += 1;
        this.#admit(host);
      },
      host.doubtful ? DOUBTFUL_PATIENCE_MS : PATIENCE_MS,
    );
  }

  #of(name: string): Host {
    const host = this.#hosts.get(name) ?? {
      settled: false,
      doubtful: false,
      allowed: 1,
      asking: 0,
      waiting: [],
      alarm: undefined,
    };
    this.#hosts.set(name, host);
    return host;
  }
}

function stopAlarm(host: Host): void {
  clearTimeout(host.alarm);
  host.alarm = undefined;
}
