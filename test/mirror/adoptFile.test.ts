import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { adoptFile, FileChanged } from '../../mirror/extract/extractPlugin.ts';
import { ModuleInvalid } from '../../mirror/extract/module/inspectModule.ts';
import { LayerTooLarge } from '../../mirror/extract/module/moduleFile.ts';
import { FileUnreadable } from '../../mirror/manifest/localFile.ts';
import { buildModule } from '../support/module.ts';

let base = '';
let path = '';
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'adopt-file-'));
  path = join(base, 'main.wasm');
  await mkdir(join(base, 'stage'));
});
afterEach(() => rm(base, { recursive: true }));

const adopt = (file = path, signal = new AbortController().signal) =>
  adoptFile({ subject: 'p 1.0.0', path: file, dir: join(base, 'stage'), signal });

test('a local module is copied, hashed and checked', async () => {
  const wasm = buildModule({ abi: '0.2.0', sizeBytes: 2_000_000 });
  await writeFile(path, wasm);
  await symlink('main.wasm', join(base, 'link.wasm'));
  assert.deepEqual(await adopt(join(base, 'link.wasm')), {
    sha256: createHash('sha256').update(wasm).digest('hex'),
    md5: createHash('md5').update(wasm).digest('hex'),
    sizeBytes: 2_000_000,
    abi: '0.2.0',
    files: {},
    warnings: [],
  });
  assert.ok((await readFile(join(base, 'stage', 'plugin.wasm'))).equals(wasm));
});

test('a missing file, a folder and a FIFO are refused with their kind', async () => {
  await assert.rejects(adopt(), {
    name: FileUnreadable.name,
    message: `p 1.0.0: cannot read ${path}: no such file`,
  });
  await assert.rejects(adopt(base), { name: FileUnreadable.name, message: /not a regular file/ });
  execFileSync('sh', ['-c', 'mkfifo "$0"', path]);
  await assert.rejects(adopt(), { name: FileUnreadable.name, message: /not a regular file/ });
});

test('a file that is not a module is refused', async () => {
  for (const text of ['', '<html>', '\0asm\x01\0\0\0\x01']) {
    await writeFile(path, text);
    await assert.rejects(adopt(), (error: unknown) => {
      assert.ok(error instanceof ModuleInvalid);
      assert.match(error.hint, /built/);
      assert.doesNotMatch(error.hint, /push/, 'nobody has');
      return true;
    });
    await rm(join(base, 'stage', 'plugin.wasm'));
  }
});

test('more than 256 MiB are refused unread', async () => {
  await writeFile(path, '');
  await truncate(path, 268_435_457);
  await assert.rejects(adopt(), (error: unknown) => error instanceof LayerTooLarge && !/push/.test(error.hint));
});

test('a file that changes while it is read is refused', async () => {
  await writeFile(path, buildModule({ sizeBytes: 8_000_000 }));
  const writer = await open(path, 'r+');
  let writing = true;
  const changes = (async () => {
    while (writing) await writer.write(Buffer.from('x'), 0, 1, 5_000_000);
  })();
  try {
    await assert.rejects(adopt(), FileChanged);
  } finally {
    writing = false;
    await changes;
    await writer.close();
  }
});

test('an abort rejects with the reason of the signal', async () => {
  await writeFile(path, buildModule());
  await assert.rejects(adopt(path, AbortSignal.abort(new Error('Ctrl-C'))), /Ctrl-C/);
});
