import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse, parseAllDocuments } from 'yaml';
import { cover, isMiss } from '../../mirror/coverage/coverage.ts';
import { initManifest } from '../../mirror/coverage/initManifest.ts';
import { manifestLine, valuesFor, withValues, withVersion } from '../../mirror/coverage/manifestLines.ts';
import {
  allInOneRequests,
  chooseReleases,
  consoleRequests,
  controllerRequests,
  readHigressData,
} from '../../mirror/coverage/requests/higressReleases.ts';
import { readSettings } from '../../mirror/coverage/requests/settings.ts';
import { readWasmPlugins } from '../../mirror/coverage/requests/wasmPlugins.ts';
import { listRows, servedByManifest } from '../../mirror/coverage/served.ts';
import { type SettingsFormat, settingsText } from '../../mirror/coverage/settingsText.ts';
import { formatManifest } from '../../mirror/import/writeManifest.ts';
import { parsePluginManifest } from '../../mirror/manifest/readManifest.ts';

const data = await readHigressData();

async function servedBy(text: string) {
  return servedByManifest(await parsePluginManifest(text, { file: 'manifest.json' }), new Map(), 'manifest.json');
}

describe('a further version in the manifest', () => {
  const image = (repository: string, tag: string) => ({ repository, tag });
  const digest = `sha256:${'0'.repeat(64)}`;
  for (const [what, plugin, missing, line] of [
    ['of a new plugin is the version alone', undefined, {}, '"a": "1"'],
    ['of its own tag joins the others', '2', {}, '"a": ["2", "1"]'],
    [
      'whose tag is a version is an alias',
      ['3', '2'],
      { image: image('plugins/a', '2') },
      '"a": { "versions": ["3", "2"], "aliases": { "1": "2" } }',
    ],
    [
      'whose version is pinned is an alias, too',
      `2@sha256:${'0'.repeat(64)}`,
      { image: image('plugins/a', '2') },
      `"a": { "versions": ["2@sha256:${'0'.repeat(64)}"], "aliases": { "1": "2" } }`,
    ],
    [
      'whose tag is no version has a tag',
      '3',
      { image: image('plugins/a', '2') },
      '"a": { "versions": ["3", "1"], "tags": { "1": "2" } }',
    ],
    [
      'of another repository has its image',
      undefined,
      { image: image('x/b', '1') },
      '"a": { "image": "x/b", "versions": ["1"] }',
    ],
    [
      'of another repository next to others names it in tags',
      '3',
      { image: image('x/b', '1') },
      '"a": { "versions": ["3", "1"], "tags": { "1": "x/b:1" } }',
    ],
    [
      'of a digest has it in tags',
      undefined,
      { image: { repository: 'plugins/a', digest } },
      `"a": { "versions": ["1"], "tags": { "1": "${digest}" } }`,
    ],
    [
      'of a tag with a digest keeps both',
      '3',
      { image: { repository: 'h.io/b', tag: '1', digest } },
      `"a": { "versions": ["3", "1"], "tags": { "1": "h.io/b:1@${digest}" } }`,
    ],
    [
      'of a local module is an alias',
      { file: './a.wasm', versions: ['3'] },
      {},
      '"a": { "file": "./a.wasm", "versions": ["3"], "aliases": { "1": "3" } }',
    ],
    [
      'that is there changes nothing',
      { versions: ['2'], aliases: { '1': '2' } },
      {},
      '"a": { "versions": ["2"], "aliases": { "1": "2" } }',
    ],
  ] as const)
    it(what, async () => {
      const written = manifestLine('a', withVersion(plugin, { name: 'a', version: '1', ...missing }));
      assert.equal(written, line);
      const file = fileURLToPath(import.meta.url);
      const text = `{"plugins": {${written}}}`.replace('./a.wasm', file);
      await parsePluginManifest(text, { file: 'manifest.json' });
    });

  it('is left out where a manifest refuses it', async () => {
    const plugins = { 'ai-proxy': '2.0.3', b: { versions: ['1.0.0-rc'], aliases: { x: '1.0.0-rc' } } };
    const missing = [
      { name: 'AI-Proxy', version: '2.0.3', image: image('plugins/ai-proxy', '2.0.3') },
      { name: 'Upper', version: '1' },
      { name: 'b', version: '1.0.0-RC' },
      { name: 'b', version: 'X' },
      { name: 'c', version: '1', image: image('<hub>/c', '1') },
      { name: 'd', version: '1+a' },
      { name: 'new', version: '1' },
      { name: 'New', version: '1', image: image('plugins/new', '1') },
    ];
    const values = valuesFor(missing, plugins);
    assert.deepEqual([...values], [['new', '1']]);
    const text = JSON.stringify({ plugins });
    await parsePluginManifest(withValues(text, values), { file: 'manifest.json' });
  });

  it('is written on one line, and all else stays as it is', async () => {
    const text = `{
  "registry": "r.io",

  "plugins": {
    "basic-auth": "2.0.0",

    "waf": ["1.0.0"]
  }
}
`;
    const missing = [
      { name: 'basic-auth', version: '1.0.0', image: image('plugins/basic-auth', '2.0.0') },
      { name: 'oidc', version: '2.0.3' },
      { name: '../x', version: '1' },
    ];
    const written = withValues(text, valuesFor(missing, { 'basic-auth': '2.0.0', waf: ['1.0.0'] }));
    assert.equal(
      written,
      text
        .replace('"2.0.0"', '{ "versions": ["2.0.0"], "aliases": { "1.0.0": "2.0.0" } }')
        .replace('["1.0.0"]', '["1.0.0"],\n    "oidc": "2.0.3"'),
    );
    await parsePluginManifest(written, { file: 'manifest.json' });
    assert.equal(withValues('{"plugins":{"a":"1"}}', new Map([['b', '2']])), '{"plugins":{"a":"1", "b": "2"}}');
  });

  it('for every miss of a release makes a manifest that serves the release', async () => {
    for (const { release } of data.releases) {
      const releases = data.releases.filter(each => each.release === release);
      const requests = consoleRequests(releases);
      const text = '{\n  "plugins": {\n    "waf": "0.9"\n  }\n}\n';
      const before = cover({ requests, problems: [], served: await servedBy(text), bases: [], data });
      const missing = before.findings.flatMap(finding => finding.missing ?? []);
      const fixed = withValues(text, valuesFor(missing, { waf: '0.9' }));
      const { totals } = cover({ requests, problems: [], served: await servedBy(fixed), bases: [], data });
      assert.deepEqual([totals.notServed, totals.warnings], [0, 0], release);
    }
  });
});

