import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { pemBlocks } from '../../base/pem.ts';

/** A file that a policy names, read together with the manifest. */
export interface PolicyFile {
  /** The path as in the manifest. */
  readonly written: string;
  readonly text: string;
}

/** Whose signature an image needs. */
export type SignaturePolicy = KeyPolicy | KeylessPolicy;

interface PolicyBase {
  /** Its path in the manifest, e.g. `signatures[1]`. */
  readonly path: string;
}

/** A signature by one of these keys. */
export interface KeyPolicy extends PolicyBase {
  readonly kind: 'key';
  /**
   * One or several public keys in PEM, such as an old and a new one: ECDSA over P-256, P-384 or P-521, RSA of 2048 bits or more,
   * or Ed25519 (plain signatures only, which cosign does not make).
   */
  readonly key: PolicyFile;
  /** If given, the signature must also be in one of its transparency logs. Default: no log is required. */
  readonly trustedRoot?: PolicyFile;
}

/** A signature with a certificate for this identity, from an authority of the trusted root (Sigstore, keyless). */
export interface KeylessPolicy extends PolicyBase {
  readonly kind: 'keyless';
  /** The certificate's subject alternative name: exactly, or a pattern (RegExp) that matches all of it. */
  readonly identity: { readonly exact: string } | { readonly pattern: string };
  /** The OIDC issuer that confirmed the identity, exactly. */
  readonly issuer: string;
  /** Sigstore's TrustedRoot as JSON: authorities, transparency logs, timestamp authorities. Never downloaded. */
  readonly trustedRoot: PolicyFile;
}

/** Proof that an image satisfies a policy; `signature` in metadata.json. */
export interface SignatureProof {
  /** fingerprintOf the satisfied policy. */
  readonly policy: string;
  /** The signer: `key sha256:…`, or `IDENTITY by ISSUER`. */
  readonly signer: string;
  /** The digest that was signed, of the index or of the manifest. */
  readonly digest: string;
}

/**
 * Returns the sha256 of a policy's requirements, files by their content; bare hex. Two policies with the same fingerprint
 * accept the same signatures, wherever they are in the manifest.
 */
export function fingerprintOf(policy: SignaturePolicy): string {
  const known = fingerprints.get(policy) ?? fingerprint(policy);
  fingerprints.set(policy, known);
  return known;
}

/** One policy may apply to thousands of versions. */
const fingerprints = new WeakMap<SignaturePolicy, string>();

function fingerprint(policy: SignaturePolicy): string {
  const root = policy.trustedRoot === undefined ? '' : sha256(policy.trustedRoot.text);
  const asked =
    policy.kind === 'key'
      ? ['key', keysOf(policy).map(keyDigestOf).sort().join(' '), root]
      : ['keyless', policy.identity, policy.issuer, root];
  return sha256(JSON.stringify(asked));
}

/** Returns the blocks of a PEM text, or the whole text if it has none. A block that is cut off is not a readable key. */
export function pemBlocksOf(text: string): readonly string[] {
  const blocks = pemBlocks(text).map(({ label, text: block }) => block ?? `-----BEGIN ${label}-----`);
  return blocks.length > 0 ? blocks : [text];
}

/** The keys of a policy, in the order of the file. */
export function keysOf({ key }: KeyPolicy): readonly KeyObject[] {
  return pemBlocksOf(key.text).map(block => createPublicKey(block));
}

/** Returns the sha256 of a key's SubjectPublicKeyInfo in DER; bare hex. */
export function keyDigestOf(key: KeyObject): string {
  return sha256(key.export({ type: 'spki', format: 'der' }));
}

/** Describes the required signature for messages. */
export function describePolicy(policy: SignaturePolicy): string {
  if (policy.kind === 'key') {
    const log = policy.trustedRoot === undefined ? '' : `, in a transparency log of ${policy.trustedRoot.written}`;
    return `a cosign signature by ${keysOf(policy).length > 1 ? 'a key of' : 'the key'} ${policy.key.written}${log}`;
  }
  const { identity, issuer, trustedRoot } = policy;
  const who = 'exact' in identity ? identity.exact : `an identity that matches ${identity.pattern}`;
  return `a cosign signature by ${who}, confirmed by ${issuer}, under ${trustedRoot.written}`;
}

function sha256(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
