import { createHash, createPublicKey } from 'node:crypto';

/** A file that a policy names, as it was when the manifest was read. */
export interface PolicyFile {
  /** As the manifest says it. */
  readonly written: string;
  readonly text: string;
}

/** Whose signature an image must have. */
export type SignaturePolicy = KeyPolicy | KeylessPolicy;

interface PolicyPlace {
  /** Where it stands in the manifest, e.g. `signatures[1]`. */
  readonly place: string;
}

/** Somebody who has the private half of this key. */
export interface KeyPolicy extends PolicyPlace {
  readonly kind: 'key';
  /** A public key in PEM: ECDSA over P-256, P-384 or P-521, RSA of 2048 bits or more, or Ed25519. */
  readonly key: PolicyFile;
  /** With it the signature must stand in one of its transparency logs, too. Default: no log is asked for. */
  readonly trustedRoot?: PolicyFile;
}

/** Somebody to whom an authority of the trusted root gave a certificate in this name (Sigstore, keyless). */
export interface KeylessPolicy extends PolicyPlace {
  readonly kind: 'keyless';
  /** The certificate's subject alternative name: itself, or a pattern (RegExp) that the whole of it fits. */
  readonly identity: { readonly exact: string } | { readonly pattern: string };
  /** Who vouched for the identity: the OIDC issuer, exactly. */
  readonly issuer: string;
  /** Sigstore's TrustedRoot as JSON: authorities, transparency logs, timestamp authorities. Never fetched. */
  readonly trustedRoot: PolicyFile;
}

/** Proof that an image satisfies a policy; stands in metadata.json as `signature`. */
export interface SignatureProof {
  /** fingerprintOf the policy that was satisfied. */
  readonly policy: string;
  /** Who signed, in words: `key sha256:…`, or `IDENTITY by ISSUER`. */
  readonly signer: string;
  /** The digest that was signed: the index's or the manifest's. */
  readonly digest: string;
}

/**
 * sha256 over what a policy asks for, files by their content; bare hex. Two policies with one fingerprint accept the
 * same signatures, wherever in the manifest they stand.
 */
export function fingerprintOf(policy: SignaturePolicy): string {
  const known = fingerprints.get(policy) ?? fingerprint(policy);
  fingerprints.set(policy, known);
  return known;
}

/** One policy governs thousands of versions. */
const fingerprints = new WeakMap<SignaturePolicy, string>();

function fingerprint(policy: SignaturePolicy): string {
  const root = policy.trustedRoot === undefined ? '' : sha256(policy.trustedRoot.text);
  const asked =
    policy.kind === 'key' ? ['key', keyDigestOf(policy), root] : ['keyless', policy.identity, policy.issuer, root];
  return sha256(JSON.stringify(asked));
}

/** sha256 of the key's SubjectPublicKeyInfo in DER; bare hex. */
export function keyDigestOf({ key }: KeyPolicy): string {
  return sha256(createPublicKey(key.text).export({ type: 'spki', format: 'der' }));
}

/** What is asked for, for people. */
export function describePolicy(policy: SignaturePolicy): string {
  if (policy.kind === 'key') {
    const log = policy.trustedRoot === undefined ? '' : `, in a transparency log of ${policy.trustedRoot.written}`;
    return `a cosign signature by the key ${policy.key.written}${log}`;
  }
  const { identity, issuer, trustedRoot } = policy;
  const who = 'exact' in identity ? identity.exact : `an identity that fits ${identity.pattern}`;
  return `a cosign signature by ${who}, vouched for by ${issuer} under ${trustedRoot.written}`;
}

function sha256(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
