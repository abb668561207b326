import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { compareText } from '../base/canonicalJson.ts';
import type { Digest } from '../base/digest.ts';
import { errnoWords, isAbsent, onFile, openReadStream } from '../base/errno.ts';
import { blobPath, digestOfPath } from './digest.ts';
import { blobDamaged, blobMissing, LayoutInvalid, LayoutUnreadable, layoutInvalid } from './errors.ts';
import type { Layout } from './layout.ts';
import { MAX_INDEX_BYTES, parseIndex } from './layoutIndex.ts';
import { readVerified, requireVersion } from './verify.ts';

/**
 * Opens a folder with an OCI image layout. Blobs must be regular files: links are not followed.
 * @throws LayoutInvalid, LayoutUnreadable
 */
export async function openFolderLayout(path: string): Promise<Layout> {
  const text = async (name: string): Promise<Buffer> => {
    const size = await sizeOfFile(join(path, name));
    if (size === undefined) throw await notALayout(path, name);
    if (size > MAX_INDEX_BYTES)
      throw layoutInvalid(path, `${name} has ${size} bytes`, `at most ${MAX_INDEX_BYTES} bytes`);
    return onFile(join(path, name), readFile(join(path, name)));
  };
  requireVersion(path, await text('oci-layout'));
  const index = parseIndex(await text('index.json'), path);
  const layout: Layout = {
    path,
    files: [],
    index,
    sizeOf: digest => sizeOfFile(join(path, blobPath(digest))),
    async open(digest, start = 0, end) {
      const file = join(path, blobPath(digest));
      const size = await sizeOfFile(file);
      if (size === undefined) throw blobMissing(path, digest);
      const until = Math.min(end ?? size, size);
      return start >= until ? Readable.from([]) : openReadStream(file, { start, end: until - 1 });
    },
    read: (digest, limitBytes) => readVerified(layout, digest, limitBytes),
    async locate(digest) {
      const file = join(path, blobPath(digest));
      const size = await sizeOfFile(file);
      return size === undefined ? undefined : { path: file, start: 0, size };
    },
    async digests() {
      const names: string[] = [];
      for (const algorithm of ['sha256', 'sha512'])
        names.push(...(await listFolder(join(path, 'blobs', algorithm))).map(name => `blobs/${algorithm}/${name}`));
      return names
        .map(digestOfPath)
        .filter((digest): digest is Digest => digest !== undefined)
        .sort(compareText);
    },
    blame: async digest => blobDamaged(path, digest, [blobPath(digest)]),
    compareChecksums: async () => 'absent',
    close: async () => undefined,
  };
  return layout;
}

async function notALayout(path: string, missing: string): Promise<LayoutInvalid> {
  const names = (await listFolder(path)).sort(compareText);
  const bundle = names.find(name => /\.tar(?:\.\d{3,5})?$/.test(name));
  const expected = 'an OCI image layout: oci-layout, index.json and blobs/';
  if (bundle === undefined) return layoutInvalid(path, `no ${missing}`, expected);
  return new LayoutInvalid(`${path} is a folder without an OCI image layout`, {
    subject: path,
    expected,
    found: `no ${missing}, but ${bundle}`,
    hint: `Name the file: ${join(path, bundle)}`,
  });
}

/** Size in bytes of a regular file; undefined if there is none of that name. */
async function sizeOfFile(path: string): Promise<number | undefined> {
  try {
    const info = await lstat(path);
    return info.isFile() ? info.size : undefined;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw new LayoutUnreadable(`${path} cannot be read`, {
      subject: path,
      expected: 'a file that this user may read',
      found: errnoWords(error) ?? String(error),
      hint: 'Check the owner and mode of the folder.',
      cause: error,
    });
  }
}

async function listFolder(path: string): Promise<string[]> {
  return readdir(path).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
}
