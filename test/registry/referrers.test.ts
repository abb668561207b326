import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, beforeEach, describe, it } from 'node:test';
import { openRegistry } from '../../registry/openRegistry.ts';
import { withReferrer } from '../../registry/push/referrersTag.ts';
import type { Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import { captivePortal, headers, rewrite, status } from '../support/faults.ts';
import { imageOf, indexOf, MEDIA, type TestImage } from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

const image = imageOf({ layers: [{ mediaType: MEDIA.wasm, body: Buffer.from('\0asm') }] });
const { digest } = image;
const subject = { mediaType: image.mediaType, digest, size: image.manifest.length };
const referrer = (text: string): TestImage =>
  imageOf({
    artifactType: `application/vnd.test.${text}`,
    layers: [{ mediaType: 'text/plain', body: Buffer.from(text) }],
    subject,
    annotations: { 'org.example.what': text },
  });
const all = ['one', 'two', 'three'].map(referrer);
const hasOras = (() => {
  try {
    execFileSync('oras', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

for (const engine of ['builtin', 'oras'] as const)
  describe(`referrers, ${engine}`, { skip: engine === 'oras' && !hasOras ? 'no ORAS here' : false }, () => {
    let server: TestRegistry;
    let registry: Registry;
    let reference: Reference;
    let serial = 0;
    before(async () => {
      server = await startRegistry();
      registry = await openRegistry({ engine, retries: 0, env: { PATH: process.env.PATH } });
    });
    after(async () => {
      await registry.close();
      await server.close();
    });
    beforeEach(() => {
      server.script([]);
      server.reset();
      reference = { registry: server.host, repository: `plugins/r${serial++}`, tag: '1' };
      server.push(reference.repository, '1', image);
    });
    const list = async () => (await registry.listReferrers(reference, digest)).map(it => it.digest);
    const push = () => {
      for (const one of all) server.push(reference.repository, null, one);
    };

    it('are an empty list if there are none', async () => {
      assert.deepEqual(await list(), []);
    });

    it('come from the API, with types and annotations', async () => {
      push();
      const found = await registry.listReferrers(reference, digest);
      assert.deepEqual(
        found.map(it => it.digest),
        all.map(it => it.digest),
      );
      assert.equal(found[0]?.artifactType, 'application/vnd.test.one');
      assert.equal(found[0]?.annotations?.['org.example.what'], 'one');
    });

    it('come from the tag without an API, and are empty without a tag', async () => {
      for (const one of all) server.push(reference.repository, null, one);
      const noApi = { kind: 'referrers', fault: status(404) } as const;
      server.script([noApi]);
      assert.deepEqual(await list(), []);
      const tagged = indexOf(all.slice(0, 2).map(one => ({ image: one })));
      server.push(reference.repository, digest.replace(':', '-'), tagged);
      assert.deepEqual(
        await list(),
        all.slice(0, 2).map(it => it.digest),
      );
    });

    // `cosign copy` of version 3 gives every copied image the tag that the specification keeps for its referrers.
    for (const [name, copied] of Object.entries({
      image,
      index: indexOf([{ image, platform: 'linux/amd64' }]),
    }))
      it(`are none where the tag names the ${name} itself, as after cosign copy`, async () => {
        server.push(reference.repository, '1', copied);
        server.push(reference.repository, copied.digest.replace(':', '-'), copied);
        server.script([{ kind: 'referrers', fault: status(404) }]);
        assert.deepEqual(await registry.listReferrers(reference, copied.digest), []);
      });

    it('of null are none, and a type that says nothing is none', async () => {
      push();
      const edit = (manifests: (found: { artifactType?: string }[]) => unknown) =>
        rewrite('edited', answer => {
          const body = JSON.parse(answer.body?.toString() ?? '') as { manifests: { artifactType?: string }[] };
          return { ...answer, body: Buffer.from(JSON.stringify({ ...body, manifests: manifests(body.manifests) })) };
        });
      server.script([{ kind: 'referrers', fault: edit(() => null) }]);
      assert.deepEqual(await list(), []);
      const artifactType = 'application/vnd.oci.empty.v1+json';
      server.script([{ kind: 'referrers', fault: edit(found => found.map(it => ({ ...it, artifactType }))) }]);
      const found = await registry.listReferrers(reference, digest);
      assert.deepEqual(
        found.map(it => it.artifactType),
        all.map(() => undefined),
      );
    });

    it('that may not be read are an error, not an empty list', async () => {
      push();
      server.script([{ kind: 'referrers', fault: status(403, { code: 'DENIED', message: 'no' }) }]);
      await assert.rejects(list(), { code: 'REGISTRY_DENIED' });
    });

    it('have manifests whose bytes are unchanged', async () => {
      assert.deepEqual(await registry.fetchManifest({ ...reference, digest }), image.manifest);
    });

    if (engine === 'oras') return;

    it('come from all pages', async () => {
      push();
      const page = (index: number) =>
        rewrite('page', answer => {
          const path = `/v2/${reference.repository}/referrers/${digest}?page=${index + 1}`;
          const body = JSON.parse(answer.body?.toString() ?? '') as { manifests: unknown[] };
          const link = index < 2 ? { link: `<${path}>; rel="next"` } : {};
          const text = JSON.stringify({ ...body, manifests: body.manifests.slice(index, index + 1) });
          return { ...answer, headers: { ...answer.headers, ...link }, body: Buffer.from(text) };
        });
      server.script([0, 1, 2].map(index => ({ kind: 'referrers' as const, nth: index + 1, fault: page(index) })));
      assert.deepEqual(
        await list(),
        all.map(it => it.digest),
      );
      assert.equal(server.count('referrers'), 3);
    });

    it('with endless pages, or pages at another host, are refused', async () => {
      push();
      const path = `/v2/${reference.repository}/referrers/${digest}?again`;
      server.script([{ kind: 'referrers', fault: headers({ link: `<${path}>; rel="next"` }) }]);
      await assert.rejects(list(), { code: 'REGISTRY_PROTOCOL' });
      server.script([{ kind: 'referrers', fault: headers({ link: '<http://evil.example/x>; rel="next"' }) }]);
      await assert.rejects(list(), { code: 'REGISTRY_PROTOCOL' });
    });

    it('come from the tag if the API’s reply is a web page or not an index', async () => {
      push();
      for (const fault of [
        captivePortal(),
        status(405),
        status(501),
        headers({ 'content-type': 'application/json' }),
      ]) {
        server.script([{ kind: 'referrers', fault }]);
        assert.deepEqual(await list(), []);
      }
    });

    it('in an invalid index are refused', async () => {
      server.script([
        {
          kind: 'referrers',
          fault: rewrite('nonsense', answer => ({ ...answer, body: Buffer.from('{"manifests":7}') })),
        },
      ]);
      await assert.rejects(list());
    });
  });

it('a referrer is not added to the index to which cosign copy has given the tag, but begins a list', () => {
  const copied = indexOf([{ image, platform: 'linux/amd64' }]);
  const [one] = all;
  assert.ok(one !== undefined);
  const pushed = { digest: one.digest, mediaType: one.mediaType, bytes: one.manifest, subject: copied.digest };
  const digestsIn = (index: Buffer) =>
    (JSON.parse(String(withReferrer(index, pushed)?.bytes)) as { manifests: { digest: string }[] }).manifests.map(
      it => it.digest,
    );
  assert.deepEqual(digestsIn(copied.manifest), [one.digest]);
  const listed = indexOf([{ image: all[1] ?? image }]);
  assert.deepEqual(digestsIn(listed.manifest), [all[1]?.digest, one.digest]);
});
