import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { bits, explicit, integer, octets, oid, sequence, set, time, tlv, utf8 } from './der.ts';

export interface CertificateOptions {
  /** DNS names and IP addresses it is good for. Default: localhost, 127.0.0.1 and ::1. Empty: none. */
  readonly hosts?: readonly string[];
  /** Default: the first host. */
  readonly commonName?: string;
  /** Default: an hour ago. */
  readonly notBefore?: Date;
  /** Default: in a day. */
  readonly notAfter?: Date;
  /** For a client to show instead of a server. Default `server`. */
  readonly usage?: 'server' | 'client';
}

/** PEM, both. */
export interface KeyAndCertificate {
  readonly key: string;
  readonly cert: string;
}

const HOUR_MS = 3_600_000;
const OIDS = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  alternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** A throw-away certificate authority (X.509 v3, RFC 5280; ECDSA P-256), made in memory without any other program. */
export class CertificateAuthority {
  readonly #key: KeyObject;
  readonly #keyId: Buffer;
  readonly #name: string;
  /** PEM: what a client must trust. */
  readonly cert: string;

  /** Signed by itself, or, for an intermediate authority, by `parent`. */
  constructor(
    name = 'Throw-away test authority',
    parent?: CertificateAuthority,
    { notBefore, notAfter }: Pick<CertificateOptions, 'notBefore' | 'notAfter'> = {},
  ) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#key = privateKey;
    this.#keyId = keyIdOf(publicKey);
    this.#name = name;
    const signer: CertificateAuthority = parent ?? this;
    const from = notBefore ?? new Date(Date.now() - HOUR_MS);
    const to = notAfter ?? new Date(Date.now() + 240 * HOUR_MS);
    this.cert = signer.#sign(name, publicKey, from, to, [
      extension(OIDS.basicConstraints, sequence(tlv(0x01, Buffer.from([0xff]))), true),
      // keyCertSign and cRLSign.
      extension(OIDS.keyUsage, bits(Buffer.from([0x06]), 1), true),
    ]);
  }

  issue(options: CertificateOptions = {}): KeyAndCertificate {
    const { hosts = ['localhost', '127.0.0.1', '::1'], usage = 'server' } = options;
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const names = hosts.map(host => (isIP(host) === 0 ? tlv(0x82, Buffer.from(host)) : tlv(0x87, addressBytes(host))));
    const cert = this.#sign(
      options.commonName ?? hosts[0] ?? 'nobody',
      publicKey,
      options.notBefore ?? new Date(Date.now() - HOUR_MS),
      options.notAfter ?? new Date(Date.now() + 24 * HOUR_MS),
      [
        extension(OIDS.basicConstraints, sequence(), true),
        // digitalSignature.
        extension(OIDS.keyUsage, bits(Buffer.from([0x80]), 7), true),
        extension(OIDS.extendedKeyUsage, sequence(oid(usage === 'client' ? OIDS.clientAuth : OIDS.serverAuth))),
        ...(names.length === 0 ? [] : [extension(OIDS.alternativeName, sequence(...names))]),
      ],
    );
    return { key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })), cert };
  }

  #sign(subject: string, key: KeyObject, notBefore: Date, notAfter: Date, extensions: readonly Buffer[]): string {
    const algorithm = sequence(oid(OIDS.ecdsaWithSha256));
    const serial = randomBytes(16);
    serial[0] = 0x01;
    const content = sequence(
      explicit(0, integer(Buffer.from([2]))),
      integer(serial),
      algorithm,
      distinguished(this.#name),
      sequence(time(notBefore), time(notAfter)),
      distinguished(subject),
      key.export({ type: 'spki', format: 'der' }),
      explicit(
        3,
        sequence(
          ...extensions,
          extension(OIDS.subjectKeyId, octets(keyIdOf(key))),
          extension(OIDS.authorityKeyId, sequence(tlv(0x80, this.#keyId))),
        ),
      ),
    );
    return pem(sequence(content, algorithm, bits(sign('sha256', content, this.#key), 0)));
  }
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [tlv(0x01, Buffer.from([0xff]))] : []), octets(value));
}

function distinguished(commonName: string): Buffer {
  return sequence(set(sequence(oid(OIDS.commonName), utf8(commonName))));
}

function keyIdOf(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

function addressBytes(host: string): Buffer {
  if (isIP(host) === 4) return Buffer.from(host.split('.').map(Number));
  const [before = '', after = ''] = host.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':').map(group => Number.parseInt(group, 16)));
  const tail = groups(after);
  const head = groups(before);
  const all = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  return Buffer.from(all.flatMap(group => [group >> 8, group & 0xff]));
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
