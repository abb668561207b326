import { createHash } from 'node:crypto';
import type { Digest } from '../reference.ts';

/** Returns the digest of bytes, with the algorithm of `like`. Default sha256. */
export function digestOf(bytes: Buffer, like: Digest | 'sha256' = 'sha256'): Digest {
  const algorithm = algorithmOf(like);
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** Returns the hash algorithm of a digest, which is the part before its colon. */
export function algorithmOf(digest: Digest | 'sha256'): 'sha256' | 'sha512' {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}
