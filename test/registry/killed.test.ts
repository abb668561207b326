import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { listCache } from '../../registry/blobs/cache.ts';
import { compiled, requireCurrentBuild } from '../support/build.ts';
import { drip } from '../support/faults.ts';
import { type Digest, digestOf, imageOf } from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { slow, times } from '../support/slow.ts';

requireCurrentBuild();

const READER = compiled('test/support/blobReader.ts');
// Each round costs a process; set it higher to look for rare moments.
const ROUNDS = Number(process.env.PLUGIN_MIRROR_TEST_ROUNDS ?? times(1, 3));
const WASM = 'application/vnd.module.wasm.content.layer.v1+wasm';
// Repeatable content, which needs little memory in a failing assertion.
const bodyOf = (size: number, seed: number) => Buffer.alloc(size, `${seed} of the blobs, `);
const bodies = [30_000, 300_000, 1_500_000, 4_000_000].map(bodyOf);
const wanted = bodies.map(body => `${digestOf(body)}/${body.length}`);

interface Child {
  readonly process: ChildProcess;
  /** The stdout, after the process has ended. */
  readonly said: Promise<string>;
  readonly ended: Promise<number | null>;
}

function startReader(ref: string, cacheDir: string, blobs: readonly string[], limit?: string): Child {
  const args = [READER, ref, cacheDir, ...blobs];
  const child =
    limit === undefined
      ? spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      : spawn('sh', ['-c', `${limit}; exec "$0" "$@"`, process.execPath, ...args], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
  const said = text(child.stdout);
  return { process: child, said, ended: once(child, 'close').then(([code]) => code) };
}

function assertAllRight(said: string): void {
  for (const body of bodies) {
    const digest = digestOf(body);
    assert.ok(said.includes(`${digest} ${digest.slice('sha256:'.length)}\n`), `${digest} is missing in ${said}`);
  }
}

describe('processes that read blobs', () => {
  let dir: string;
  let server: TestRegistry;
  let ref: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-test-'));
    server = await startRegistry();
    server.push('plugins/a', '1', imageOf({ layers: bodies.map(body => ({ mediaType: WASM, body })) }));
    ref = `${server.host}/plugins/a:1`;
  });

  after(async () => {
    await server.close();
    await rm(dir, { recursive: true, force: true });
  });

  it('may be killed at any moment: the next one resumes, and no complete blob is downloaded again', async () => {
    let cacheDir = join(dir, 'killed');
    const total = bodies.reduce((sum, body) => sum + body.length, 0);
    let whole: Digest[] = [];
    let resumed = 0;
    for (let round = 0; round < ROUNDS; round++) {
      if (whole.length === bodies.length) {
        cacheDir = join(dir, `killed-${round}`);
        whole = [];
      }
      server.reset();
      server.script({ kind: 'blob', fault: drip({ bytes: 64 * 1024, everyMs: 4 }) });
      const folder = cacheDir;
      const child = startReader(ref, folder, wanted);
      const enough = (0.1 + Math.random() * 0.5) * total;
      let alive = true;
      child.ended.then(() => {
        alive = false;
      });
      // What the registry has sent may not have been read yet. The first kill leaves something to resume in any case.
      const isKept = async (): Promise<boolean> =>
        round > 0 || (await listCache(folder)).some(({ sizeBytes }) => sizeBytes > 65_536);
      while (alive && (server.bytesServed({ kind: 'blob' }) < enough || !(await isKept()))) await sleep(3);
      child.process.kill('SIGKILL');
      await child.ended;
      for (const digest of whole) assert.equal(server.count({ kind: 'blob', path: digest }), 0, `round ${round}`);
      resumed += server.requests.filter(({ headers }) => headers.range !== undefined).length;
      whole = (await listCache(cacheDir)).filter(({ kind }) => kind === 'blob').map(({ digest }) => digest);
    }
    server.reset();
    server.script([]);
    const last = startReader(ref, cacheDir, wanted);
    assertAllRight(await last.said);
    assert.equal(await last.ended, 0);
    for (const digest of whole) assert.equal(server.count({ kind: 'blob', path: digest }), 0);
    resumed += server.requests.filter(({ headers }) => headers.range !== undefined).length;
    // A part may have been complete, but killed before its rename: then no request is needed.
    resumed += bodies.filter(body => server.count({ kind: 'blob', path: digestOf(body) }) === 0).length;
    assert.ok(resumed > 0 || whole.length > 0, 'nothing was ever kept');
    assert.deepEqual(
      (await listCache(cacheDir)).map(({ kind }) => kind),
      bodies.map(() => 'blob'),
      'a part was left behind',
    );
  });

  it('can share a cache folder, even if some are killed', slow, async () => {
    const cacheDir = join(dir, 'shared');
    server.script({ kind: 'blob', fault: drip({ bytes: 128 * 1024, everyMs: 4 }) });
    const doomed = startReader(ref, cacheDir, wanted);
    const children = Array.from({ length: 2 }, () => startReader(ref, cacheDir, wanted));
    while (server.count('blob') < 4) await sleep(3);
    doomed.process.kill('SIGKILL');
    for (const child of children) {
      assertAllRight(await child.said);
      assert.equal(await child.ended, 0);
    }
    await doomed.ended;
    server.reset();
    server.script([]);
    const last = startReader(ref, cacheDir, wanted);
    assertAllRight(await last.said);
    assert.equal(server.count('blob'), 0);
  });

  it('continue when the disk is full', { skip: process.platform === 'win32' }, async () => {
    server.reset();
    // No file may grow beyond 1 MB, which looks like a full disk to the program.
    const child = startReader(ref, join(dir, 'full'), wanted, 'ulimit -f 1024');
    assertAllRight(await child.said);
    assert.equal(await child.ended, 0);
  });

  it('need no more memory for large blobs than for small ones', slow, async () => {
    const large = Array.from({ length: 8 }, (_, index) => bodyOf(30_000_000, index));
    server.push('plugins/large', '1', imageOf({ layers: large.map(body => ({ mediaType: WASM, body })) }));
    const blobs = large.map(body => `${digestOf(body)}/${body.length}`);
    const child = startReader(`${server.host}/plugins/large:1`, join(dir, 'large'), blobs);
    const memory = Number(/memory (\d+)/.exec(await child.said)?.[1]);
    assert.equal(await child.ended, 0);
    // Node 24 and later let the young generation grow further. Half of what travels is still far from all of it.
    assert.ok(memory < 120_000_000, `${memory} bytes`);
  });
});
