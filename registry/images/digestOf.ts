import { createHash } from 'node:crypto';
import type { Digest } from '../reference.ts';

/** The digest of bytes, by the algorithm of `like`. */
export function digestOf(bytes: Buffer, like: Digest | 'sha256' = 'sha256'): Digest {
  const algorithm = algorithmOf(like);
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** The hash algorithm of a digest, which is the part before its colon. */
export function algorithmOf(digest: Digest | 'sha256'): 'sha256' | 'sha512' {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}
