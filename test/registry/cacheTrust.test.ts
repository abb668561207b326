import assert from 'node:assert/strict';
import { chmod, chown, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Descriptor } from '../../registry/image.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import { parseReference } from '../../registry/reference.ts';
import { openStamps } from '../../tree/stamps.ts';
import { digestOf, imageOf } from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

const WASM = 'application/vnd.module.wasm.content.layer.v1+wasm';
const bytes = Buffer.alloc(20_000, 'blob');
const BLOB: Descriptor = { mediaType: WASM, digest: digestOf(bytes), size: bytes.length };
const ANOTHER_USER = 65_534;
const isRoot = process.getuid?.() === 0;

let dir: string;
let server: TestRegistry;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-test-'));
  server = await startRegistry();
  server.push('plugins/a', '1', imageOf({ layers: [{ mediaType: WASM, body: bytes }] }));
});

afterEach(async () => {
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

/** Reads the blob with this cache, and returns how many requests for it the registry got, and the warnings. */
async function readWith(cacheDir: string): Promise<{ requests: number; warnings: readonly string[] }> {
  const warnings: string[] = [];
  const before = server.count({ kind: 'blob', method: 'GET' });
  const registry = await openRegistry({
    cacheDir,
    timeoutMs: 5000,
    onEvent: event => {
      if (event.type === 'warning') warnings.push(event.message);
    },
  });
  const read = await buffer(await registry.openBlob(parseReference(`${server.host}/plugins/a:1`), BLOB));
  await registry.close();
  assert.ok(read.equals(bytes));
  return { requests: server.count({ kind: 'blob', method: 'GET' }) - before, warnings };
}

describe('a cache folder', { skip: process.platform === 'win32' }, () => {
  const cache = (...parts: readonly string[]) => join(dir, 'home', 'cache', ...parts);
  const blob = () => cache('blobs', ...BLOB.digest.split(':'));

  for (const umask of [0o000, 0o022, 0o277])
    it(`gives other users no access under umask ${umask.toString(8)}`, async () => {
      const before = process.umask(umask);
      try {
        await readWith(cache());
      } finally {
        process.umask(before);
      }
      const paths = await readdir(cache(), { recursive: true });
      for (const path of ['', ...paths]) assert.equal((await stat(cache(path))).mode & 0o077, 0, path);
      assert.deepEqual(await readWith(cache()), { requests: 0, warnings: [] });
    });

  for (const path of ['', 'parts', 'blobs', join('blobs', 'sha256')])
    for (const mode of [0o777, 0o770, 0o1777])
      it(`is not used if other users may write to its /${path} (${mode.toString(8)})`, async () => {
        await readWith(cache());
        await writeFile(blob(), Buffer.alloc(bytes.length, 'evil'));
        await chmod(cache(path), mode);
        const { requests, warnings } = await readWith(cache());
        assert.equal(requests, 1);
        const [warning = '', ...more] = warnings;
        assert.deepEqual(more, []);
        assert.match(
          warning,
          /^The cache folder cannot be used, the run continues without it: other users may write to /,
        );
        assert.ok(warning.includes(`${join(cache(), path)} (mode ${mode.toString(8)})`), warning);
        assert.ok((await stat(blob())).size === bytes.length, 'nothing is removed from it');
      });

  if (isRoot) {
    it('is not used if it belongs to another user', async () => {
      await readWith(cache());
      await chown(cache('blobs'), ANOTHER_USER, ANOTHER_USER);
      const { requests, warnings } = await readWith(cache());
      assert.equal(requests, 1);
      assert.match(warnings.join('\n'), /blobs belongs to user 65534, and this is user 0; .* --cache-dir$/);
    });

    it("neither serves another user's blob nor resumes another user's part", async () => {
      await readWith(cache());
      await chown(blob(), ANOTHER_USER, ANOTHER_USER);
      assert.deepEqual(await readWith(cache()), { requests: 1, warnings: [] });
      await rm(blob());
      const part = cache('parts', `${BLOB.digest.replace(':', '-')}.bm9ib2R5.1.a.part`);
      await writeFile(part, bytes);
      await chown(part, ANOTHER_USER, ANOTHER_USER);
      assert.deepEqual(await readWith(cache()), { requests: 1, warnings: [] });
    });
  }
});

describe('a stamps file', { skip: process.platform === 'win32' }, () => {
  it('counts as empty if other users may write to it or to its folder', async () => {
    const file = join(dir, 'made', 'stamps');
    const written = await openStamps(file, dir);
    const at = await stat(dir, { bigint: true });
    written.record('x', at, 'sha');
    const umask = process.umask(0);
    assert.equal(await written.save(), true);
    process.umask(umask);
    const matches = async () => (await openStamps(file, dir)).matches('x', at, 'sha');
    assert.equal(await matches(), true);
    for (const [path, open, usual] of [
      [file, 0o620, 0o600],
      [join(dir, 'made'), 0o777, 0o700],
    ] as const) {
      assert.equal((await stat(path)).mode & 0o777, usual);
      await chmod(path, open);
      assert.equal(await matches(), false);
      await chmod(path, usual);
    }
    if (isRoot) {
      await chown(file, ANOTHER_USER, ANOTHER_USER);
      assert.equal(await matches(), false);
    }
  });
});
