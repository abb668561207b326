import { createHash, timingSafeEqual } from 'node:crypto';
import type { ServerEvent } from '../events.ts';
import { type Credentials, requireCredentials } from '../options.ts';
import { Poller } from '../poller.ts';

/** Checks the credentials of requests. A comparison takes the same time whatever part of them is wrong. */
export class Access {
  /** Header lines of a 401. */
  challenge: readonly string[] = [];
  #token: Buffer | undefined;
  #login: Buffer | undefined;

  constructor(credentials: Credentials) {
    this.replace(credentials);
  }

  replace({ token, login }: Credentials): void {
    this.#token = token === undefined ? undefined : fingerprint(token);
    this.#login = login === undefined ? undefined : fingerprint(`${login.user}:${login.password}`);
    const schemes = [
      ...(token === undefined ? [] : ['Bearer realm="plugin-mirror"']),
      ...(login === undefined ? [] : ['Basic realm="plugin-mirror", charset="UTF-8"']),
    ];
    this.challenge = schemes.flatMap(scheme => ['WWW-Authenticate', scheme]);
  }

  /** `authorization`: the field's value, as the client sent it. */
  admits(authorization: string | undefined): boolean {
    const match = /^(bearer|basic) +([A-Za-z0-9._~+/=-]+) *$/i.exec(authorization ?? '');
    if (match === null) return false;
    const [, scheme = '', sent = ''] = match;
    if (scheme.toLowerCase() === 'bearer') return isSame(this.#token, sent);
    return isSame(this.#login, Buffer.from(sent, 'base64'));
  }
}

function isSame(expected: Buffer | undefined, sent: string | Buffer): boolean {
  return expected !== undefined && timingSafeEqual(expected, fingerprint(sent));
}

/** Returns a value whose length does not depend on the secret, as timingSafeEqual requires. */
function fingerprint(secret: string | Buffer): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** Reads the secrets again from time to time. Secrets that cannot be used are only reported: the former ones stay. */
export class AccessFollower {
  readonly #access: Access;
  readonly #read: () => Promise<Credentials>;
  readonly #onEvent: (event: ServerEvent) => void;
  readonly #poller: Poller;
  #current: string;
  #reported = '';

  constructor(
    access: Access,
    current: Credentials,
    options: {
      readonly read: () => Promise<Credentials>;
      readonly pollMs: number;
      readonly onEvent: (event: ServerEvent) => void;
    },
  ) {
    this.#access = access;
    this.#current = JSON.stringify(current);
    this.#read = options.read;
    this.#onEvent = options.onEvent;
    this.#poller = new Poller(options.pollMs, () => this.#check());
    this.#poller.start();
  }

  /** Reads the secrets now. */
  reload(): Promise<void> {
    return this.#poller.checkAgain();
  }

  stop(): Promise<void> {
    return this.#poller.stop();
  }

  async #check(): Promise<void> {
    try {
      const found = await this.#read();
      requireCredentials(found);
      this.#reported = '';
      if (JSON.stringify(found) === this.#current) return;
      this.#access.replace(found);
      this.#current = JSON.stringify(found);
      this.#onEvent({ kind: 'credentials-loaded' });
    } catch (error) {
      if (String(error) !== this.#reported) this.#onEvent({ kind: 'credentials-unusable', error });
      this.#reported = String(error);
    }
  }
}
