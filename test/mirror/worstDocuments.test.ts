import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { cover } from '../../mirror/coverage/coverage.ts';
import { valuesFor } from '../../mirror/coverage/manifestLines.ts';
import { collectRequests } from '../../mirror/coverage/requests/collectRequests.ts';
import { readHigressData } from '../../mirror/coverage/requests/higressReleases.ts';
import { requestOfUrl } from '../../mirror/coverage/requests/pluginRequest.ts';
import { listRows, servedByManifest } from '../../mirror/coverage/served.ts';
import { importList } from '../../mirror/import/importList.ts';
import { formatLockfile, parseLockfile } from '../../mirror/lockfile/lockfile.ts';
import { parsePluginManifest } from '../../mirror/manifest/readManifest.ts';
import { buildCatalog, catalogText, parseCatalog } from '../../tree/catalog.ts';
import { LONGEST_TURN_MS, usualTurn } from '../support/longestTurn.ts';
import { slow } from '../support/slow.ts';

const MANY = 10_000;
const keyed = <T>(count: number, make: (at: number) => [string, T]): Record<string, T> =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => make(at)));
const versions = (count: number) => Array.from({ length: count }, (_, at) => `1.${at}.0`);

const MANIFESTS: Record<string, () => unknown> = {
  'plugins with one version': () => ({ plugins: keyed(MANY, at => [`p${at}`, '1']) }),
  'versions of one plugin': () => ({ plugins: { p: versions(MANY) } }),
  'aliases of one version': () => ({
    plugins: { p: { versions: ['1'], aliases: keyed(MANY - 1, at => [`v${at}`, '1']) } },
  }),
  'a chain of aliases': () => ({
    plugins: { p: { versions: ['1'], aliases: keyed(MANY - 1, at => [`v${at}`, at === 0 ? '1' : `v${at - 1}`]) } },
  }),
  'aliases of versions that do not exist': () => ({
    plugins: {
      p: {
        versions: versions(MANY / 2).map(each => `${each}-${'x'.repeat(110)}`),
        aliases: keyed(MANY / 2, at => [`v${at}`, `1.${at}.1-${'x'.repeat(110)}`]),
      },
    },
  }),
  'plugins and mirrors with hosts of their own': () => ({
    plugins: keyed(MANY, at => [`p${at}`, { image: `r${at}.example/x`, versions: ['1'] }]),
    mirrors: keyed(MANY, at => [`r${at}.example`, ['m.example']]),
  }),
  'a signature policy for each of thousands of hosts': () => ({
    plugins: keyed(3000, at => [`p${at}`, { image: `r${at}.example/x`, versions: ['1'] }]),
    signatures: Array.from({ length: 3000 }, (_, at) => ({ images: [`r${at}.example/*`], unsigned: true })),
  }),
  'unknown keys': () => ({ plugins: {}, ...keyed(98_000, at => [`k${at}`, 1]) }),
  'values of a wrong type': () => ({ plugins: keyed(98_000, at => [`k${at}`, 1]) }),
};

for (const [what, make] of Object.entries(MANIFESTS))
  test(`timers and signals are served while a manifest is read: ${what}`, slow, async () => {
    const text = JSON.stringify(make());
    const turn = await usualTurn(async () => {
      await parsePluginManifest(text, { file: 'manifest.json' }).catch(() => undefined);
    });
    assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
  });

const LISTS: Record<string, string> = {
  'as many entries as a manifest has': 'p@=oci://r.example/x/p@:1.0.0\n'.repeat(MANY),
  'more entries than that': 'p@=oci://r.example/x/p@:1.0.0\n'.repeat(12 * MANY),
  'mistakes only': '@\n'.repeat(50 * MANY),
};

for (const [what, list] of Object.entries(LISTS))
  test(`timers and signals are served while a list of Higress is imported: ${what}`, slow, async () => {
    let at = 0;
    const text = list.replaceAll('@', () => String(at++ >> 1));
    const turn = await usualTurn(async () => {
      await importList(text, { file: 'plugins.properties' }).catch(error => assert.match(error.message, /10000/));
    });
    assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
  });

