import {
  createHash,
  createPublicKey as createPublic,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { bits, explicit, integer, octets, oid, sequence, set, time, tlv, utf8 } from '../support/der.ts';

const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  alternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  codeSigning: '1.3.6.1.5.5.7.3.3',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  fulcioIssuerFirst: '1.3.6.1.4.1.57264.1.1',
  fulcioIssuer: '1.3.6.1.4.1.57264.1.8',
  timestamps: '1.3.6.1.4.1.11129.2.4.2',
} as const;

const HOUR_MS = 3_600_000;
const START = new Date(Date.now() - 24 * HOUR_MS);

export interface CertifyOptions {
  readonly identity?: string;
  readonly issuer?: string;
  /** Default: ten minutes around now, as Fulcio does it. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Leave the certificate transparency log out. Default false. */
  readonly unlogged?: boolean;
  readonly usage?: 'codeSigning' | 'clientAuth';
}

export interface Signer {
  readonly key: KeyObject;
  /** DER. */
  readonly certificate: Buffer;
}

export const IDENTITY = 'https://github.com/team/plugins/.github/workflows/release.yaml@refs/heads/main';
export const ISSUER = 'https://token.actions.githubusercontent.com';

/** Fulcio, its certificate transparency log and Rekor, as far as their signatures go: all of it made in memory. */
export class FakeSigstore {
  readonly #authority = newKey();
  readonly #certificateLog = newKey();
  readonly #rekor = newKey();
  readonly #root: Buffer;

