import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { listing, openScene, sha256 } from '../support/cli.ts';
import {
  gzip,
  imageFormA,
  imageFormB,
  imageFormC,
  imageFormD,
  imageFormE,
  imageOf,
  indexOf,
  MEDIA,
  type TestImage,
} from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';

const PNG = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
const SPEC = 'info:\n  name: a\n';
const made = (seed: string): Buffer => buildModule({ seed, sizeBytes: 30_000 });

function everyForm(): Record<string, TestImage> {
  const created = '2026-01-15T08:00:00Z';
  const d = imageFormD({ wasm: made('d') });
  const members = [
    { platform: 'linux/amd64', image: imageFormD({ wasm: made('index') }) },
    { platform: 'linux/arm64', image: imageFormC({ wasm: made('arm') }) },
  ];
  const over = imageFormD({
    wasm: made('over'),
    layers: [[{ name: 'plugin.wasm', body: made('under') }], [{ name: 'plugin.wasm', body: made('over') }]],
  });
  return {
    a: imageFormA({ wasm: made('a'), created, readme: '# zh\n', readmeEn: '# en\n', spec: SPEC }),
    b: imageFormB({ wasm: made('b'), title: 'basic_auth.wasm' }),
    c: imageFormC({ wasm: made('c') }),
    d,
    'd-oci': imageFormD({ wasm: made('d-oci'), docker: false }),
    'd-over': over,
    e: imageFormE({ wasm: made('e'), readme: '# zh\n', readmeEn: '# en\n', spec: SPEC, icon: PNG }),
    'f-index': indexOf(members, { attestations: true }),
    'f-docker-list': indexOf([{ platform: 'linux/amd64', image: d }], { docker: true, attestations: true }),
    'f-zstd': imageFormA({ wasm: made('zstd'), compression: 'zstd' }),
    'f-tar': imageFormA({ wasm: made('tar'), compression: 'none' }),
    'f-main': imageFormA({ wasm: made('main'), entryName: 'main.wasm' }),
    'f-dot': imageFormA({ wasm: made('dot'), entryName: './plugin.wasm' }),
    untitled: imageFormA({ wasm: made('untitled'), readme: '#\n', spec: SPEC, untitled: true }),
  };
}