describe('a manifest for Higress releases', () => {
  const init = (...names: readonly string[]) => initManifest({ data, releases: chooseReleases(data, names) });

  for (const { release } of data.releases)
    it(`serves ${release} and the other parts of Higress`, async () => {
      const releases = data.releases.filter(each => each.release === release);
      const served = await servedBy(formatManifest(initManifest({ data, releases })));
      const requests = [...consoleRequests(releases), ...controllerRequests(data), ...allInOneRequests(data)];
      const { findings, totals } = cover({ requests, problems: [], served, bases: [], data });
      assert.deepEqual(findings.filter(isMiss), []);
      assert.equal(totals.warnings, 0);
    });

  it('is for the newest without a name, and names tags, aliases and images where they differ', () => {
    const { plugins, registry } = init();
    assert.equal(registry, 'higress-registry.cn-hangzhou.cr.aliyuncs.com');
    assert.equal(plugins.waf, '2.0.3');
    assert.deepEqual(plugins['json-converter'], { image: 'plugins/jsonrpc-converter', versions: ['2.0.3'] });
    assert.deepEqual(plugins['ai-proxy'], { versions: ['2.0.3', '1.0.0'], tags: { '1.0.0': '2.0.0' } });
  });

  it('for two serves both, the newest version in front', () => {
    const { plugins } = init('2.2.4', '2.2.5');
    assert.deepEqual(plugins.waf, ['2.0.3', '2.0.1']);
    assert.deepEqual(plugins['basic-auth'], { versions: ['2.0.0'], aliases: { '1.0.0': '2.0.0' } });
    assert.deepEqual(plugins['json-converter'], {
      image: 'plugins/jsonrpc-converter',
      versions: ['2.0.3', '2.0.1'],
    });
  });

  it('for releases that mean two images by one path is refused, and both are named', () => {
    assert.throws(() => init('2.1.5', '2.2.3'), {
      code: 'HIGRESS_RELEASES_CONFLICT',
      message: /ai-proxy\/1\.0\.0: plugins\/ai-proxy:1\.0\.0 in 2\.1\.5, plugins\/ai-proxy:2\.0\.0 in 2\.2\.3/,
      hint: /Leave out 2\.1\.5 or 2\.2\.3/,
    });
  });

  it('for any two releases is either refused or serves both', async () => {
    const of = (name: string) => data.releases.filter(({ release }) => release === name);
    const meant = (name: string) =>
      new Map(of(name).flatMap(it => it.plugins.map(p => [`${p.name}/${p.version}`, `${p.image}:${p.tag}`])));
    for (const one of data.releases.map(({ release }) => release))
      for (const other of ['2.0.0', '2.1.5', '2.2.3', '2.2.4', '2.2.5'].filter(name => name !== one)) {
        const differs = [...meant(one)].some(([path, image]) => (meant(other).get(path) ?? image) !== image);
        const releases = data.releases.filter(({ release }) => release === one || release === other);
        if (differs) assert.throws(() => initManifest({ data, releases }), { code: 'HIGRESS_RELEASES_CONFLICT' });
        else {
          const served = await servedBy(formatManifest(initManifest({ data, releases })));
          const { totals } = cover({ requests: consoleRequests(releases), problems: [], served, bases: [], data });
          assert.deepEqual([totals.notServed, totals.warnings], [0, 0], `${one} ${other}`);
        }
      }
  });

  it('may have a registry of its own and some of the plugins', () => {
    const options = { data, releases: chooseReleases(data, []), registry: 'harbor.local/higress' };
    const { registry, plugins } = initManifest({ ...options, plugins: ['waf', 'key-*'] });
    assert.equal(registry, 'harbor.local/higress');
    assert.deepEqual(Object.keys(plugins).sort(), ['key-auth', 'key-rate-limit', 'waf']);
    assert.throws(() => initManifest({ ...options, plugins: ['key-aut'] }), {
      code: 'HIGRESS_PLUGIN_UNKNOWN',
      hint: 'Did you mean key-auth?',
    });
  });

  it('leaves a conflict out with its plugin', () => {
    const releases = chooseReleases(data, ['2.1.5', '2.2.5']);
    assert.deepEqual(initManifest({ data, releases, plugins: ['cors'] }).plugins, { cors: ['2.0.4', '1.0.0'] });
  });
});

