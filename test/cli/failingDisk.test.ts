import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { hashModule } from '../../mirror/extract/module/moduleFile.ts';
import { openScene } from '../support/cli.ts';
import { imageFormA, imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { sample, slowUnless } from '../support/slow.ts';

/** Loaded before the command: the disk fails with EIO at the FAIL-th read of an open file whose path contains FILE. */
const FAILING = `
import fs, { readlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
let reads = 0;
function fails(fd) {
  let path = '';
  try {
    path = readlinkSync('/proc/self/fd/' + fd);
  } catch {}
  if (!path.includes(process.env.FILE) || ++reads !== Number(process.env.FAIL)) return undefined;
  writeFileSync(process.env.FAILED, path);
  return Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', errno: -5, syscall: 'read' });
}
const handle = await open(process.execPath);
const prototype = Object.getPrototypeOf(handle);
await handle.close();
const { read } = prototype;
prototype.read = async function (...args) {
  const error = fails(this.fd);
  if (error !== undefined) throw error;
  return read.apply(this, args);
};
const original = fs.read;
fs.read = function (fd, ...args) {
  const error = fails(fd);
  if (error === undefined) original.call(this, fd, ...args);
  else setImmediate(args.at(-1), error);
};
syncBuiltinESMExports();
`;

describe('a disk that fails', { concurrency: 2 }, () => {
  for (const [what, file, args, names] of [
    ['a local module', 'local.wasm', ['sync', '--out', 'new', '--no-lock'], /local\.wasm/],
    ['a blob of the cache', '/blobs/sha256/', ['sync', '--out', 'new', '--no-lock'], /cache folder|blob|blobs\/sha256/],
    ['a bundle in a folder', 'folder/blobs/', ['sync', '--from', 'folder', '--out', 'new'], /folder\/blobs\/sha256/],
    ['a bundle in a tar', 'bundle.tar', ['sync', '--from', 'bundle.tar', '--out', 'new'], /bundle\.tar/],
    ['a bundle that is verified', 'folder/blobs/', ['verify', 'folder'], /folder\/blobs\/sha256/],
  ] as const)
    it(
      `is no bug of the program, and the file is named: ${what}`,
      slowUnless(what === 'a bundle in a folder'),
      async t => {
        const scene = await openScene(t);
        scene.push('a', '1.0.0', imageFormA({ wasm: buildModule({ seed: 'a', sizeBytes: 2_600_000 }) }));
        scene.push('b', '1.0.0', imageFormC({ wasm: buildModule({ seed: 'b', sizeBytes: 1_500_000 }) }));
        await scene.write('failing.mjs', FAILING);
        await writeFile(scene.path('local.wasm'), buildModule({ seed: 'local', sizeBytes: 1_200_000 }));
        await scene.list({ a: '1.0.0', b: '1.0.0', l: { file: './local.wasm', versions: ['1.0.0'] } });
        assert.equal((await scene.sync()).code, 0);
        for (const out of ['folder', 'bundle.tar'])
          if (args.some(arg => arg === out)) assert.equal((await scene.run(['bundle', '--out', out])).code, 0);
        let failures = 0;
        for (const at of sample([1, 2, 3, 4, 6, 9, 12, 16])) {
          await rm(scene.path('new'), { recursive: true, force: true });
          const failed = scene.path(`failed-${at}`);
          const env = {
            NODE_OPTIONS: `--import ${pathToFileURL(scene.path('failing.mjs'))}`,
            FILE: file,
            FAIL: String(at),
            FAILED: failed,
          };
          const ran = await scene.start([...args], { env }).ended;
          const where = await scene.read(`failed-${at}`).catch(() => undefined);
          if (where === undefined) break;
          const said = `${ran.stdout}${ran.stderr}`;
          assert.doesNotMatch(said, /INTERNAL|bug in plugin-mirror|^ +at /m);
          if (ran.code === 0) continue;
          failures++;
          assert.ok(ran.code === 1 || ran.code === 2, said);
          assert.match(said, names);
          assert.match(said, /EIO/);
        }
        assert.ok(failures > 0, 'no read failed');
      },
    );
});

test('the error of a read on the hashing thread keeps its code', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'failing-disk-'));
  t.after(() => rm(dir, { recursive: true }));
  await mkdir(join(dir, 'plugin.wasm'));
  await assert.rejects(hashModule(join(dir, 'plugin.wasm')), { code: 'EISDIR', syscall: 'read' });
});