describe('sync publishes every form of image', () => {
  it('with exactly the pushed bytes, and with their documents', async t => {
    const scene = await openScene(t);
    const forms = everyForm();
    for (const [name, image] of Object.entries(forms)) scene.push(name, '1.0.0', image);
    await scene.write('local/main.wasm', made('local'));
    const local = { file: './local/main.wasm', versions: ['0.1.0'] };
    await scene.list({ ...Object.fromEntries(Object.keys(forms).map(name => [name, '1.0.0'])), local });
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 0, ran.stderr);
    for (const [name, { wasm, digest }] of Object.entries(forms)) {
      const bytes = await readFile(scene.path('plugins', name, '1.0.0/plugin.wasm'));
      assert.ok(wasm?.equals(bytes), `${name} differs`);
      const row = report.plugins.find(it => it.name === name);
      assert.deepEqual(
        [row?.status, row?.digest, row?.sha256, row?.sizeBytes],
        ['fetched', digest, sha256(bytes), 30_000],
      );
    }
    assert.equal(sha256(await readFile(scene.path('plugins/local/0.1.0/plugin.wasm'))), sha256(made('local')));

    const files = Object.keys(await listing(scene.path('plugins')));
    const of = (name: string) => files.filter(it => it.startsWith(`${name}/1.0.0/`)).map(it => it.split('/')[2]);
    const own = ['metadata.json', 'metadata.txt', 'plugin.wasm', 'plugin.wasm.sha256'];
    assert.deepEqual(of('c').filter(Boolean).sort(), own);
    assert.deepEqual(of('a').filter(Boolean).sort(), ['README.md', 'README_EN.md', ...own, 'spec.yaml'].sort());
    assert.deepEqual(
      of('e').filter(Boolean).sort(),
      ['README.md', 'README_EN.md', 'icon.png', ...own, 'spec.yaml'].sort(),
    );
    assert.equal(await scene.read('plugins/untitled/1.0.0/spec.yaml'), SPEC);

    const cwd = scene.path('plugins/a/1.0.0');
    await promisify(execFile)('sha256sum', ['--strict', '-c', 'plugin.wasm.sha256'], { cwd });
    const metadata = await scene.json<Record<string, unknown>>('plugins/a/1.0.0/metadata.json');
    assert.equal(metadata.reference, `${scene.registry.host}/plugins/a:1.0.0`);
    assert.equal(metadata.created, '2026-01-15T08:00:00Z');
    assert.deepEqual((await scene.run(['verify'])).code, 0);
  });

  it('refuses an image that is no plugin, names its kind, and publishes the others', async t => {
    const scene = await openScene(t);
    const raw = (body: Buffer) => imageOf({ layers: [{ mediaType: MEDIA.wasm, body, title: 'plugin.wasm' }] });
    const bad: Record<string, TestImage> = {
      html: raw(Buffer.from('<!DOCTYPE html><html></html>')),
      empty: raw(Buffer.alloc(0)),
      component: raw(Buffer.from('\0asm\x0d\0\x01\0', 'latin1')),
      nothing: imageOf({
        layers: [{ mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', body: gzip(Buffer.alloc(1024)) }],
      }),
      gone: imageFormD({
        layers: [[{ name: 'plugin.wasm', body: made('x') }], [{ name: '.wh.plugin.wasm', body: Buffer.alloc(0) }]],
      }),
    };
    for (const [name, image] of Object.entries(bad)) scene.push(name, '1.0.0', image);
    scene.push('good', '1.0.0');
    await scene.list(Object.fromEntries([...Object.keys(bad), 'good'].map(name => [name, '1.0.0'])));
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 1, ran.stderr);
    for (const { name, status, error } of report.plugins) {
      assert.equal(status, name === 'good' ? 'fetched' : 'failed', name);
      if (error) assert.match(error.code, /^(?:LAYER|MODULE)_/, name);
      if (error) assert.ok(error.hint.length > 10, name);
    }
    assert.deepEqual(
      Object.keys(await listing(scene.path('plugins'))).filter(it => it.endsWith('plugin.wasm')),
      ['good/1.0.0/plugin.wasm'],
    );
  });

  it('warns of a module without a Proxy-Wasm ABI, and publishes it', async t => {
    const scene = await openScene(t);
    scene.push('bare', '1.0.0', imageFormC({ wasm: buildModule({ abi: null }) }));
    await scene.list({ bare: '1.0.0' });
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 0);
    assert.match(String(report.plugins[0]?.warnings), /proxy_abi_version|Proxy-Wasm/);
    assert.match(ran.stderr, /warning.*bare 1\.0\.0/);
  });

  it('takes the image of --platform from an index, and lists the platforms if it has none', slow, async t => {
    const scene = await openScene(t);
    const { 'f-index': image } = everyForm();
    assert.ok(image);
    scene.push('f', '1.0.0', image);
    await scene.list({ f: '1.0.0' });
    assert.equal((await scene.sync('--platform', 'linux/arm64')).code, 0);
    assert.ok(made('arm').equals(await readFile(scene.path('plugins/f/1.0.0/plugin.wasm'))));
    // The lockfile has the platform, so that later runs need no option.
    assert.match(await scene.read('manifest.lock.json'), /"platform": "linux\/arm64"/);
    for (const args of [['--frozen'], []]) {
      await rm(scene.path('plugins'), { recursive: true });
      assert.equal((await scene.sync(...args)).code, 0);
      assert.ok(made('arm').equals(await readFile(scene.path('plugins/f/1.0.0/plugin.wasm'))));
    }
    for (const lock of ['kept', 'gone']) {
      if (lock === 'gone') await rm(scene.path('manifest.lock.json'));
      const checked = await scene.run(['check', '--platform', 'linux/amd64']);
      assert.equal(checked.code, 3, lock);
      assert.match(checked.stdout, /linux\/arm64, asked for is linux\/amd64/);
      // As `uname -m` and docker have it, in any case.
      for (const same of ['linux/arm64', 'linux/aarch64', 'Linux/ARM64', 'linux/arm64/v8'])
        assert.equal((await scene.run(['check', '--platform', same])).code, 0, `${lock} ${same}`);
      assert.equal((await scene.run(['check', '--platform', 'linux/arm64/v9'])).code, 3, lock);
    }
    assert.equal((await scene.sync('--platform', 'linux/aarch64')).code, 0);
    assert.match((await scene.sync('--platform', 'linux/aarch64')).stdout, /1 kept/);
    assert.equal((await scene.sync('--platform', 'linux/aarch64', '--frozen')).code, 0);
    const { ran, report } = await scene.report('--platform', 'linux/s390x', '--no-lock');
    assert.equal(ran.code, 1);
    assert.match(JSON.stringify(report.plugins[0]?.error), /linux\/amd64.*linux\/arm64/);
    assert.ok(made('arm').equals(await readFile(scene.path('plugins/f/1.0.0/plugin.wasm'))));
    assert.equal((await scene.sync('--platform', 'windows', '--no-lock')).code, 2);
  });
});
