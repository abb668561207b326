import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { CopyStream } from '../../layout/writeLayout.ts';
import type { Descriptor } from '../../registry/image.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import { parseReference, type Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import { digestOf, imageFormA, imageOf, indexOf, MEDIA, type TestImage } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

let dir: string;
let server: TestRegistry;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-test-'));
  server = await startRegistry();
});

afterEach(async () => {
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

async function withRegistry<T>(work: (registry: Registry) => Promise<T>): Promise<T> {
  const registry = await openRegistry({ cacheDir: join(dir, 'cache') });
  try {
    return await work(registry);
  } finally {
    await registry.close();
  }
}

const pinned = ({ digest }: TestImage) => ({ registry: server.host, repository: 'plugins/a', digest });
const cachedPath = (digest: string) => join(dir, 'cache', 'blobs', ...digest.split(':'));

/** Fetches a manifest in a run of its own. Returns how many requests that took. */
async function fetchOnce(image: TestImage): Promise<number> {
  const before = server.requests.length;
  assert.deepEqual(await withRegistry(registry => registry.fetchManifest(pinned(image))), image.manifest);
  return server.requests.length - before;
}

describe('a manifest that a digest names', () => {
  const image = imageFormA({ wasm: buildModule({ seed: 'kept' }) });

  it('is requested once by all runs that share a cache', async () => {
    server.push('plugins/a', '1', image);
    assert.ok((await fetchOnce(image)) > 0);
    assert.equal(await fetchOnce(image), 0);
  });

  it('is kept from a run that asked for its tag, with the image that an index leads to', async () => {
    const index = indexOf([{ platform: 'linux/amd64', image }]);
    server.push('plugins/a', '1', index);
    const tagged = parseReference(`${server.host}/plugins/a:1`);
    const fetched = await withRegistry(registry => registry.fetchImage(tagged));
    assert.equal(await fetchOnce(index), 0);
    assert.equal(await fetchOnce(image), 0);
    const before = server.requests.length;
    assert.deepEqual(await withRegistry(registry => registry.fetchImage(pinned(index))), fetched);
    assert.equal(server.requests.length, before);
  });

  it('is requested again if the file in the cache is damaged', async () => {
    server.push('plugins/a', '1', image);
    await fetchOnce(image);
    const path = cachedPath(image.digest);
    for (const damaged of [Buffer.alloc(0), image.manifest.subarray(1), Buffer.from(image.manifest).fill(0x20, 0, 3)]) {
      await writeFile(path, damaged);
      assert.ok((await fetchOnce(image)) > 0);
      assert.deepEqual(await readFile(path), image.manifest);
    }
  });

  it('is not kept if only a header has its media type', async () => {
    const typed = imageOf({
      mediaType: MEDIA.dockerManifest,
      layers: [],
      config: { mediaType: MEDIA.dockerConfig, body: Buffer.from('{}') },
    });
    const { mediaType: _, ...document } = JSON.parse(typed.manifest.toString('utf8'));
    const manifest = Buffer.from(JSON.stringify(document));
    const untyped = { ...typed, manifest, digest: digestOf(manifest) };
    server.push('plugins/a', '1', untyped);
    await fetchOnce(untyped);
    assert.ok((await fetchOnce(untyped)) > 0);
  });

  it('is fetched as ever if the cache cannot be used', async () => {
    server.push('plugins/a', '1', image);
    await writeFile(join(dir, 'cache'), 'a file');
    assert.ok((await fetchOnce(image)) > 0);
    assert.ok((await fetchOnce(image)) > 0);
    assert.ok((await stat(join(dir, 'cache'))).isFile());
  });
});

describe('copying a blob of the cache', () => {
  const body = Buffer.alloc(1_700_000, 'a blob that does not fit into one buffer');
  const blob: Descriptor = { mediaType: MEDIA.wasm, digest: digestOf(body), size: body.length };
  const buffers = [Buffer.alloc(65_536), Buffer.alloc(65_536)] as const;
  let reference: Reference;

  beforeEach(async () => {
    server.push('plugins/a', '1', imageOf({ layers: [{ mediaType: MEDIA.wasm, body }] }));
    reference = parseReference(`${server.host}/plugins/a:1`);
    await withRegistry(async registry => buffer(await registry.openBlob(reference, blob)));
  });

  const opened = (registry: Registry) => registry.openBlob(reference, blob) as Promise<CopyStream>;

  it('hands on all bytes, though its buffers are used again', async () => {
    const pieces: Buffer[] = [];
    await withRegistry(async registry => {
      await (await opened(registry)).copyTo(async piece => {
        await new Promise(setImmediate);
        pieces.push(Buffer.from(piece));
      }, buffers);
    });
    assert.ok(Buffer.concat(pieces).equals(body));
  });

  it('is refused, and the blob is removed, if the file changes after it was verified', async () => {
    await withRegistry(async registry => {
      const stream = await opened(registry);
      await writeFile(cachedPath(blob.digest), Buffer.from(body).fill(0, 1_000_000, 1_000_001));
      await assert.rejects(
        stream.copyTo(async () => undefined, buffers),
        { code: 'CACHE_UNUSABLE' },
      );
    });
    await assert.rejects(stat(cachedPath(blob.digest)), { code: 'ENOENT' });
  });

  it('ends with the error of the one who takes the bytes, and closes the file', async () => {
    await withRegistry(async registry => {
      const stream = await opened(registry);
      const fault = new Error('no space');
      await assert.rejects(
        stream.copyTo(() => Promise.reject(fault), buffers),
        fault,
      );
      assert.ok(stream.destroyed);
    });
  });
});
