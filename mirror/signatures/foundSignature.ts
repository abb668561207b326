import type { KeyObject } from 'node:crypto';
import { verify } from 'node:crypto';
import type { SignedEntity } from '@sigstore/verify';

/** A signature as it was read from the registry, not yet verified. */
export interface FoundSignature {
  /** The digests that the signed statement names, as `sha256:…`. */
  readonly digests: readonly string[];
  /** The signature in the form of Sigstore's verifier. */
  readonly entity: SignedEntity;
  /** The signer's certificate in DER, if there is one. */
  readonly certificate?: Buffer;
}

/** An artifact of the image that is not a signature of it; the message is a noun phrase with the reason. */
export class NoSignature extends Error {}

/** @param signed the bytes that were signed @param logged the sha256 of them in a transparency log */
export function signedContent(signed: Buffer, signature: Buffer, logged: Buffer): SignedEntity['signature'] {
  return {
    signature,
    compareSignature: other => other.equals(signature),
    compareDigest: other => other.equals(logged),
    verifySignature: key => isSignedBy(key, signed, signature),
  };
}

/**
 * ECDSA in DER and RSA PKCS #1 v1.5, each over any SHA-2, and plain Ed25519. Sigstore's own verifier uses only OpenSSL's
 * default hash.
 */
function isSignedBy(key: KeyObject, signed: Buffer, signature: Buffer): boolean {
  try {
    const hashes = key.asymmetricKeyType === 'ed25519' ? [null] : ['sha256', 'sha384', 'sha512'];
    return hashes.some(hash => verify(hash, signed, key, signature));
  } catch {
    return false; // not a signature at all
  }
}
