import { type KeyObject, verify } from 'node:crypto';
import type { SignedEntity } from '@sigstore/verify';
import { Refusal } from '../../base/refusal.ts';
import { describePolicy, type KeyPolicy, type SignaturePolicy } from './policy.ts';

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

const KEPT =
  'A copy from before the policy stays published until you remove it from the manifest and run plugin-mirror sync --prune.';

/** The registry has no signature of the image. */
export class SignatureMissing extends Refusal {
  readonly code = 'SIGNATURE_MISSING';

  constructor(subject: string, digest: string, policy: SignaturePolicy) {
    super(`${subject} is not signed`, {
      subject,
      faultIn: describePolicy(policy),
      expected: describePolicy(policy),
      found: `no signature of ${digest}`,
      hint: `Sign it with cosign, or copy the signature together with the image (plugin-mirror push, oras cp -r). If it needs no signature, add a policy with "unsigned" to "signatures" of the manifest. ${KEPT}`,
    });
  }
}

/** The registry has signatures of the image, and none satisfies the policy. */
export class SignatureInvalid extends Refusal {
  readonly code = 'SIGNATURE_INVALID';

  constructor(subject: string, policy: SignaturePolicy, reasons: readonly string[], cause?: unknown) {
    super(`${subject} has no signature that satisfies the manifest's "${policy.path}": ${listed(reasons)}`, {
      subject,
      faultIn: describePolicy(policy),
      expected: describePolicy(policy),
      found: listed(reasons),
      hint: `This run did not publish it. ${KEPT} Ask the publisher how the image is signed before you change the policy: someone else may have pushed it.`,
      cause,
    });
  }
}

/** The policy itself cannot be applied. */
export class SignaturePolicyUnusable extends Refusal {
  readonly code = 'SIGNATURE_POLICY';
}

/** Returns the error for a file that is not a trusted root. */
export function rootError(policy: SignaturePolicy, file: string, cause: unknown): SignaturePolicyUnusable {
  return new SignaturePolicyUnusable(
    `${file}, named by ${policy.path} of the manifest, cannot be used as a trusted root`,
    {
      subject: file,
      expected: "Sigstore's trusted root in JSON, with certificate authorities and logs",
      found: cause instanceof Error ? cause.message : String(cause),
      hint: 'Write one with "cosign trusted-root create", or use Sigstore’s own: trusted_root.json of github.com/sigstore/root-signing.',
      cause,
    },
  );
}

/** Returns the error for a signature that the policy's Ed25519 key may have made in the prehashed form. */
export function prehashedError({ key, path }: KeyPolicy): SignaturePolicyUnusable {
  return new SignaturePolicyUnusable(
    `${key.written}, named by ${path} of the manifest, is an Ed25519 key, whose cosign signatures are not supported`,
    {
      subject: key.written,
      expected: 'an ECDSA or RSA key, or a plain Ed25519 signature',
      found: 'an Ed25519 signature that is prehashed (Ed25519ph, the form that cosign makes) or made by another key',
      hint: 'Sign with an ECDSA key, such as "cosign generate-key-pair" makes, and name its public key in the manifest.',
    },
  );
}

const SHOWN = 5;

function listed(reasons: readonly string[]): string {
  const more = reasons.length > SHOWN ? `; and ${reasons.length - SHOWN} more` : '';
  return `${reasons.slice(0, SHOWN).join('; ')}${more}`;
}
