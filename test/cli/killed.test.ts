import assert from 'node:assert/strict';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openScene, type Scene, sha256 } from '../support/cli.ts';
import { drip } from '../support/faults.ts';
import { imageFormA, imageFormB, imageFormC, type TestImage } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';
import { PEERS } from './faultInjectionPeer.ts';

/** Each costs two processes: a few moments with every change, many where there is time. */
const ROUNDS = PEERS ? 80 : 10;
const LANES = 4;
const WASM = { spec: 'info:\n  name: x\n', readme: '# x' };
const module = (seed: string, sizeBytes: number): Buffer => buildModule({ seed, sizeBytes });
const IMAGES: Readonly<Record<string, TestImage>> = {
  raw: imageFormC({ wasm: module('raw', 2_600_000) }),
  packed: imageFormA({ ...WASM, wasm: module('packed', 3_000_000) }),
  middle: imageFormA({ ...WASM, wasm: module('middle', 1_200_000) }),
  titled: imageFormB({ wasm: module('titled', 700_000) }),
  small: imageFormA({ ...WASM, wasm: module('small', 60_000) }),
  tiny: imageFormC({ wasm: module('tiny', 2_000) }),
};
const TOTAL_BYTES = Object.values(IMAGES)
  .flatMap(({ blobs }) => [...blobs.values()])
  .reduce((sum, { length }) => sum + length, 0);

/** What lies in the cache folder: whole blobs, and of each other one the longest part. */
async function kept(scene: Scene): Promise<{ whole: Set<string>; parts: Map<string, number> }> {
  const dir = scene.path('home/cache/plugin-mirror/blobs');
  const whole = new Set(await readdir(`${dir}/blobs/sha256`).catch(() => []));
  const parts = new Map<string, number>();
  for (const name of await readdir(`${dir}/parts`).catch(() => [])) {
    const digest = name.split('.')[0]?.replace('sha256-', '') ?? '';
    const { size } = await stat(`${dir}/parts/${name}`);
    parts.set(digest, Math.max(size, parts.get(digest) ?? 0));
  }
  return { whole, parts };
}

/** Nothing that a gateway may read is torn, though a sync was killed in its midst. */
async function assertSound(scene: Scene, complete: boolean): Promise<void> {
  for (const [name, { wasm }] of Object.entries(IMAGES)) {
    const bytes = await readFile(scene.path('plugins', name, '1.0.0/plugin.wasm')).catch(() => undefined);
    if (bytes !== undefined) assert.ok(wasm?.equals(bytes), `${name} is torn`);
    else assert.ok(!complete, `${name} is missing`);
  }
}

/** Kills a sync when about so much has travelled, or so long after everything has. */
async function killAt(scene: Scene, share: number): Promise<boolean> {
  const running = scene.start(['sync']);
  let over = false;
  const ended = running.ended.finally(() => {
    over = true;
  });
  while (!over && scene.registry.bytesServed('blob') < Math.min(share, 1) * TOTAL_BYTES) await sleep(1);
  if (!over) await Promise.race([ended, sleep(share > 1 ? (share - 1) * 1500 : Math.random() * 8)]);
  const killed = !over;
  running.child.kill('SIGKILL');
  await ended;
  return killed;
}

async function round(scene: Scene, share: number): Promise<boolean> {
  for (const path of ['plugins', 'home/cache', 'manifest.lock.json'])
    await rm(scene.path(path), { recursive: true, force: true });
  scene.registry.reset();
  const killed = await killAt(scene, share);
  await assertSound(scene, false);
  const { whole, parts } = await kept(scene);
  scene.registry.reset();
  const ran = await scene.sync();
  assert.equal(ran.code, 0, ran.stderr);
  await assertSound(scene, true);
  for (const { path, headers } of scene.registry.requests.filter(({ kind }) => kind === 'blob')) {
    const digest = path.split(':').at(-1) ?? '';
    assert.ok(!whole.has(digest), `a whole blob travelled twice: ${digest}`);
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
    assert.ok(
      from >= (parts.get(digest) ?? 0),
      `${digest} was asked for from ${from}, ${parts.get(digest)} were there`,
    );
  }
  assert.deepEqual((await kept(scene)).parts, new Map(), 'a part was left behind');
  const left = (await readdir(scene.path('plugins'))).filter(name => name.startsWith('.'));
  assert.deepEqual(left, [], 'staging was left behind');
  return killed;
}

describe('a sync that is killed with SIGKILL', () => {
  const scenes: Scene[] = [];
  const cleanups: (() => Promise<void>)[] = [];

  before(async () => {
    for (let lane = 0; lane < LANES; lane += 1) {
      const scene = await openScene({ after: clean => cleanups.push(clean) });
      for (const [name, image] of Object.entries(IMAGES)) scene.registry.push(`plugins/${name}`, '1.0.0', image);
      await scene.list(Object.fromEntries(Object.keys(IMAGES).map(name => [name, '1.0.0'])));
      scene.registry.script({ kind: 'blob', fault: drip({ bytes: 64 * 1024, everyMs: 4 }) });
      scenes.push(scene);
    }
  });
  after(async () => {
    for (const clean of cleanups) await clean();
  });

  it(
    `at any of ${ROUNDS} moments is completed by the next, which requests only the missing plugins`,
    slow,
    async () => {
      let next = 0;
      let killed = 0;
      await Promise.all(
        scenes.map(async scene => {
          while (next < ROUNDS) {
            // Evenly over the whole of a run and what comes behind its last byte, each at a moment of its own.
            const share = ((next + Math.random()) / ROUNDS) * 1.2;
            next += 1;
            if (await round(scene, share)) killed += 1;
          }
        }),
      );
      assert.ok(killed > ROUNDS / 2, `only ${killed} were killed in time`);
      for (const scene of scenes) {
        const audit = await scene.run(['verify', '--lock', 'manifest.lock.json']);
        assert.equal(audit.code, 0, audit.stdout);
        assert.ok((await scene.read('plugins/raw/1.0.0/plugin.wasm.sha256')).includes(sha256(IMAGES.raw?.wasm ?? '')));
      }
    },
  );
});
