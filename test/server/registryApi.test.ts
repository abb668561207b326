import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { IMAGE_NAME, type LayoutEntry, REF_NAME } from '../../layout/layoutIndex.ts';
import { openFileSink } from '../../layout/partWriter.ts';
import { type LayoutContent, writeFolderLayout, writeTarLayout } from '../../layout/writeLayout.ts';
import type { ServerEvent } from '../../server/events.ts';
import type { ServerOptions } from '../../server/options.ts';
import { type Digest, imageFormA, imageFormD, imageOf, indexOf, type TestImage } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';
import { ask, serve } from './client.ts';

const run = promisify(execFile);
const { signal } = new AbortController();
const a1 = imageFormA({ wasm: buildModule({ seed: 'a1', sizeBytes: 900_000 }), readme: '# a' });
const a2 = imageFormA({ wasm: buildModule({ seed: 'a2', sizeBytes: 20_000 }), readme: '# a' });
const docker = imageFormD({ wasm: buildModule({ seed: 'd', sizeBytes: 20_000 }) });
const index = indexOf([{ platform: 'linux/amd64', image: docker }], { attestations: true });
const referrer = (artifactType: string): TestImage =>
  imageOf({
    artifactType,
    annotations: { kind: artifactType },
    layers: [{ mediaType: 'text/plain', body: Buffer.from(artifactType) }],
    subject: { mediaType: a1.mediaType, digest: a1.digest, size: a1.manifest.length },
  });
const [sbom, note] = [referrer('application/spdx+json'), referrer('text/x-note')];
const NAME = '/v2/plugins/a';

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'registry-api-'));
  const sink = openFileSink(join(dir, 'images.tar'));
  await writeTarLayout(content(), sink, signal);
  await sink.finish();
  await writeFolderLayout(content(), join(dir, 'folder'), signal);
});
after(() => rm(dir, { recursive: true, force: true }));

function content(): LayoutContent {
  const named: [string | undefined, TestImage][] = [
    ['registry.example:5000/plugins/a:1.0.0', a1],
    ['registry.example:5000/plugins/a:2.0.0', a2],
    ['registry.example:5000/plugins/a:10', a2],
    ['docker.io/library/multi:1', index],
    [undefined, sbom],
    [undefined, note],
  ];
  const all = [...named.map(([, image]) => image), docker];
  const blobs = new Map<Digest, Buffer>(
    all.flatMap(({ digest, manifest, blobs: own }) => [[digest, manifest] as const, ...own]),
  );
  const entries = named.map(([name, { digest, mediaType, manifest }]): LayoutEntry => {
    const annotations = name === undefined ? {} : { annotations: { [REF_NAME]: name, [IMAGE_NAME]: name } };
    return { mediaType, digest, size: manifest.length, ...annotations };
  });
  return {
    index: { entries, annotations: {} },
    blobs: [...blobs].map(([digest, bytes]) => ({ digest, size: bytes.length, open: async () => bytes })),
  };
}

async function start(t: TestContext, options: Partial<ServerOptions> = {}): Promise<number> {
  const server = await serve(t, join(dir, 'tree'), { images: join(dir, 'images.tar'), ...options });
  return server.port;
}

function largestBlob({ blobs }: TestImage): [Digest, Buffer] {
  const [first] = [...blobs].sort(([, one], [, other]) => other.length - one.length);
  assert.ok(first !== undefined);
  return first;
}

function codeOf(body: Buffer): string | undefined {
  return (json(body) as { errors: { code: string }[] }).errors[0]?.code;
}

function json(body: Buffer): unknown {
  return JSON.parse(body.toString());
}

