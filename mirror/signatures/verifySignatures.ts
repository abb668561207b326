import { RegistryDigestMismatch, RegistryNotFound, RegistryProtocol, RegistryRefusal } from '../../registry/errors.ts';
import type { Image } from '../../registry/image.ts';
import { formatReference, type Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import { findSignatures } from './findSignatures.ts';
import { NoSignature } from './foundSignature.ts';
import { openJudge } from './judgeSignature.ts';
import { fingerprintOf, type SignaturePolicy, type SignatureProof } from './policy.ts';
import { SignatureInvalid, SignatureMissing } from './signatureErrors.ts';

/**
 * The door of this folder: proof that an image satisfies a policy, or a refusal. One signature that fits is enough,
 * whatever else stands beside the image; it must be over what the reference resolved to (an index, where there is one)
 * or over the manifest chosen from it. Only the registry is asked, and what it says is proven from the policy's own files.
 * Import it dynamically: it loads Sigstore's packages, which a run without policies has no need of.
 * @throws SignatureMissing, SignatureInvalid, SignaturePolicyUnusable, the registry's refusals, the signal's reason
 */
export async function verifySignatures(
  policy: SignaturePolicy,
  image: Image,
  reference: Reference,
  registry: Registry,
  signal: AbortSignal,
): Promise<SignatureProof> {
  const judge = await openJudge(policy);
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
  const unread = failures.map(({ cause }) => cause).find(isUnread);
  if (unread !== undefined) throw unread;
  const subject = formatReference(reference);
  if (failures.length === 0) throw new SignatureMissing(subject, image.digest, policy);
  const reasons = [...new Set(failures.map(({ message }) => message))];
  throw new SignatureInvalid(subject, policy, reasons, failures[0]);
}

/** The registry kept it back, so nobody knows whether it would have fitted. */
function isUnread(cause: unknown): cause is RegistryRefusal {
  if (!(cause instanceof RegistryRefusal)) return false;
  return ![RegistryNotFound, RegistryProtocol, RegistryDigestMismatch].some(Kind => cause instanceof Kind);
}

function shown(digests: readonly string[]): string {
  return digests.length === 0
    ? 'of none'
    : digests
        .slice(0, 3)
        .map(each => each.slice(0, 140))
        .join(', ');
}
