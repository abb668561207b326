import { createHash, timingSafeEqual } from 'node:crypto';

/** What a client must show to see the tree; either will do where both are set. Never from a command line: others read that. */
export interface Credentials {
  /** RFC 6750: `Authorization: Bearer …`. */
  readonly token?: string;
  /** RFC 7617: `Authorization: Basic …`. */
  readonly login?: { readonly user: string; readonly password: string };
}

/** Tells who may see the tree. Comparing takes the same time whatever is wrong with what was shown. */
export class Access {
  /** Header lines of a 401. */
  readonly challenge: readonly string[];
  readonly #token: Buffer | undefined;
  readonly #login: Buffer | undefined;

  constructor({ token, login }: Credentials) {
    this.#token = token === undefined ? undefined : fingerprint(token);
    this.#login = login === undefined ? undefined : fingerprint(`${login.user}:${login.password}`);
    const schemes = [
      ...(token === undefined ? [] : ['Bearer realm="plugin-mirror"']),
      ...(login === undefined ? [] : ['Basic realm="plugin-mirror", charset="UTF-8"']),
    ];
    this.challenge = schemes.flatMap(scheme => ['WWW-Authenticate', scheme]);
  }

  /** `authorization`: the field as it came. */
  admits(authorization: string | undefined): boolean {
    const match = /^(bearer|basic) +([A-Za-z0-9._~+/=-]+) *$/i.exec(authorization ?? '');
    if (match === null) return false;
    const [, scheme = '', shown = ''] = match;
    if (scheme.toLowerCase() === 'bearer') return isSame(this.#token, shown);
    return isSame(this.#login, Buffer.from(shown, 'base64'));
  }
}

function isSame(expected: Buffer | undefined, shown: string | Buffer): boolean {
  return expected !== undefined && timingSafeEqual(expected, fingerprint(shown));
}

/** Of one length, whatever went in. */
function fingerprint(secret: string | Buffer): Buffer {
  return createHash('sha256').update(secret).digest();
}