describe('the registry API', () => {
  it('sends manifests verbatim, with the type and digest that they have, by tag and by digest', async t => {
    const port = await start(t);
    assert.equal((await ask(port, '/v2/')).status, 200);
    for (const [path, image] of [
      [`${NAME}/manifests/1.0.0`, a1],
      [`${NAME}/manifests/${a1.digest}`, a1],
      ['/v2/library/multi/manifests/1', index],
      [`/v2/library/multi/manifests/${docker.digest}`, docker],
      [`/v2/library/multi/manifests/1?ns=docker.io`, index],
    ] as const) {
      const { status, headers, body } = await ask(port, path, { headers: ['Accept-Encoding: zstd, gzip, deflate'] });
      assert.deepEqual(
        [status, headers.get('content-type'), headers.get('docker-content-digest'), body.equals(image.manifest)],
        [200, image.mediaType, image.digest, true],
        path,
      );
      const head = await ask(port, path, { method: 'HEAD' });
      assert.deepEqual(
        [head.status, head.headers.get('content-length'), head.headers.get('docker-content-digest'), head.body.length],
        [200, String(image.manifest.length), image.digest, 0],
      );
    }
  });

  for (const images of ['images.tar', 'folder'])
    it(`sends blobs whole and in ranges, out of ${images}, without a coding`, async t => {
      const port = await start(t, { images: join(dir, images) });
      const [digest, bytes] = largestBlob(a1);
      const path = `${NAME}/blobs/${digest}`;
      const whole = await ask(port, path, { headers: ['Accept-Encoding: gzip'] });
      assert.ok(whole.body.equals(bytes));
      assert.deepEqual(
        ['content-encoding', 'accept-ranges', 'docker-content-digest', 'content-type'].map(it => whole.headers.get(it)),
        [undefined, 'bytes', digest, 'application/octet-stream'],
      );
      const part = await ask(port, path, { headers: ['Range: bytes=70000-70009'] });
      assert.deepEqual([part.status, part.body], [206, bytes.subarray(70_000, 70_010)]);
      assert.equal(part.headers.get('content-range'), `bytes 70000-70009/${bytes.length}`);
      const outside = await ask(port, path, { headers: [`Range: bytes=${bytes.length}-`] });
      assert.deepEqual([outside.status, codeOf(outside.body)], [416, 'SIZE_INVALID']);
      const changed = await ask(port, path, { headers: ['If-Match: "other"'] });
      assert.deepEqual([changed.status, codeOf(changed.body)], [412, 'UNSUPPORTED']);
    });

  it('warns about images of which a manifest or a blob is missing', async t => {
    const [layer] = largestBlob(a1);
    const whole = content();
    const blobs = whole.blobs.filter(({ digest }) => digest !== layer && digest !== docker.digest);
    await writeFolderLayout({ ...whole, blobs }, join(dir, 'delta'), signal);
    const events: ServerEvent[] = [];
    await start(t, { images: join(dir, 'delta'), onEvent: event => events.push(event) });
    await start(t, { onEvent: event => events.push(event) });
    assert.deepEqual(
      events.filter(({ kind }) => kind === 'images-incomplete'),
      [
        {
          kind: 'images-incomplete',
          path: join(dir, 'delta'),
          images: ['docker.io/library/multi:1', 'registry.example:5000/plugins/a:1.0.0'],
          of: 6,
        },
      ],
    );
  });

  it('lists tags, repositories and referrers, in pages and filtered', async t => {
    const port = await start(t);
    const tags = async (query: string) => {
      const { headers, body } = await ask(port, `${NAME}/tags/list${query}`);
      return [(json(body) as { tags: string[] }).tags, headers.get('link')];
    };
    assert.deepEqual(await tags(''), [['1.0.0', '10', '2.0.0'], undefined]);
    assert.deepEqual(await tags('?n=2'), [['1.0.0', '10'], `<${NAME}/tags/list?n=2&last=10>; rel="next"`]);
    assert.deepEqual(await tags('?n=2&last=10'), [['2.0.0'], undefined]);
    assert.deepEqual(await tags('?n=0'), [[], undefined]);
    assert.equal((await ask(port, `${NAME}/tags/list?n=-1`)).status, 400);
    assert.deepEqual(json((await ask(port, '/v2/_catalog')).body), { repositories: ['library/multi', 'plugins/a'] });
    const listed = await ask(port, `${NAME}/referrers/${a1.digest}?artifactType=text%2Fx-note`);
    assert.deepEqual(
      [listed.headers.get('content-type'), listed.headers.get('oci-filters-applied')],
      ['application/vnd.oci.image.index.v1+json', 'artifactType'],
    );
    assert.deepEqual((json(listed.body) as { manifests: unknown[] }).manifests, [
      {
        mediaType: note.mediaType,
        digest: note.digest,
        size: note.manifest.length,
        artifactType: 'text/x-note',
        annotations: { kind: 'text/x-note' },
      },
    ]);
    const unfiltered = await ask(port, `${NAME}/referrers/${a1.digest}?artifactType=`);
    assert.equal((json(unfiltered.body) as { manifests: unknown[] }).manifests.length, 2);
    assert.equal(unfiltered.headers.get('oci-filters-applied'), undefined);
    const none = await ask(port, `${NAME}/referrers/${a2.digest}`);
    assert.deepEqual((json(none.body) as { manifests: unknown[] }).manifests, []);
  });

  it("answers errors in the specification's form", async t => {
    const port = await start(t);
    const unknown = `sha256:${'0'.repeat(64)}`;
    for (const [method, path, status, code] of [
      ['GET', '/v2/none/tags/list', 404, 'NAME_UNKNOWN'],
      ['GET', `${NAME}/manifests/none`, 404, 'MANIFEST_UNKNOWN'],
      ['GET', `${NAME}/manifests/${unknown}`, 404, 'MANIFEST_UNKNOWN'],
      ['GET', `${NAME}/blobs/${unknown}`, 404, 'BLOB_UNKNOWN'],
      ['GET', `${NAME}/blobs/sha256:12`, 400, 'DIGEST_INVALID'],
      ['GET', '/v2/%zz/tags/list', 400, 'NAME_INVALID'],
      ['GET', '/v2/plugins/../tags/list', 400, 'NAME_INVALID'],
      ['POST', `${NAME}/blobs/uploads/`, 405, 'UNSUPPORTED'],
      ['PUT', `${NAME}/manifests/1.0.0`, 405, 'UNSUPPORTED'],
      ['DELETE', `${NAME}/manifests/1.0.0`, 405, 'UNSUPPORTED'],
    ] as const) {
      const answer = await ask(port, path, { method });
      const { errors } = json(answer.body) as { errors: { code: string }[] };
      assert.deepEqual([answer.status, errors[0]?.code], [status, code], `${method} ${path}`);
      assert.equal(answer.headers.get('content-type'), 'application/json');
    }
  });

  it('asks for credentials as the files do, and is at the root whatever the base path is', async t => {
    const login = { user: 'gateway', password: 'secret' };
    const port = await start(t, { credentials: { login }, basePath: '/mirror' });
    const refused = await ask(port, '/v2/');
    assert.equal(refused.status, 401);
    assert.match(refused.headers.get('www-authenticate') ?? '', /Basic/);
    assert.equal(codeOf(refused.body), 'UNAUTHORIZED');
    const headers = [`Authorization: Basic ${Buffer.from('gateway:secret').toString('base64')}`];
    assert.equal((await ask(port, '/v2/', { headers })).status, 200);
  });

  it('never sends a byte of a damaged blob', async t => {
    const bytes = await readFile(join(dir, 'images.tar'));
    const [digest, blob] = largestBlob(a1);
    const at = bytes.indexOf(blob) + 1000;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(join(dir, 'damaged.tar'), bytes);
    const events: ServerEvent[] = [];
    const images = join(await realpath(dir), 'damaged.tar');
    const port = await start(t, { images, onEvent: event => void events.push(event) });
    const refused = await ask(port, `${NAME}/blobs/${digest}`);
    const damaged = events.find(event => event.kind === 'content');
    assert.deepEqual(damaged?.paths, [images]);
    assert.deepEqual([refused.status, codeOf(refused.body)], [503, 'TOOMANYREQUESTS']);
    assert.equal(refused.headers.get('content-type'), 'application/json');
    const [other, sound] = largestBlob(a2);
    assert.ok((await ask(port, `${NAME}/blobs/${other}`)).body.equals(sound));
  });

  it('passes the conformance suite of the OCI where it is installed', slow, async t => {
    const found = await run('sh', ['-c', 'command -v conformance']).catch(() => undefined);
    if (found === undefined) {
      assert.notEqual(process.env.PLUGIN_MIRROR_TEST_PEERS, '1', 'there is no conformance on the PATH');
      t.skip('there is no conformance on the PATH');
      return;
    }
    const port = await start(t);
    const [blob] = largestBlob(a1);
    const off = Object.fromEntries(
      ['PUSH', 'BLOBS_DELETE', 'MANIFESTS_DELETE', 'TAGS_DELETE'].map(api => [`OCI_API_${api}`, 'false']),
    );
    const env = {
      PATH: process.env.PATH,
      HOME: dir,
      ...off,
      OCI_REGISTRY: `127.0.0.1:${port}`,
      OCI_TLS: 'disabled',
      OCI_REPO1: 'plugins/a',
      OCI_REPO2: 'library/multi',
      OCI_RO_DATA_TAGS: '1.0.0 2.0.0',
      OCI_RO_DATA_MANIFESTS: `${a1.digest} ${a2.digest}`,
      OCI_RO_DATA_BLOBS: blob,
      OCI_RO_DATA_REFERRERS: a1.digest,
      OCI_RESULTS_DIR: dir,
    };
    // Without pushes the suite fails after its report, when it writes results.yaml: the report on stdout counts.
    const { stdout } = await run('conformance', [], { cwd: dir, env, maxBuffer: 1e8 }).catch(
      (error: { readonly stdout: string }) => error,
    );
    assert.match(stdout, /OCI Conformance Result: Pass/, stdout);
  });
});
