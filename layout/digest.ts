import { type Digest, isDigest } from '../base/digest.ts';

/** `blobs/ALGORITHM/HEX`, the name of a blob's file (image-spec, image-layout.md, Blobs). */
export function blobPath(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** The inverse of blobPath; undefined for any other path. */
export function digestOfPath(path: string): Digest | undefined {
  const [, algorithm, hex] = /^blobs\/([a-z0-9]+)\/([0-9a-f]+)$/.exec(path) ?? [];
  const digest = `${algorithm}:${hex}`;
  return isDigest(digest) ? digest : undefined;
}
