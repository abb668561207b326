import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { describe, it } from 'node:test';
import { satisfies } from 'semver';
import { ENTRY } from '../support/cli.ts';
import { slowUnless } from '../support/slow.ts';

const root = resolve(import.meta.dirname, '../..');
const { engines, scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  engines: { node: string };
  scripts: Record<string, string>;
};
const needed = engines.node.replace(/^>=/, '');

/** Runs a file under a Node.js that says it is another version. */
function runAs(version: string, ...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const fake = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } });`;
  const preload = `data:text/javascript,${encodeURIComponent(fake)}`;
  return new Promise(done => {
    execFile(process.execPath, ['--import', preload, ...args], (error, stdout, stderr) =>
      done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

describe('a Node.js that is too old', { concurrency: 4 }, () => {
  for (const version of ['14.21.3', '18.20.8', '20.18.0', '20.9.11'])
    it(
      `${version} is reported in one line and ends the command line in 2`,
      slowUnless(version === '20.18.0'),
      async () => {
        const { code, stdout, stderr } = await runAs(version, ENTRY, 'sync');
        const line = `plugin-mirror needs Node.js ${needed} or newer; this is ${version} (at ${process.execPath})\n`;
        assert.deepEqual({ code, stdout, stderr }, { code: 2, stdout: '', stderr: line });
      },
    );

  for (const version of [needed, '20.19.0', '21.0.0-nightly20990101', '100.0.0'])
    it(`${version} is not`, slowUnless(version === needed), async () => {
      const { code, stderr } = await runAs(version, ENTRY, '--version');
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    });

  it('ends every npm script before its own work begins', () => {
    for (const [name, script] of Object.entries(scripts))
      assert.match(script, /^(?:node cli\/requireNode\.cjs|npm run --silent \w+)(?: |$)/, name);
  });

  it('ends npm ci', () => {
    assert.match(readFileSync(join(root, '.npmrc'), 'utf8'), /^engine-strict=true$/m);
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { optional?: boolean; engines?: { node?: string } }>;
    };
    const stricter = Object.entries(packages).filter(
      ([, { optional, engines: wanted }]) => !optional && !satisfies(needed, wanted?.node ?? '*'),
    );
    assert.deepEqual(stricter, [], 'npm ci has to pass under every Node.js that is allowed');
  });
});