  constructor() {
    const name = distinguished('a throw-away authority');
    const extensions = [
      extension(OID.basicConstraints, sequence(tlv(0x01, Buffer.from([0xff]))), true),
      extension(OID.keyUsage, bits(Buffer.from([0x06]), 1), true),
      extension(OID.subjectKeyId, octets(keyId(this.#authority))),
    ];
    const days = sequence(time(START), time(new Date(Date.now() + 240 * HOUR_MS)));
    this.#root = this.#seal(this.#content(name, days, name, this.#authority, extensions));
  }

  /** What a policy's trusted root holds. */
  trustedRoot(): object {
    const validFor = { start: START.toISOString() };
    const log = (baseUrl: string, key: KeyObject) => ({
      baseUrl,
      hashAlgorithm: 'SHA2_256',
      publicKey: { rawBytes: spki(key).toString('base64'), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor },
      logId: { keyId: sha256(spki(key)).toString('base64') },
    });
    return {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [log('https://rekor.test', this.#rekor)],
      certificateAuthorities: [
        {
          subject: { organization: 'test', commonName: 'a throw-away authority' },
          uri: 'https://fulcio.test',
          certChain: { certificates: [{ rawBytes: this.#root.toString('base64') }] },
          validFor,
        },
      ],
      ctlogs: [log('https://ctfe.test', this.#certificateLog)],
      timestampAuthorities: [],
    };
  }

  certify(options: CertifyOptions = {}): Signer {
    const { identity = IDENTITY, issuer = ISSUER, usage = 'codeSigning' } = options;
    const key = newKey();
    const notBefore = options.notBefore ?? new Date(Date.now() - HOUR_MS / 6);
    const days = sequence(time(notBefore), time(options.notAfter ?? new Date(Date.now() + HOUR_MS / 6)));
    const extensions = [
      extension(OID.keyUsage, bits(Buffer.from([0x80]), 7), true),
      extension(OID.extendedKeyUsage, sequence(oid(OID[usage]))),
      extension(OID.subjectKeyId, octets(keyId(key))),
      extension(OID.authorityKeyId, sequence(tlv(0x80, keyId(this.#authority)))),
      extension(OID.alternativeName, sequence(tlv(0x86, Buffer.from(identity))), true),
      // The first form has no encoding of its own; Fulcio writes both.
      extension(OID.fulcioIssuerFirst, Buffer.from(issuer)),
      extension(OID.fulcioIssuer, utf8(issuer)),
    ];
    const name = distinguished('a throw-away authority');
    const serial = randomBytes(16);
    serial[0] = 0x01;
    const content = (all: readonly Buffer[]) => this.#content(name, days, sequence(), key, all, serial);
    const logged = options.unlogged === true ? [] : [this.#timestampOf(content(extensions), notBefore)];
    return { key, certificate: this.#seal(content([...extensions, ...logged])) };
  }

  /**
   * Rekor's entry for a signature, as a bundle has it: with the log's promise and the proof that it is in a log of one.
   * `body` is the entry; `at` when the log says that it came.
   */
  entry(body: { readonly kind: string; readonly apiVersion: string }, at: Date = new Date()): RekorEntry {
    const canonical = Buffer.from(JSON.stringify(sorted(body)));
    const logId = sha256(spki(this.#rekor));
    const promised = sorted({
      body: canonical.toString('base64'),
      integratedTime: Math.floor(at.getTime() / 1000),
      logID: logId.toString('hex'),
      logIndex: 0,
    });
    const promise = sign('sha256', Buffer.from(JSON.stringify(promised)), this.#rekor);
    const rootHash = sha256(Buffer.concat([Buffer.from([0]), canonical]));
    const note = `rekor.test\n1\n${rootHash.toString('base64')}\n`;
    const noted = Buffer.concat([logId.subarray(0, 4), sign('sha256', Buffer.from(note), this.#rekor)]);
    return {
      logIndex: '0',
      logId: { keyId: logId.toString('base64') },
      kindVersion: { kind: body.kind, version: body.apiVersion },
      integratedTime: String(promised.integratedTime),
      inclusionPromise: { signedEntryTimestamp: promise.toString('base64') },
      inclusionProof: {
        logIndex: '0',
        rootHash: rootHash.toString('base64'),
        treeSize: '1',
        hashes: [],
        checkpoint: { envelope: `${note}\n\u2014 rekor.test ${noted.toString('base64')}\n` },
      },
      canonicalizedBody: canonical.toString('base64'),
    };
  }

  /** RFC 6962, 3.2: the log's promise over the certificate without the promise in it. */
  #timestampOf(content: Buffer, at: Date): Buffer {
    const when = Buffer.alloc(8);
    when.writeBigUInt64BE(BigInt(at.getTime()));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(content.length);
    const signed = Buffer.concat([
      Buffer.from([0, 0]),
      when,
      Buffer.from([0, 1]),
      sha256(spki(this.#authority)),
      length.subarray(1),
      content,
      Buffer.from([0, 0]),
    ]);
    const signature = sign('sha256', signed, this.#certificateLog);
    const timestamp = Buffer.concat([
      Buffer.from([0]),
      sha256(spki(this.#certificateLog)),
      when,
      Buffer.from([0, 0, 4, 3]),
      sized(signature),
    ]);
    return extension(OID.timestamps, octets(sized(sized(timestamp))));
  }

  #content(
    issuer: Buffer,
    days: Buffer,
    subject: Buffer,
    key: KeyObject,
    extensions: readonly Buffer[],
    serial: Buffer = Buffer.from([1]),
  ): Buffer {
    const algorithm = sequence(oid(OID.ecdsaWithSha256));
    const version = explicit(0, integer(Buffer.from([2])));
    const all = explicit(3, sequence(...extensions));
    return sequence(version, integer(serial), algorithm, issuer, days, subject, spki(key), all);
  }

  #seal(content: Buffer): Buffer {
    const signature = sign('sha256', content, this.#authority);
    return sequence(content, sequence(oid(OID.ecdsaWithSha256)), bits(signature, 0));
  }
}

export interface RekorEntry {
  readonly logIndex: string;
  readonly logId: { readonly keyId: string };
  readonly kindVersion: { readonly kind: string; readonly version: string };
  readonly integratedTime: string;
  readonly inclusionPromise: { readonly signedEntryTimestamp: string };
  readonly inclusionProof: object;
  readonly canonicalizedBody: string;
}

export function pemOf(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

function spki(key: KeyObject): Buffer {
  return createPublic(key).export({ type: 'spki', format: 'der' });
}

function keyId(key: KeyObject): Buffer {
  return createHash('sha1').update(spki(key)).digest();
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function sized(bytes: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [tlv(0x01, Buffer.from([0xff]))] : []), octets(value));
}

function distinguished(commonName: string): Buffer {
  return sequence(set(sequence(oid(OID.commonName), utf8(commonName))));
}

/** Keys in order, as canonical JSON has them. */
function sorted<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  ) as T;
}
