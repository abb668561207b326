import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { after, before, beforeEach, describe, it } from 'node:test';
import { openRegistry } from '../../registry/openRegistry.ts';
import { parseReference, type Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import { captivePortal, corrupt, finish, hang, redirect, reset, status } from '../support/faults.ts';
import { imageOf } from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

const body = randomBytes(2_000_000);
const image = imageOf({ layers: [{ mediaType: 'application/vnd.module.wasm.content.layer.v1+wasm', body }] });
const other = imageOf({
  layers: [{ mediaType: 'application/vnd.module.wasm.content.layer.v1+wasm', body: randomBytes(9) }],
});

describe('a mirror', () => {
  let origin: TestRegistry;
  let mirror: TestRegistry;

  before(async () => {
    origin = await startRegistry();
    mirror = await startRegistry();
  });
  after(async () => {
    await origin.close();
    await mirror.close();
  });
  beforeEach(() => {
    for (const server of [origin, mirror]) {
      server.script([]);
      server.push('plugins/a', '1', image);
      server.push('plugins/b', '1', image);
      server.push('copies/plugins/a', '1', image);
      server.push('copies/plugins/b', '1', image);
      server.reset();
    }
  });

  const pull = async (registry: Registry, reference: Reference): Promise<Buffer> => {
    const { manifest } = await registry.fetchImage(reference);
    const [layer] = manifest.layers;
    assert.ok(layer);
    return buffer(await registry.openBlob(reference, layer));
  };
  const withMirror = async (place: string, play: (registry: Registry) => Promise<void>, timeoutMs = 20_000) => {
    const registry = await openRegistry({ mirrors: { [origin.host]: [place] }, retries: 1, timeoutMs });
    try {
      await play(registry);
    } finally {
      await registry.close();
    }
  };
  const a = () => parseReference(`${origin.host}/plugins/a:1`);
  const b = () => parseReference(`${origin.host}/plugins/b:1`);

  it('is asked instead of the registry, under its prefix', () =>
    withMirror(`${mirror.host}/copies`, async registry => {
      assert.ok((await pull(registry, a())).equals(body));
      assert.equal(origin.requests.length, 0);
      assert.ok(mirror.requests.every(({ path }) => path.startsWith('/v2/copies/')));
    }));

  it('without an image costs that image one request', () =>
    withMirror(`${mirror.host}/elsewhere`, async registry => {
      assert.ok((await pull(registry, a())).equals(body));
      assert.ok(origin.count('blob') === 1 && mirror.count('manifest') >= 1);
    }));

  it('with wrong bytes is skipped', () =>
    withMirror(mirror.host, async registry => {
      mirror.script({ kind: 'blob', method: 'GET', fault: corrupt() });
      assert.ok((await pull(registry, a())).equals(body));
      assert.equal(origin.count({ kind: 'blob', method: 'GET' }), 1);
    }));

  it('with another image under a digest is skipped', () =>
    withMirror(mirror.host, async registry => {
      mirror.script({
        kind: 'manifest',
        fault: { name: 'other', rewrite: said => ({ ...said, body: other.manifest }) },
      });
      const image_ = await registry.fetchImage({ ...a(), digest: image.digest });
      assert.equal(image_.digest, image.digest);
      assert.equal(origin.count('manifest'), 1);
    }));

  for (const [what, fault, most] of [
    ['a log-in page', captivePortal(), 4],
    ['a redirect to a log-in page', redirect('/login', 302), 2],
    ['a 401 without a challenge', status(401), 2],
    ['503', status(503), 4],
    ['a reset', reset(), 4],
    ['silence', hang(), 8],
  ] as const)
    it(`that fails for every image gets few requests (${what})`, () =>
      withMirror(
        mirror.host,
        async registry => {
          mirror.script({ fault });
          const names = Array.from({ length: 40 }, (_, index) => `plugins/many${index}`);
          for (const name of names) origin.push(name, '1', other);
          const references = names.map(name => parseReference(`${origin.host}/${name}:1`));
          await Promise.all(references.map(reference => registry.fetchImage(reference)));
          assert.ok(mirror.requests.length <= most, `${mirror.requests.length} requests`);
        },
        what === 'silence' ? 2000 : undefined,
      ));

  it('that breaks off is continued by the registry from that byte on', () =>
    withMirror(mirror.host, async registry => {
      const reference = a();
      const [layer] = (await registry.fetchImage(reference)).manifest.layers;
      assert.ok(layer);
      mirror.script([
        { kind: 'blob', first: 1, fault: finish({ afterBytes: 1_500_000 }) },
        { kind: 'blob', fault: status(500) },
      ]);
      assert.ok((await buffer(await registry.openBlob(reference, layer))).equals(body));
      assert.equal(origin.bytesServed('blob'), 500_000);
    }));

  it('that is down is not asked for every image', async () => {
    const gone = await startRegistry();
    const { host } = gone;
    await gone.close();
    await withMirror(host, async registry => {
      const first = registry.traffic.requests;
      assert.ok((await pull(registry, a())).equals(body));
      const afterFirst = registry.traffic.requests;
      await registry.fetchImage(b());
      assert.equal(registry.traffic.requests - afterFirst, 1, 'the mirror was asked again');
      assert.ok(afterFirst > first);
    });
  });
});
