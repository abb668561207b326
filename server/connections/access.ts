import { createHash, timingSafeEqual } from 'node:crypto';
import type { Credentials } from '../options.ts';

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
