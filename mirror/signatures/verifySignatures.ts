import type { Refusal } from '../../base/refusal.ts';
import { RegistryDigestMismatch, RegistryNotFound, RegistryProtocol, RegistryRefusal } from '../../registry/errors.ts';
import type { Image } from '../../registry/image.ts';
import { formatReference, type Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import { findSignatures } from './findSignatures.ts';
import { NoSignature, SignatureInvalid, SignatureMissing, SignaturePolicyUnusable } from './foundSignature.ts';
import { openJudge } from './judgeSignature.ts';
import { fingerprintOf, type SignaturePolicy, type SignatureProof } from './policy.ts';

/**
 * Verifies that an image satisfies a policy. One valid signature is enough, whatever others the image has. It must sign what
 * the reference resolved to (an index, if there is one) or the manifest chosen from it. Signatures come from the registry
 * and are verified offline with the policy's files.
 * Import this file dynamically: it loads Sigstore's packages, which a run without policies does not need.
 * @throws SignatureMissing, SignatureInvalid, SignaturePolicyUnusable, the registry's errors, the signal's reason
 */
export async function verifySignatures(
  policy: SignaturePolicy,
  image: Image,
  reference: Reference,
  registry: Registry,
  signal: AbortSignal,
): Promise<SignatureProof> {
  const judge = openJudge(policy);
  const accepted: readonly string[] = [image.digest, image.manifestDigest];
  const failures: NoSignature[] = [];
  for await (const found of findSignatures({ reference, image, registry, signal }))
    try {
      if (found instanceof NoSignature) throw found;
      const digest = found.digests.find(each => accepted.includes(each));
      if (digest === undefined) throw new NoSignature(`a signature of another image (${shown(found.digests)})`);
      return { policy: fingerprintOf(policy), signer: judge(found), digest };
    } catch (error) {
      if (!(error instanceof NoSignature)) throw error;
      failures.push(error);
    }
  signal.throwIfAborted();
  const undecided = failures.map(({ cause }) => cause).find(isUndecided);
  if (undecided !== undefined) throw undecided;
  const subject = formatReference(reference);
  if (failures.length === 0) throw new SignatureMissing(subject, image.digest, policy);
  const reasons = [...new Set(failures.map(({ message }) => message))];
  throw new SignatureInvalid(subject, policy, reasons, failures[0]);
}

/** The signature could not be read or not be verified, so it might have been valid: its own error is the better one. */
function isUndecided(cause: unknown): cause is Refusal {
  if (cause instanceof SignaturePolicyUnusable) return true;
  if (!(cause instanceof RegistryRefusal)) return false;
  return ![RegistryNotFound, RegistryProtocol, RegistryDigestMismatch].some(Kind => cause instanceof Kind);
}

function shown(digests: readonly string[]): string {
  return digests.length === 0
    ? 'of no digest'
    : digests
        .slice(0, 3)
        .map(each => each.slice(0, 140))
        .join(', ');
}
