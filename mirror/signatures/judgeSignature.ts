import { type KeyObject, X509Certificate } from 'node:crypto';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { PolicyError, toTrustMaterial, VerificationError, Verifier } from '@sigstore/verify';
import { type FoundSignature, NoSignature, prehashedError, rootError } from './foundSignature.ts';
import {
  type KeylessPolicy,
  type KeyPolicy,
  keyDigestOf,
  keysOf,
  type PolicyFile,
  type SignaturePolicy,
} from './policy.ts';

/** Returns the signer of a signature that satisfies the policy. @throws NoSignature with the reason if it does not */
export type Judge = (found: FoundSignature) => string;

/** Works offline: the policy has everything that is trusted. @throws SignaturePolicyUnusable */
export function openJudge(policy: SignaturePolicy): Judge {
  const judge = policy.kind === 'key' ? judgeByKey(policy) : judgeByIdentity(policy);
  return found => {
    try {
      return judge(found);
    } catch (error) {
      if (error instanceof NoSignature) throw error;
      // The libraries throw errors of any kind for a malformed certificate or log entry.
      const known = error instanceof VerificationError || error instanceof PolicyError;
      const why = known || error instanceof Error ? `${error.message}${causeOf(error)}` : String(error);
      throw new NoSignature(`a signature that cannot be verified: ${why}`, { cause: error });
    }
  };
}

/** One of the keys must have made the signature; a certificate is ignored. Without a trusted root, log entries are ignored too. */
function judgeByKey(policy: KeyPolicy): Judge {
  const root = policy.trustedRoot === undefined ? undefined : readRoot(policy, policy.trustedRoot);
  const judges = keysOf(policy).map(key => judgeByOneKey(policy, key, root));
  return found => {
    let failure: unknown;
    for (const judge of judges)
      try {
        return judge(found);
      } catch (error) {
        failure ??= error;
      }
    throw failure;
  };
}

function judgeByOneKey(policy: KeyPolicy, publicKey: KeyObject, root: ReturnType<typeof readRoot> | undefined): Judge {
  const none = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
  const trust = { ...(root ?? none), publicKey: () => ({ publicKey, validFor: () => true }) };
  const logs = root === undefined ? 0 : 1;
  const verifier = new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: logs, timestampThreshold: 0 });
  const signer = `key sha256:${keyDigestOf(publicKey)}`;
  return ({ entity }) => {
    if (publicKey.asymmetricKeyType === 'ed25519' && mayBePrehashed(entity.signature, publicKey))
      throw new NoSignature('an Ed25519 signature that cannot be verified', { cause: prehashedError(policy) });
    const evidence = root === undefined ? { timestamps: [], tlogEntries: [] } : {};
    verifier.verify({ ...entity, ...evidence, key: { $case: 'public-key', hint: '' } });
    return signer;
  };
}

/**
 * cosign signs with Ed25519 keys in the prehashed form (Ed25519ph; RFC 8032, 5.1), which Node's crypto cannot verify. Such a
 * signature has the same length as a plain one and looks like a wrong one.
 */
function mayBePrehashed(signature: FoundSignature['entity']['signature'], key: KeyObject) {
  return signature.signature.length === ED25519_SIGNATURE_BYTES && !signature.verifySignature(key);
}

const ED25519_SIGNATURE_BYTES = 64;

/**
 * The certificate must come from an authority of the root and must have been valid when the signature was made, as attested by
 * a log or a timestamp authority of the same root. If the root has no logs of a kind, no entry of that kind is required.
 */
function judgeByIdentity(policy: KeylessPolicy): Judge {
  const root = readRoot(policy, policy.trustedRoot);
  const verifier = new Verifier(root, {
    ctlogThreshold: root.ctlogs.length > 0 ? 1 : 0,
    tlogThreshold: root.tlogs.length > 0 ? 1 : 0,
    timestampThreshold: 1,
  });
  return ({ entity, certificate }) => {
    if (certificate === undefined || entity.key.$case !== 'certificate')
      throw new NoSignature('a signature by a key, without a certificate');
    const { identity } = verifier.verify(entity);
    const name = identity?.subjectAlternativeName ?? '';
    const issuer = identity?.extensions?.issuer ?? '';
    if (!new X509Certificate(certificate).keyUsage?.includes(CODE_SIGNING))
      throw new NoSignature('a certificate that is not for code signing');
    if (issuer !== policy.issuer)
      throw new NoSignature(`a signature by ${shown(name)}, confirmed by the issuer ${shown(issuer)}`);
    if (!matches(policy.identity, name)) throw new NoSignature(`a signature by ${shown(name)}${patternHint(policy)}`);
    return `${name} by ${issuer}`;
  };
}

/** RFC 5280, 4.2.1.12: id-kp-codeSigning. */
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
/** Longer than any real identity; bounds the time of a slow pattern. */
const MOST_NAME_LENGTH = 2048;

function matches(identity: KeylessPolicy['identity'], name: string): boolean {
  if (name === '' || name.length > MOST_NAME_LENGTH) return false;
  return 'exact' in identity ? name === identity.exact : new RegExp(`^(?:${identity.pattern})$`).test(name);
}

/** cosign's patterns may match any part of an identity; the hint helps with patterns copied from there. */
function patternHint({ identity }: KeylessPolicy): string {
  return 'pattern' in identity ? ' (identityPattern must match the whole identity)' : '';
}

function readRoot(policy: SignaturePolicy, file: PolicyFile) {
  try {
    const trust = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(file.text)));
    if (policy.kind === 'keyless' && trust.certificateAuthorities.length === 0)
      throw new Error('it has no certificate authority');
    if (policy.kind === 'keyless' && trust.tlogs.length + trust.timestampAuthorities.length === 0)
      throw new Error('it has neither a transparency log nor a timestamp authority');
    if (policy.kind === 'key' && trust.tlogs.length === 0) throw new Error('it has no transparency log');
    return trust;
  } catch (error) {
    throw rootError(policy, file.written, error);
  }
}

function causeOf(error: Error): string {
  return error.cause instanceof Error ? ` (${error.cause.message})` : '';
}

function shown(text: string): string {
  return text === '' ? 'an empty name' : JSON.stringify(text.slice(0, 300));
}