const RESOURCES: Record<string, string> = {
  'one large resource': `kind: WasmPlugin\nspec:\n${'- {a: [1, 2]}\n'.repeat(30_000)}`,
  'mistakes only': `a: ${'}'.repeat(200_000)}`,
  'many small ones': `${'kind: WasmPlugin\n---\n'.repeat(30_000)}`,
  'spaces in an environment': `A="${' '.repeat(1_000_000)}x`,
};

for (const [what, text] of Object.entries(RESOURCES))
  test(`timers and signals are served while the resources of a cluster are read: ${what}`, slow, async t => {
    const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-resources-'));
    t.after(() => rm(dir, { recursive: true }));
    const [file, env] = [join(dir, 'file.yaml'), join(dir, '.env')];
    for (const path of [file, env]) await writeFile(path, text);
    const rest = { data: await readHigressData(), higress: [], urls: [], readStdin: async () => '' };
    const inputs = { ...rest, files: [file], envFiles: [env] };
    const turn = await usualTurn(() => collectRequests({ ...inputs, signal: new AbortController().signal }));
    assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
    const stopped = new AbortController();
    const reading = collectRequests({ ...inputs, signal: stopped.signal });
    stopped.abort(new Error('stopped'));
    await assert.rejects(reading, /stopped/);
  });

const hex = (at: number) => at.toString(16).padStart(64, '0');
const digest = (at: number) => `sha256:${hex(at)}` as const;

test(
  'timers and signals are served while a lockfile and a catalog of thousands of versions are read',
  slow,
  async () => {
    const names = versions(MANY);
    const entries = names.map((version, at) => ({
      kind: 'image' as const,
      name: 'p',
      version,
      reference: `registry.example/p:${version}`,
      digest: digest(at),
      layer: { digest: digest(at), mediaType: 'application/vnd.module.wasm.content.layer.v1+wasm', sizeBytes: 1 },
      sha256: hex(at),
      sizeBytes: 1,
    }));
    const lockfile = formatLockfile({ entries });
    const catalog = catalogText(
      buildCatalog(
        entries.slice(0, MANY / 2).map(({ layer: _layer, kind: _kind, ...entry }) => ({
          metadata: { ...entry, schemaVersion: 1 as const, md5: '', abi: null, files: {} },
          pinned: true,
        })),
      ),
    );
    for (const text of [lockfile, lockfile.replace('"p"', '"p" ')])
      assert.equal((await parseLockfile(text, { file: 'x' })).entries.length, MANY);
    for (const text of [lockfile, lockfile.replace('"sizeBytes": 1', '"sizeBytes": -1')]) {
      const turn = await usualTurn(() => parseLockfile(text, { file: 'x' }).catch(() => undefined));
      assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
    }
    const turn = await usualTurn(async () => void parseCatalog(catalog, 'x'));
    assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
  },
);

test('ten thousand versions are listed and covered in a time that grows with their number only', slow, async () => {
  const all = versions(MANY).map((version, at) => ({
    name: `p${at}`,
    version,
    path: '',
    source: { kind: 'image' as const, reference: { registry: 'r.example', repository: `p${at}`, tag: version } },
  }));
  const aliases = all.map(({ name, version }) => ({ name, version: `v${version}`, target: version, path: '' }));
  const served = servedByManifest({ versions: all, aliases }, new Map(), 'here');
  const rows = listRows(served);
  assert.deepEqual([rows.length, rows[0]?.aliases], [MANY, ['v1.0.0']]);
  const data = await readHigressData();
  const requests = all.flatMap(({ name, version }) =>
    [`oci://other.example/${name}:${version}`, `http://here/plugins/${name}/${version}x/plugin.wasm`].map(requestOfUrl),
  );
  const { totals } = cover({ requests, problems: [], served, bases: [], data });
  assert.equal(totals.requests, requests.length);
});

test('the lines of thousands of missing versions of one plugin are made in a short turn', slow, async () => {
  const missing = versions(MANY).map(version => ({
    name: 'p',
    version,
    image: { registry: 'r.example', repository: 'plugins/p', tag: `v${version}` },
  }));
  const turn = await usualTurn(async () => {
    const value = valuesFor(missing, {}).get('p') as { readonly versions: readonly string[] };
    assert.equal(value.versions.length, MANY);
  });
  assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
});
