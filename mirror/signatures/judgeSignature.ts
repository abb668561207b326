import { createPublicKey, type KeyObject, verify, X509Certificate } from 'node:crypto';
import { ed25519ph } from '@noble/curves/ed25519';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { PolicyError, toTrustMaterial, VerificationError, Verifier } from '@sigstore/verify';
import { type FoundSignature, NoSignature } from './foundSignature.ts';
import { type KeylessPolicy, type KeyPolicy, keyDigestOf, type PolicyFile, type SignaturePolicy } from './policy.ts';
import { SignaturePolicyUnusable } from './signatureErrors.ts';

/** Says who made a signature, if it is one that the policy accepts. @throws NoSignature saying why not */
export type Judge = (found: FoundSignature) => string;

/** Offline: all that is trusted is in the policy. @throws SignaturePolicyUnusable */
export async function openJudge(policy: SignaturePolicy): Promise<Judge> {
  const judge = policy.kind === 'key' ? await judgeByKey(policy) : judgeByIdentity(policy);
  return found => {
    try {
      return judge(found);
    } catch (error) {
      if (error instanceof NoSignature) throw error;
      // Garbage in a certificate or an entry makes the libraries throw anything.
      const known = error instanceof VerificationError || error instanceof PolicyError;
      const why = known || error instanceof Error ? `${error.message}${causeOf(error)}` : String(error);
      throw new NoSignature(`a signature that does not hold: ${why}`, { cause: error });
    }
  };
}

/** Whatever certificate came along, the key must have signed. Without a trusted root log entries prove nothing, and are not looked at. */
async function judgeByKey(policy: KeyPolicy): Promise<Judge> {
  const publicKey = createPublicKey(policy.key.text);
  const root = policy.trustedRoot === undefined ? undefined : readRoot(policy, policy.trustedRoot);
  const none = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
  const trust = { ...(root ?? none), publicKey: () => ({ publicKey, validFor: () => true }) };
  const logs = root === undefined ? 0 : 1;
  const verifier = new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: logs, timestampThreshold: 0 });
  const signer = `key sha256:${keyDigestOf(policy)}`;
  const isEd25519 = publicKey.asymmetricKeyType === 'ed25519';
  return ({ entity, signed }) => {
    const { signature } = entity.signature;
    const verifySignature = () => isSignedByEd25519(publicKey, signed, signature);
    const content = !isEd25519 ? {} : { signature: { ...entity.signature, verifySignature } };
    const evidence = root === undefined ? { timestamps: [], tlogEntries: [] } : {};
    verifier.verify({ ...entity, ...content, ...evidence, key: { $case: 'public-key', hint: '' } });
    return signer;
  };
}

/**
 * The certificate must come from an authority of the root and have been valid when the signature was made, which a log
 * or a timestamp authority of the same root must attest. A root without logs of one kind asks for none of that kind.
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
      throw new NoSignature('a signature by a bare key, without a certificate');
    const { identity } = verifier.verify(entity);
    const name = identity?.subjectAlternativeName ?? '';
    const issuer = identity?.extensions?.issuer ?? '';
    if (!new X509Certificate(certificate).keyUsage?.includes(CODE_SIGNING))
      throw new NoSignature('a certificate that is not for signing code');
    if (issuer !== policy.issuer)
      throw new NoSignature(`a signature by ${shown(name)}, vouched for by ${shown(issuer)}`);
    if (!fits(policy.identity, name)) throw new NoSignature(`a signature by ${shown(name)}${patternHint(policy)}`);
    return `${name} by ${issuer}`;
  };
}

/** RFC 5280, 4.2.1.12: id-kp-codeSigning. */
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
/** Longer than any identity in use; what a slow pattern is let loose on. */
const MOST_NAME_LENGTH = 2048;

function fits(identity: KeylessPolicy['identity'], name: string): boolean {
  if (name === '' || name.length > MOST_NAME_LENGTH) return false;
  return 'exact' in identity ? name === identity.exact : new RegExp(`^(?:${identity.pattern})$`).test(name);
}

/** cosign's patterns fit anywhere in an identity; who copies one from there is told of the difference. */
function patternHint({ identity }: KeylessPolicy): string {
  return 'pattern' in identity ? ' (identityPattern must fit the whole of it)' : '';
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
    throw new SignaturePolicyUnusable(policy, file.written, error);
  }
}

function causeOf(error: Error): string {
  return error.cause instanceof Error ? ` (${error.cause.message})` : '';
}

function shown(text: string): string {
  return text === '' ? 'nobody' : JSON.stringify(text.slice(0, 300));
}

/**
 * Ed25519 (RFC 8032, 5.1) in the prehashed form that cosign makes by default, which Node's crypto does not have, or in
 * the plain one. A file of its own, since hardly anybody has such a key and everybody else need not load the curve.
 */
export function isSignedByEd25519(key: KeyObject, signed: Buffer, signature: Buffer): boolean {
  try {
    // The last 32 bytes of a SubjectPublicKeyInfo are the key (RFC 8410, 4).
    const raw = key.export({ type: 'spki', format: 'der' }).subarray(-32);
    return verify(null, signed, key, signature) || ed25519ph.verify(signature, signed, raw, { zip215: false });
  } catch {
    return false; // what has not even the length of a signature
  }
}
