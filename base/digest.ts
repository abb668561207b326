import { createHash } from 'node:crypto';

/** `sha256:<64 hex>` or `sha512:<128 hex>`, lower case (OCI image-spec, descriptor.md, Digests). */
export type Digest = `${'sha256' | 'sha512'}:${string}`;

/** A regular expression without anchors, for JSON Schemas. */
export const DIGEST_PATTERN = '(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})';
export const DIGEST = new RegExp(`^${DIGEST_PATTERN}$`);
/** What messages expect. */
export const A_DIGEST = 'sha256: and 64 lower-case hex digits (or sha512: and 128)';

export function isDigest(value: unknown): value is Digest {
  return typeof value === 'string' && DIGEST.test(value);
}

/** Returns the digest of bytes, with the algorithm of `like`. Default sha256. */
export function digestOf(bytes: Buffer, like: Digest | 'sha256' = 'sha256'): Digest {
  const algorithm = algorithmOf(like);
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** Returns the hash algorithm of a digest, which is the part before its colon. */
export function algorithmOf(digest: Digest | 'sha256'): 'sha256' | 'sha512' {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}
