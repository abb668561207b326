import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import workerThreads from 'node:worker_threads';
import { startThread } from '../../base/thread.ts';
import { readInput } from '../../mirror/coverage/requests/readInput.ts';
import { hashModule } from '../../mirror/extract/module/moduleFile.ts';

test('where the system gives no further thread, its work is done without one', async t => {
  const { Worker } = workerThreads;
  t.after(() => {
    workerThreads.Worker = Worker;
    syncBuiltinESMExports();
  });
  workerThreads.Worker = class {
    constructor() {
      // As at a limit of processes.
      throw Object.assign(new Error('EAGAIN'), { code: 'ERR_WORKER_INIT_FAILED' });
    }
  } as unknown as typeof Worker;
  syncBuiltinESMExports();
  assert.equal(startThread(new URL('./none.js', import.meta.url), {}), undefined);
  const path = fileURLToPath(import.meta.url);
  const bytes = await readFile(path);
  const { sha256, md5 } = await hashModule(path);
  const expected = ['sha256', 'md5'].map(algorithm => createHash(algorithm).update(bytes).digest('hex'));
  assert.deepEqual([sha256, md5], expected);
  const request = 'apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nspec: {url: "oci://r.example/a:1"}\n';
  const large = { file: 'f.yaml', text: `${request}${'# a line\n'.repeat(10_000)}` };
  const read = await readInput('resources', large, new AbortController().signal);
  assert.deepEqual(
    read?.requests.map(({ url }) => url),
    ['oci://r.example/a:1'],
  );
});