describe('the settings of Console and Controller', () => {
  const base = new URL('http://mirror.ns.svc:8080/base/');
  const pattern = 'http://mirror.ns.svc:8080/base/plugins/${name}/${version}/plugin.wasm';
  const sha256 = 'ab'.repeat(32);
  const modules = [
    { name: 'waf', version: '2.0.10', sha256 },
    { name: 'waf', version: '2.0.9', sha256 },
    { name: 'mcp-server', version: '2.0.3' },
    { name: 'mcp-server', version: '1.0.0' },
  ];
  const text = (format: SettingsFormat) => settingsText({ base, modules, format });

  for (const [format, file] of [
    ['env', '.env'],
    ['compose', 'compose.yaml'],
    ['helm', 'values.yaml'],
  ] as const)
    it(`as ${format} are read as they are meant`, () => {
      const { settings, problems } = readSettings([{ file, text: text(format) }]);
      assert.deepEqual(problems, []);
      assert.equal(settings.pattern?.value, pattern);
      assert.equal(settings.mcpServerUrl?.value, 'http://mirror.ns.svc:8080/base/plugins/mcp-server/1.0.0/plugin.wasm');
    });

  it('as every kind of file are what coverage reads again', () => {
    const files = { env: '.env', shell: 'set.sh', compose: 'compose.yaml', helm: 'values.yaml', json: 'urls.json' };
    const modules = [{ name: 'mcp-server', version: '1.0.0' }];
    for (const base of ['http://s.ns.svc', 'https://s:8443/a b/', "http://s/it's/$x/%25/"])
      for (const [format, file] of Object.entries(files)) {
        const text = settingsText({ base: new URL(base), modules, format: format as SettingsFormat });
        const { settings, problems } = readSettings([{ file, text }]);
        assert.deepEqual(problems, []);
        assert.match(settings.pattern?.value ?? '', /^https?:.*\/plugins\/\$\{name\}\/\$\{version\}\/plugin\.wasm$/);
        assert.match(settings.mcpServerUrl?.value ?? '', /^https?:.*\/plugins\/mcp-server\/1\.0\.0\/plugin\.wasm$/);
      }
  });

  it('as shell are what a shell exports', () => {
    const script = `${text('shell')}printf %s "$HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN"`;
    assert.equal(execFileSync('sh', ['-c', script], { encoding: 'utf8' }), pattern);
  });

  it('as compose have a doubled $, and values of the chart a single one', () => {
    const compose = parse(text('compose'));
    assert.equal(
      compose.services.console.environment.HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN,
      pattern.replaceAll('$', '$$$$'),
    );
    const values = parse(text('helm'));
    assert.equal(values['higress-console'].podEnvs.HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN, pattern);
    assert.ok(values['higress-core'].controller.env.MCP_SERVER_WASM_IMAGE_URL);
  });

  it('as WasmPlugins have a name that Kubernetes takes, URL and sha256, and load nothing yet', () => {
    const odd = { name: 'My_Plugin', version: '1.0.0+b' };
    const written = settingsText({ base, modules: [...modules, odd], format: 'wasmplugin' });
    const names = parseAllDocuments(written).map(document => String(document.getIn(['metadata', 'name'])));
    assert.deepEqual(names, ['my-plugin-1.0.0-b', 'mcp-server-1.0.0', 'mcp-server-2.0.3', 'waf-2.0.9', 'waf-2.0.10']);
    const { requests, problems } = readWasmPlugins(written, '-');
    assert.deepEqual(problems, []);
    assert.deepEqual(
      requests.slice(3).map(({ url, sha256: digest, disabled }) => [url, digest, disabled]),
      ['2.0.9', '2.0.10'].map(version => [
        `http://mirror.ns.svc:8080/base/plugins/waf/${version}/plugin.wasm`,
        sha256,
        true,
      ]),
    );
  });

  it('as JSON and as text have every URL', () => {
    const { schemaVersion, plugins } = JSON.parse(text('json'));
    assert.equal(schemaVersion, 1);
    const urls = plugins.map((plugin: { readonly url: string }) => plugin.url);
    assert.equal(urls.length, 4);
    for (const url of urls) assert.ok(text('text').includes(url));
  });

  it('say what is missing where there is no mcp-server', () => {
    for (const format of ['text', 'env', 'shell', 'compose', 'helm'] as const)
      assert.match(settingsText({ base, modules: [], format }), /has no mcp-server/);
  });

  it('have no quote or $ of the base in them', () => {
    const written = settingsText({ base: new URL("http://u:p@h/a'b$c"), modules: [], format: 'shell' });
    assert.match(written, /='http:\/\/h\/a%27b%24c\/plugins\/\$\{name\}/);
  });
});

describe('the list of modules', () => {
  it('is sorted as people sort versions, with aliases next to the version whose bytes they are', () => {
    const modules = [
      { name: 'b', version: '10.0.0', from: 'r/b:10', pinned: true },
      { name: 'b', version: '9.0.0', sizeBytes: 8, sha256: 'x' },
      { name: 'b', version: '1', aliasOf: '9.0.0' },
      { name: 'a', version: '1', aliasOf: 'gone' },
    ];
    assert.deepEqual(listRows({ modules }), [
      { name: 'a', version: '1', aliases: [], pinned: false },
      { name: 'b', version: '9.0.0', aliases: ['1'], sizeBytes: 8, sha256: 'x', pinned: false },
      { name: 'b', version: '10.0.0', aliases: [], from: 'r/b:10', pinned: true },
    ]);
  });
});
