import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { ENTRY, plainEnvironment } from '../support/cli.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'import-'));
  await writeFile(join(folder, 'plugins.properties'), 'a=oci://r.io/plugins/a:1\nb=oci://r.io/plugins/b\n');
});
after(() => rm(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(...args: string[]): Promise<Ran> {
  return new Promise(resolve => {
    execFile(
      process.execPath,
      [ENTRY, 'import', ...args],
      { cwd: folder, env: plainEnvironment() },
      (error, stdout, stderr) => resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

describe('plugin-mirror import', () => {
  it('prints the manifest on stdout and entries that were left out on stderr', async () => {
    const ran = await run(join(folder, 'plugins.properties'));
    assert.deepEqual(JSON.parse(ran.stdout).plugins, { a: '1' });
    assert.match(ran.stderr, /plugins\.properties, line 2: "b" was not taken/);
    assert.equal(ran.code, 1);
  });
  it('writes it with --write, and replaces another only with --force', async () => {
    const manifest = join(folder, 'out.json');
    const list = join(folder, 'good.properties');
    await writeFile(list, 'a=oci://r.io/plugins/a:1\n');
    const first = await run(list, '--write', '--manifest', manifest);
    assert.deepEqual([first.code, first.stdout], [0, '']);
    assert.equal((await readPluginManifest(manifest)).versions[0]?.name, 'a');
    await writeFile(manifest, 'mine');
    const second = await run(list, '--write', '--manifest', manifest);
    assert.equal(second.code, 2);
    assert.match(second.stderr, /^error MANIFEST_EXISTS/);
    assert.equal(await readFile(manifest, 'utf8'), 'mine');
    assert.equal((await run(list, '--write', '--manifest', manifest, '--force')).code, 0);
    assert.equal((await readPluginManifest(manifest)).versions.length, 1);
    assert.deepEqual(
      (await readdir(folder)).filter(name => name.endsWith('.tmp')),
      [],
    );
  });
  it('refuses a list that cannot be read and a manifest that cannot be written', async () => {
    assert.match((await run(join(folder, 'none'))).stderr, /IMPORT_UNREADABLE/);
    const list = join(folder, 'plugins.properties');
    assert.match(
      (await run(list, '--write', '--manifest', join(folder, 'no', 'm.json'))).stderr,
      /MANIFEST_UNWRITABLE/,
    );
  });
});
