import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openScene, type Scene } from '../support/cli.ts';
import { delay, drip, hang, status } from '../support/faults.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import type { RequestRecord } from '../support/records.ts';
import { slow, slowUnless } from '../support/slow.ts';

const versions = (count: number): string[] => Array.from({ length: count }, (_, index) => `1.0.${index}`);
const blobs = ({ registry }: Scene): RequestRecord[] => registry.requests.filter(({ kind }) => kind === 'blob');
const most = (records: readonly RequestRecord[]): number => Math.max(0, ...records.map(({ inFlight }) => inFlight));

/** One plugin in many versions, each with a blob of its own. */
async function many(scene: Scene, count: number, sizeBytes = 3000): Promise<void> {
  for (const version of versions(count))
    scene.push('a', version, imageFormC({ wasm: buildModule({ seed: version, sizeBytes }) }));
  await scene.list({ a: versions(count) });
}

describe('the number of concurrent requests', { concurrency: 3 }, () => {
  for (const code of [429, 503])
    it(`falls when the registry returns ${code}, and rises again`, slowUnless(code === 429), async t => {
      const scene = await openScene(t);
      await many(scene, 120);
      const [from, to] = [20, 34];
      scene.registry.script([
        { kind: 'blob', nth: Array.from({ length: to - from }, (_, index) => from + index), fault: status(code) },
        { kind: 'blob', fault: delay(70) },
      ]);
      const { ran } = await scene.report('--retries', '20');
      assert.equal(ran.code, 0, ran.stderr);
      const all = blobs(scene);
      const refused = all.flatMap(({ status: said }, index) => (said === code ? [index] : []));
      const last = refused.at(-1) ?? 0;
      const [before, pressed, later] = [all.slice(0, refused[0]), all.slice(last + 1, last + 4), all.slice(last + 30)];
      assert.ok(most(before) >= 6, `${most(before)} at once before`);
      assert.ok(most(pressed) <= 4, `${most(pressed)} at once right behind`);
      assert.ok(most(later) > Math.max(4, most(pressed)), `${most(later)} at once in the end`);
      assert.equal(all.length, 120 + refused.length, 'each refusal costs one request');
    });

  it('is zero during a pause that the registry asked for', slow, async t => {
    const scene = await openScene(t);
    await many(scene, 30);
    scene.registry.script([
      { kind: 'blob', nth: 5, fault: status(429, { retryAfter: 5 }) },
      { kind: 'blob', fault: delay(20) },
    ]);
    const { ran } = await scene.report();
    assert.equal(ran.code, 0, ran.stderr);
    const all = blobs(scene);
    const said = all.find(({ status: code }) => code === 429)?.atMs ?? 0;
    // Requests that were sent before the reply arrived may come later, on a busy machine by seconds.
    const meanwhile = all.filter(({ atMs }) => atMs > said + 3000 && atMs < said + 4900);
    assert.equal(meanwhile.length, 0);
  });

  it('rises one by one after every request has hung, each blob once', slow, async t => {
    const scene = await openScene(t);
    await many(scene, 8);
    scene.registry.script({ kind: 'blob', per: 'path', first: 1, fault: hang() });
    const { ran } = await scene.report('--timeout', '3', '--retries', '2');
    assert.equal(ran.code, 0, ran.stderr);
    const all = blobs(scene);
    assert.equal(all.length, 16);
    const again = all.slice(8).map(({ atMs }) => atMs);
    const spread = Math.max(...again) - Math.min(...again);
    assert.ok(spread > 15, `all came back within ${spread} ms`);
  });

  it('starts with the largest blobs, and keeps a lane for small ones', async t => {
    const scene = await openScene(t);
    const sizes = [2_000, 1_200_000, 3_000, 1_800_000, 1_500_000, 4_000, 1_400_000, 1_300_000];
    const byDigest = new Map<string, number>();
    for (const [index, sizeBytes] of sizes.entries()) {
      const image = imageFormC({ wasm: buildModule({ seed: `${index}`, sizeBytes }) });
      for (const digest of image.blobs.keys()) byDigest.set(digest, sizeBytes);
      scene.push(`p${index}`, '1', image);
    }
    await scene.list(Object.fromEntries(sizes.map((_, index) => [`p${index}`, '1'])));
    // While the first four are held up, all others come to wait; which four they are is a matter of who was ready first.
    scene.registry.script([
      { kind: 'blob', nth: [0, 1, 2, 3], fault: delay(700) },
      { kind: 'blob', fault: drip({ bytes: 200_000, everyMs: 8 }) },
    ]);
    const { ran } = await scene.report('--concurrency', '4');
    assert.equal(ran.code, 0, ran.stderr);
    const order = blobs(scene).map(({ path }) => byDigest.get(path.split('/').at(-1) ?? '') ?? 0);
    assert.equal(order.length, sizes.length);
    const small = (size: number) => size <= 1_048_576;
    const waited = order.slice(4).filter(size => !small(size));
    assert.deepEqual(
      waited,
      [...waited].sort((one, other) => other - one),
      `the largest of those waiting first: ${order}`,
    );
    // A lane of one: as long as no small one travels, the next place is a small one's.
    const next = order.slice(4);
    if (!order.slice(0, 4).some(small)) assert.ok(small(next[0] ?? 0), `a small one has a lane of its own: ${order}`);
    assert.ok(order.indexOf(4_000) < order.length - 2, `small ones did not wait for the end: ${order}`);
  });
});

describe('tokens', { concurrency: 3 }, () => {
  it('are fetched once for each repository, however many blobs are requested concurrently', async t => {
    const scene = await openScene(t, { auth: { kind: 'bearer' }, latencyMs: 10 });
    const names = Array.from({ length: 12 }, (_, index) => `p${index}`);
    for (const name of names) scene.push(name, '1');
    await scene.list(Object.fromEntries(names.map(name => [name, '1'])));
    const { ran } = await scene.report();
    assert.equal(ran.code, 0, ran.stderr);
    const scopes = scene.registry.requests
      .filter(({ kind }) => kind === 'token')
      .map(({ url }) => new URL(url).searchParams.get('scope'));
    assert.deepEqual(scopes.sort(), names.map(name => `repository:plugins/${name}:pull`).sort());
    assert.equal(scene.registry.count({ status: 401 }), 1, 'only the first request did not know');
  });

  it('are renewed before they expire', slow, async t => {
    const scene = await openScene(t, { auth: { kind: 'bearer', expiresInSeconds: 2 } });
    await many(scene, 14);
    scene.registry.script({ kind: 'blob', fault: delay(250) });
    const { ran } = await scene.report('--concurrency', '1');
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(scene.registry.tokensIssued.length >= 2, 'one was enough');
    assert.equal(scene.registry.count({ status: 401 }), 1);
  });
});
