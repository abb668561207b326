/** `ALGORITHM:HEX` (image-spec, descriptor.md, Digests). */
export type LayoutDigest = `${'sha256' | 'sha512'}:${string}`;

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function isLayoutDigest(text: unknown): text is LayoutDigest {
  return typeof text === 'string' && DIGEST.test(text);
}

/** `blobs/ALGORITHM/HEX`, the name of a blob's file (image-spec, image-layout.md, Blobs). */
export function blobPath(digest: LayoutDigest): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** The inverse of blobPath; undefined for any other path. */
export function digestOfPath(path: string): LayoutDigest | undefined {
  const [, algorithm, hex] = /^blobs\/([a-z0-9]+)\/([0-9a-f]+)$/.exec(path) ?? [];
  const digest = `${algorithm}:${hex}`;
  return isLayoutDigest(digest) ? digest : undefined;
}
