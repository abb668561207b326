import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Refusal } from '../../base/refusal.ts';
import { type ExtractedPlugin, extractPlugin } from '../../mirror/extract/extractPlugin.ts';
import type { Descriptor, ImageManifest } from '../../registry/image.ts';
import type { TestImage } from '../support/image.ts';

export interface Extracted {
  readonly plugin: ExtractedPlugin;
  /** Digests in the order in which they were opened. */
  readonly opened: readonly string[];
}

export interface ExtractOptions {
  /** Length of the pieces in which a layer arrives. Default 65 536. */
  readonly chunkBytes?: number;
  /** Opens a layer in place of the image's own blob. */
  readonly open?: (layer: Descriptor) => Readable;
  readonly signal?: AbortSignal;
}

/** Extracts into a folder of its own, lets `look` see it, and removes it; every stream must be over by then. */
export async function extracts(
  image: Pick<TestImage, 'manifest' | 'blobs'>,
  look: (plugin: ExtractedPlugin, dir: string) => Promise<void> = async () => {},
  options: ExtractOptions = {},
): Promise<Extracted> {
  const base = await mkdtemp(join(tmpdir(), 'extract-plugin-'));
  const dir = join(base, 'a', 'stage');
  await mkdir(dir, { recursive: true });
  const streams: Readable[] = [];
  const opened: string[] = [];
  try {
    const plugin = await extractPlugin({
      subject: 'p 1.0.0',
      manifest: JSON.parse(image.manifest.toString()) as ImageManifest,
      openLayer: async layer => {
        opened.push(layer.digest);
        const stream = options.open?.(layer) ?? bodyOf(image, layer, options.chunkBytes ?? 65_536);
        streams.push(stream);
        return stream;
      },
      dir,
      signal: options.signal ?? new AbortController().signal,
    });
    for (const stream of streams) assert.ok(stream.readableEnded, 'a layer was not read to its end');
    await look(plugin, dir);
    return { plugin, opened };
  } finally {
    for (const stream of streams) assert.ok(stream.destroyed || stream.readableEnded, 'a layer was left open');
    assert.deepEqual(await readdir(base), ['a']);
    assert.deepEqual(await readdir(join(base, 'a')), ['stage']);
    await rm(base, { recursive: true });
  }
}

/** The extracted module has these bytes, however long the pieces are in which the layer arrives. */
export async function takes(image: TestImage, expected: Buffer, what: string): Promise<void> {
  for (const chunkBytes of [65_536, 1000, 700])
    await extracts(
      image,
      async (_plugin, dir) => assert.ok(expected.equals(await readFile(join(dir, 'plugin.wasm'))), what),
      { chunkBytes },
    );
}

export const extract = (image: TestImage, options?: ExtractOptions) => extracts(image, undefined, options);

/** Asserts that extraction ends in this refusal; the folder has nothing but what the stages write. */
export async function refuses(
  image: Pick<TestImage, 'manifest' | 'blobs'>,
  code: string,
  expected: RegExp,
  name = '',
  options?: ExtractOptions,
): Promise<Refusal> {
  try {
    await extracts(image, undefined, options);
  } catch (error) {
    assert.ok(error instanceof Refusal, `${name}: ${error instanceof Error ? error.stack : error}`);
    assert.equal((error as Refusal & { code: string }).code, code, `${name}: ${error.message}`);
    assert.match(error.message, expected, `${name}: ${error.message}`);
    assert.match(error.message, /^p 1\.0\.0: /, name);
    assert.notEqual(error.hint, '', name);
    return error;
  }
  return assert.fail(`${name}: it was accepted`);
}

function bodyOf(image: Pick<TestImage, 'blobs'>, layer: Descriptor, chunkBytes: number): Readable {
  const body = image.blobs.get(layer.digest) ?? assert.fail(`no blob ${layer.digest}`);
  return Readable.from(
    (function* () {
      for (let at = 0; at < body.length; at += chunkBytes) yield body.subarray(at, at + chunkBytes);
    })(),
    { objectMode: false },
  );
}
