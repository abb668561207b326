import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, afterEach, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { assertSameBytes } from '../support/bytes.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { listing } from '../support/cli.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { Context, docker, labRegistry, run, withoutDocker } from './lab.ts';

const orasImage = process.env.PLUGIN_MIRROR_TEST_ORAS_IMAGE ?? `${labRegistry}/oras-project/oras:v1.3`;
const wasm = buildModule({ seed: 'docker build', sizeBytes: 200_000 });
const image = imageFormC({ wasm, version: '1.0.0' });

describe('docker build', { skip: withoutDocker() }, () => {
  let context: Context;
  let registry: TestRegistry;
  before(async () => {
    context = await Context.create({ plugins: { one: '1.0.0' } });
  });
  after(() => context?.remove());
  afterEach(() => registry?.close());

  const serve = async (options: Parameters<typeof startRegistry>[0]): Promise<void> => {
    registry = await startRegistry(options);
    registry.push('plugins/one', '1.0.0', image);
  };
  const argument = (name: string, value: string) => ['--build-arg', `${name}=${value}`];
  const from = () => argument('REGISTRY', registry.host);

  it('makes the same tree with either engine', async () => {
    await serve({});
    const builtin = await context.buildTree(...from());
    const oras = await context.buildTree(
      ...from(),
      ...argument('ENGINE', 'oras'),
      ...argument('ORAS_IMAGE', orasImage),
    );
    assertSameBytes(await readFile(join(builtin, 'one/1.0.0/plugin.wasm')), wasm);
    assert.deepEqual(await contentOf(oras), await contentOf(builtin));
  });

  it('makes the manifest of a release of Higress, and ends at the first step where an argument cannot work', async () => {
    await serve({});
    const release = [...argument('HIGRESS', '2.0.0'), ...argument('SYNC_ARGS', '--only one')];
    await assert.rejects(context.buildTree(...from(), ...release), /SELECTION_EMPTY/);
    const requests = registry.count(() => true);
    await assert.rejects(
      context.buildTree(...from(), ...argument('HIGRESS', '9.9.9')),
      /not a known release of Higress/,
    );
    await assert.rejects(context.buildTree(...from(), ...argument('MANIFEST', '../mine.json')), /outside of the build/);
    assert.equal(
      registry.count(() => true),
      requests,
    );
  });

  it('does not even look at the ORAS image unless asked to', async () => {
    await serve({});
    await context.buildTree(...from(), ...argument('ORAS_IMAGE', `${registry.host}/no/such:image`));
    assert.equal(
      registry.count(({ path }) => path.includes('no/such')),
      0,
    );
  });

  it('takes a password by secret, in either form, and leaves none behind', async () => {
    const password = 'not-in-any-layer';
    await serve({ auth: { kind: 'basic', user: 'puller', password } });
    const auth = Buffer.from(`puller:${password}`).toString('base64');
    await context.write('secret/config.json', JSON.stringify({ auths: { [registry.host]: { auth } } }));
    const tagged = ['--tag', 'plugin-mirror-test:secret', '--load'];
    const config = ['--secret', `id=registry-config,src=${join(context.dir, 'secret/config.json')}`];
    await context.build(...from(), ...config, ...tagged);
    const history = await docker('history', '--no-trunc', 'plugin-mirror-test:secret');
    assert.doesNotMatch(history, new RegExp(`${password}|${auth}`));
    await docker('rmi', '--force', 'plugin-mirror-test:secret');

    const secret = ['--secret', `id=registry-password,src=${join(context.dir, 'secret/password')}`];
    await context.write('secret/password', `${password}\n`);
    const again = argument('SYNC_ARGS', '--cache-size 0');
    const tree = await context.buildTree(...from(), ...argument('REGISTRY_USERNAME', 'puller'), ...secret, ...again);
    assertSameBytes(await readFile(join(tree, 'one/1.0.0/plugin.wasm')), wasm);
  });

  it('trusts a certificate authority of the build context', async () => {
    const authority = new CertificateAuthority();
    await serve({ tls: authority.issue() });
    await assert.rejects(context.buildTree(...from()), /REGISTRY_TLS|certificate/i);
    const usual = process.env.NODE_EXTRA_CA_CERTS;
    await context.write('ca.pem', `${usual === undefined ? '' : await readFile(usual, 'utf8')}\n${authority.cert}`);
    const tree = await context.buildTree(...from(), ...argument('CA_FILE', 'ca.pem'));
    assertSameBytes(await readFile(join(tree, 'one/1.0.0/plugin.wasm')), wasm);
  });

  it('takes what the lock holds, and fails where manifest and lock disagree', async () => {
    await serve({});
    const manifest = JSON.stringify({ registry: registry.host, plugins: { one: '1.0.0' } });
    await context.write('lists/mine.json', manifest);
    const cli = join(import.meta.dirname, '../../dist/cli/main.js');
    const words = [
      'sync',
      '--no-frozen',
      '--manifest',
      'lists/mine.json',
      '--out',
      join(context.dir, 'plugins'),
      '--cache-size',
      '0',
    ];
    await run(process.execPath, [cli, ...words], context.dir);
    registry.push('plugins/one', '1.0.0', imageFormC({ wasm: buildModule({ seed: 'moved' }), version: '1.0.0' }));
    const chosen = argument('MANIFEST', 'lists/mine.json');
    const tree = await context.buildTree(...chosen);
    assertSameBytes(await readFile(join(tree, 'one/1.0.0/plugin.wasm')), wasm, 'the tag moved, the lock did not');

    await context.write('lists/mine.json', manifest.replace('"1.0.0"', '["1.0.0","1.1.0"]'));
    await assert.rejects(context.buildTree(...chosen), /one 1\.1\.0 is in the manifest, not in the lock/);
  });

  it('needs no sources: a folder with a manifest, its lockfile and what init --dockerfile prints is enough', async t => {
    await serve({});
    const program = `${labRegistry}/plugin-mirror-test:program`;
    await context.build('--target', 'program', '--tag', program, '--push');
    const folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-dockerfile-'));
    t.after(() => rm(folder, { recursive: true }));
    // Docker expands variables and patterns in the paths of COPY.
    const manifest = 'my $own [1].json';
    const local = { file: './a [$b].wasm', versions: ['1.0.0'] };
    await writeFile(join(folder, 'a [$b].wasm'), wasm);
    await writeFile(
      join(folder, manifest),
      JSON.stringify({ registry: registry.host, plugins: { one: '1.0.0', local } }),
    );
    const cli = join(import.meta.dirname, '../../dist/cli/main.js');
    const words = ['--manifest', manifest, '--tree', join(folder, 'plugins'), '--cache-size', '0'];
    await run(process.execPath, [cli, 'sync', '--no-frozen', ...words], folder);
    await writeFile(
      join(folder, 'Dockerfile'),
      `${await run(process.execPath, [cli, 'init', '--dockerfile', '--manifest', manifest], folder)}\n`,
    );
    const out = join(folder, 'image');
    await docker(
      ...['buildx', 'build', '--network', 'host', ...argument('PROGRAM', program)],
      ...['--output', `type=local,dest=${out}`, folder],
    );
    const tree = join(out, 'usr/share/nginx/html/plugins');
    assertSameBytes(await readFile(join(tree, 'one/1.0.0/plugin.wasm')), wasm);
    assert.deepEqual(await contentOf(tree), await contentOf(join(folder, 'plugins')));
  });

  it('ships the bundle that IMAGES names, joined from its parts: the image answers at /v2/ next to the plugins', async t => {
    await serve({});
    const large = buildModule({ seed: 'parts', sizeBytes: 1_500_000 });
    registry.push('plugins/two', '1.0.0', imageFormC({ wasm: large, version: '1.0.0' }));
    const folder = join(context.dir, 'bundles');
    await context.write(
      'bundles/manifest.json',
      JSON.stringify({ registry: registry.host, plugins: { one: '1.0.0', two: '1.0.0' } }),
    );
    const cli = join(import.meta.dirname, '../../dist/cli/main.js');
    await run(process.execPath, [cli, 'bundle', '--out', 'b.tar', '--split', '1M', '--cache-size', '0'], folder);
    await registry.close();
    assert.ok((await readdir(folder)).includes('b.tar.002'));
    const name = `plugin-mirror-images-${process.pid}`;
    t.after(async () => {
      for (const words of [
        ['rm', '--force', name],
        ['rmi', '--force', name],
      ])
        await docker(...words).catch(() => undefined);
      await rm(folder, { recursive: true });
    });
    await context.build(...argument('IMAGES', 'bundles/b.tar.001'), '--tag', name, '--load');
    await docker('run', '--detach', '--read-only', '--name', name, '--publish', '127.0.0.1::8080', name);
    const address = (await docker('port', name, '8080/tcp')).split('\n')[0];
    const got = async (path: string): Promise<Buffer> => {
      const curl = ['-fsS', '--retry', '60', '--retry-delay', '1', '--retry-all-errors', `http://${address}${path}`];
      return (await promisify(execFile)('curl', curl, { encoding: 'buffer', maxBuffer: 1e8 })).stdout;
    };
    assertSameBytes(await got('/plugins/two/1.0.0/plugin.wasm'), large);
    assertSameBytes(await got('/v2/plugins/one/manifests/1.0.0'), image.manifest);
    for (const [digest, bytes] of image.blobs) assertSameBytes(await got(`/v2/plugins/one/blobs/${digest}`), bytes);
  });

  it('makes an image of a tree that was synced before, without any registry, if it is sound', async () => {
    await serve({});
    const tree = await context.buildTree(...from());
    await registry.close();
    const gone = argument('REGISTRY', 'gone.invalid');
    await mkdir(join(tree, '.staging'));
    for (const left of ['.lock', '.staging/plugin.wasm', 'one/.DS_Store']) await writeFile(join(tree, left), 'left');
    const copy = await context.buildTree('--build-context', `tree=${tree}`, ...gone);
    assertSameBytes(await readFile(join(copy, 'one/1.0.0/plugin.wasm')), wasm);
    const names = await readdir(copy, { recursive: true });
    assert.deepEqual(
      names.filter(name => name.includes('/.') || name.startsWith('.')),
      [],
    );

    const { tree: digest } = JSON.parse(await readFile(join(tree, 'index.json'), 'utf8')) as { tree: string };
    const expecting = (treeDigest: string) =>
      context.buildTree('--build-context', `tree=${tree}`, ...gone, ...argument('TREE_DIGEST', treeDigest));
    await expecting(digest);
    await assert.rejects(expecting(`sha256:${'0'.repeat(64)}`), new RegExp(`has the digest ${digest}`));

    await writeFile(join(tree, 'one/1.0.0/plugin.wasm'), buildModule({ seed: 'spoilt', sizeBytes: 200_000 }));
    await assert.rejects(
      context.buildTree('--build-context', `tree=${tree}`, ...gone),
      /damaged +one\/1\.0\.0\/plugin\.wasm/,
    );
  });
});

/** Without the folder itself, which is the test's. */
async function contentOf(tree: string): Promise<Record<string, string>> {
  const { '/': _folder, ...content } = await listing(tree);
  return content;
}
