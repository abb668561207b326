import type { Digest } from '../../base/digest.ts';
import type { BlobLocation } from '../../layout/layout.ts';
import { Content } from '../content/content.ts';
import type { ServedFile } from '../view/treeView.ts';

/** What a digest names never changes. */
const IMMUTABLE = 'max-age=31536000, immutable';

/** A blob in the layout's file: hashed before its first byte is sent, like the files of a tree. */
export function servedBlob(digest: Digest, { start, size }: BlobLocation): ServedFile {
  return served(digest, 'application/octet-stream', new Content(hexOf(digest), size, start));
}

/** A manifest, verified, with the type that it was pushed with. It stays in memory. */
export function servedManifest(digest: Digest, mediaType: string, bytes: Buffer): ServedFile {
  return served(digest, mediaType, bytes);
}

/** The same manifest by its tag, which may lead to another one after a restart. */
export function byTag(file: ServedFile): ServedFile {
  return { ...file, cacheControl: 'no-cache', headers: undefined };
}

function served(digest: Digest, mediaType: string, body: Content | Buffer): ServedFile {
  return {
    name: digest,
    plugin: undefined,
    version: undefined,
    body,
    sha256: hexOf(digest),
    digest,
    coding: undefined,
    variants: [],
    varies: false,
    mediaType,
    cacheControl: IMMUTABLE,
    // Another bundle may be served under the same tags after a restart.
    changedAtMs: Buffer.isBuffer(body) ? Date.now() : 0,
    answers: undefined,
    sentBytes: 0,
    headers: undefined,
  };
}

function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}
