import type { KeyObject } from 'node:crypto';
import { verify } from 'node:crypto';
import type { SignedEntity } from '@sigstore/verify';

/** What stands beside an image and could be its signature: read, nothing of it judged yet. */
export interface FoundSignature {
  /** The digests that the signed statement speaks of, as `sha256:…`. */
  readonly digests: readonly string[];
  /** The bytes that were signed. */
  readonly signed: Buffer;
  /** What Sigstore's verifier judges. */
  readonly entity: SignedEntity;
  /** The signer's certificate in DER, if there is one. */
  readonly certificate?: Buffer;
}

/** Something beside the image that is no signature of it; the message says in words why. */
export class NoSignature extends Error {}

/** `signed` are the bytes that were signed, `logged` is the sha256 that a transparency log holds of them. */
export function signedContent(signed: Buffer, signature: Buffer, logged: Buffer): SignedEntity['signature'] {
  return {
    signature,
    compareSignature: other => other.equals(signature),
    compareDigest: other => other.equals(logged),
    verifySignature: key => isSignedBy(key, signed, signature),
  };
}

/**
 * What certificates and cosign's keys stand for: ECDSA in DER and RSA PKCS #1 v1.5, over any SHA-2, and plain Ed25519.
 * Sigstore's own verifier hashes with OpenSSL's default alone.
 */
function isSignedBy(key: KeyObject, signed: Buffer, signature: Buffer): boolean {
  try {
    const hashes = key.asymmetricKeyType === 'ed25519' ? [null] : ['sha256', 'sha384', 'sha512'];
    return hashes.some(hash => verify(hash, signed, key, signature));
  } catch {
    return false; // what is no signature at all
  }
}
