import { Refusal } from '../../base/refusal.ts';
import { describePolicy, type SignaturePolicy } from './policy.ts';

/** Nothing that could be a signature stands beside the image. */
export class SignatureMissing extends Refusal {
  readonly code = 'SIGNATURE_MISSING';

  constructor(subject: string, digest: string, policy: SignaturePolicy) {
    super(`${subject} is not signed`, {
      subject,
      faultIn: describePolicy(policy),
      expected: describePolicy(policy),
      found: `no signature beside ${digest}`,
      hint: `Sign it with cosign, or copy the signature along with the image (cosign copy). If it is to come unsigned, except it in "signatures" of the manifest. A copy from before the policy stays published until you take it out of the manifest and run sync --prune.`,
    });
  }
}

/** There are signatures, and none is what the policy asks for. */
export class SignatureInvalid extends Refusal {
  readonly code = 'SIGNATURE_INVALID';

  constructor(subject: string, policy: SignaturePolicy, reasons: readonly string[], cause?: unknown) {
    super(`${subject} has no signature that satisfies the manifest's "${policy.place}": ${listed(reasons)}`, {
      subject,
      faultIn: describePolicy(policy),
      expected: describePolicy(policy),
      found: listed(reasons),
      hint: 'This run published nothing of it; a copy from before the policy stays published until you take it out of the manifest and run sync --prune. Ask whoever pushed the image how it is signed, before you change the policy: the image may not be theirs.',
      cause,
    });
  }
}

/** The policy itself cannot be applied. */
export class SignaturePolicyUnusable extends Refusal {
  readonly code = 'SIGNATURE_POLICY';

  constructor(policy: SignaturePolicy, file: string, cause: unknown) {
    super(`${file}, named by ${policy.place} of the manifest, cannot be used as a trusted root`, {
      subject: file,
      expected: "Sigstore's trusted root in JSON, with certificate authorities and logs in it",
      found: cause instanceof Error ? cause.message : String(cause),
      hint: 'Write one with "cosign trusted-root create", or take Sigstore’s own: trusted_root.json of github.com/sigstore/root-signing.',
      cause,
    });
  }
}

const SHOWN = 5;

function listed(reasons: readonly string[]): string {
  const more = reasons.length > SHOWN ? `; and ${reasons.length - SHOWN} more` : '';
  return `${reasons.slice(0, SHOWN).join('; ')}${more}`;
}
