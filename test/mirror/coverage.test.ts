import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import {
  type CoverageFinding,
  type CoverageReport,
  cover,
  imagesOf,
  isMiss,
  pathsOf,
} from '../../mirror/coverage/coverage.ts';
import { coverageJson } from '../../mirror/coverage/coverageJson.ts';
import { valuesFor } from '../../mirror/coverage/manifestLines.ts';
import {
  allInOneRequests,
  chooseReleases,
  consoleRequests,
  controllerRequests,
  readHigressData,
} from '../../mirror/coverage/requests/higressReleases.ts';
import { type PluginRequest, requestOfUrl } from '../../mirror/coverage/requests/pluginRequest.ts';
import {
  moduleUrl,
  type Served,
  type ServedModule,
  servedByCatalog,
  servedByManifest,
  servedByServer,
} from '../../mirror/coverage/served.ts';
import { targetOf } from '../../mirror/coverage/target.ts';
import { parsePluginManifest, readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { coverageSchema } from '../../scripts/generate/coverageSchema.ts';

const data = await readHigressData();
const registry = 'higress-registry.cn-hangzhou.cr.aliyuncs.com';
const sha = (digit: string) => digit.repeat(64);

const wasmPlugin = (url: string, more: Partial<PluginRequest> = {}): PluginRequest => ({
  kind: 'wasmplugin',
  consumer: 'WasmPlugin ns/x',
  url,
  failStrategy: 'FAIL_OPEN',
  source: { file: 'x.yaml', document: 1, line: 2 },
  ...more,
});

const served = (...modules: readonly ServedModule[]): Served => ({
  name: 'here',
  modules,
  others: new Map(),
  faults: new Map(),
});

const coverage = (requests: readonly PluginRequest[], what: Served, bases: readonly string[] = []): CoverageReport =>
  cover({ requests, problems: [], served: what, bases: bases.map(base => new URL(base)), data });

function findingOf(request: PluginRequest, what: Served, bases?: readonly string[]): CoverageFinding {
  const [finding] = coverage([request], what, bases).findings;
  assert.ok(finding !== undefined);
  return finding;
}

describe('where a URL leads', () => {
  const path = '/plugins/ai-proxy/2.0.3/plugin.wasm';
  const module = { kind: 'module', name: 'ai-proxy', version: '2.0.3' };

  for (const host of [
    'higress-plugin-server.higress-system.svc',
    'h.ns.svc.cluster.local:8080',
    'plugin-server',
    'plugin-server.higress-system',
    'localhost:8002',
    '10.1.2.3',
    '192.168.0.1:81',
    '[::1]:8080',
    '[fd00::1]',
  ])
    it(`${host} is taken for the mirror where none is named`, () => {
      assert.deepEqual(targetOf(`http://${host}${path}`, { bases: [] }), module);
    });

  for (const host of ['github.com', 'a.aliyuncs.com:8080', '8.8.8.8', '172.32.0.1', 'h.xn--p1ai', '[2001:db8::1]'])
    it(`${host} is outside`, () => {
      const target = targetOf(`https://${host}${path}`, { bases: [] });
      assert.equal(target.kind === 'otherHost' && !target.isInCluster && target.module?.name, 'ai-proxy');
    });

  it('is compared with the mirror’s address where one is named, its path included', () => {
    const bases = [new URL('http://mirror.example.com:8080/base/')];
    assert.deepEqual(targetOf(`http://mirror.example.com:8080/base${path}`, { bases }), module);
    assert.equal(targetOf(`http://mirror.example.com${path}`, { bases }).kind, 'otherHost');
    assert.equal(targetOf(`http://mirror.example.com:8080/other${path}`, { bases }).kind, 'otherHost');
    assert.equal(targetOf(`http://plugin-server${path}`, { bases }).kind, 'otherHost');
    assert.deepEqual(targetOf(path, { bases }), module);
  });

  it('is below the path of the server that is asked, or of a Service in front of it', () => {
    const mirror = { bases: [new URL('http://127.0.0.1:8080/base')], anyPrivateHost: true };
    assert.deepEqual(targetOf(`http://plugin-server${path}`, mirror), module);
    assert.deepEqual(targetOf(`http://plugin-server/base${path}`, mirror), module);
    assert.equal(targetOf(`http://plugin-server/other${path}`, mirror).kind, 'otherHost');
    assert.deepEqual(targetOf(`http://plugin-server/other${path}`, { bases: [] }), module);
  });

  it('decodes what a path may have encoded', () => {
    const target = targetOf('http://s/plugins/a%40b/sha256%3Aff/plugin.wasm?x=1', { bases: [] });
    assert.deepEqual(target, { kind: 'module', name: 'a@b', version: 'sha256:ff' });
    assert.equal(
      moduleUrl(new URL('http://s/x/'), { name: 'a@b', version: '1+2:3' }),
      'http://s/x/plugins/a@b/1+2:3/plugin.wasm',
    );
  });

  for (const [url, kind] of [
    ['oci://h/a:1', 'oci'],
    ['file:///opt/a.wasm', 'file'],
    ['ftp://h/a', 'invalid'],
    ['http://', 'invalid'],
    ['/wasm-plugins/a.wasm', 'path'],
    ['http://plugin-server/wasm/a.wasm', 'otherHost'],
  ] as const)
    it(`${url}: ${kind}`, () => assert.equal(targetOf(url, { bases: [] }).kind, kind));
});

describe('what a request finds', () => {
  const url = 'http://plugin-server/plugins/ai-proxy/2.0.3/plugin.wasm';
  const module = { name: 'ai-proxy', version: '2.0.3', sha256: sha('a'), from: `${registry}/plugins/ai-proxy:2.0.3` };

  it('its module', () => {
    const { status, detail, path } = findingOf(wasmPlugin(url, { sha256: sha('a') }), served(module));
    assert.deepEqual([status, detail, path], ['served', undefined, { name: 'ai-proxy', version: '2.0.3' }]);
  });

  it('other bytes than its sha256 says', () => {
    const { status, detail } = findingOf(wasmPlugin(url, { sha256: sha('b') }), served(module));
    assert.equal(status, 'sha256Differs');
    assert.match(detail ?? '', /bbbbbbbbbbbb….*aaaaaaaaaaaa….*refuses/);
  });

  it('nothing, with the versions that there are and the image that a release means', () => {
    const request = wasmPlugin('http://plugin-server/plugins/basic-auth/1.0.0/plugin.wasm');
    const { status, detail, missing } = findingOf(request, served({ name: 'basic-auth', version: '9' }));
    assert.deepEqual([status, detail], ['notFound', 'The nearest version here is 9.']);
    assert.deepEqual(missing, {
      name: 'basic-auth',
      version: '1.0.0',
      image: { repository: 'plugins/basic-auth', tag: '2.0.0' },
    });
  });

  it('its module under another path, by image or by sha256', () => {
    const basicAuth = { name: 'basic-auth', version: '2.0.0', from: 'harbor.local/hub/plugins/basic-auth:2.0.0' };
    const byImage = findingOf(wasmPlugin('http://s/plugins/basic-auth/1.0.0/plugin.wasm'), served(basicAuth));
    const bySha = findingOf(wasmPlugin('http://s/plugins/mine/1/plugin.wasm', { sha256: sha('a') }), served(module));
    assert.deepEqual([byImage.status, byImage.detail], ['otherPath', 'The same module is here as basic-auth/2.0.0.']);
    assert.deepEqual([bySha.status, bySha.detail], ['otherPath', 'The same module is here as ai-proxy/2.0.3.']);
  });

  it('another host, and whether the mirror has the module', () => {
    const outside = findingOf(
      wasmPlugin('https://user:pw@cdn.example.com/plugins/ai-proxy/2.0.3/plugin.wasm'),
      served(module),
    );
    assert.equal(outside.status, 'otherHost');
    assert.match(outside.detail ?? '', /outside the cluster; the module is here as \/plugins\/ai-proxy/);
    assert.ok(!outside.url.includes('pw'));
    const inside = findingOf(wasmPlugin('http://nginx/my.wasm'), served(module), ['http://plugin-server']);
    assert.match(inside.detail ?? '', /another host of this network/);
  });

  it('that its image needs a registry, and where the module is instead', () => {
    const here = findingOf(wasmPlugin(`oci://${registry}/plugins/ai-proxy:2.0.3`), served(module), ['http://s/b']);
    assert.deepEqual(
      [here.status, here.detail],
      ['oci', 'The module is here as http://s/b/plugins/ai-proxy/2.0.3/plugin.wasm: use that URL.'],
    );
    const absent = findingOf(wasmPlugin('oci://harbor.local/team/mine:v1'), served(module));
    assert.deepEqual(absent.missing, {
      name: 'mine',
      version: 'v1',
      image: { repository: 'harbor.local/team/mine', tag: 'v1' },
    });
    const other = findingOf(wasmPlugin('oci://h.io/x/ai-proxy:2.0.3'), served(module));
    assert.match(other.detail ?? '', /from another image/);
    assert.equal(other.missing, undefined);
  });

  it('an image as the gateway reads its name', () => {
    const digest = `sha256:${sha('b')}`;
    for (const [written, image] of [
      ['nginx', { repository: 'docker.io/library/nginx', tag: 'latest' }],
      ['team/filter:v0.2', { repository: 'docker.io/team/filter', tag: 'v0.2' }],
      ['localhost/a:1', { repository: 'localhost/a', tag: '1' }],
      ['h:5000/t/a', { repository: 'h:5000/t/a', tag: 'latest' }],
      [`h.io/t/a@${digest}`, { repository: 'h.io/t/a', digest }],
      [`${registry}/plugins/a:1@${digest}`, { repository: 'plugins/a', tag: '1', digest }],
      ['<your_hub>/a:1', undefined],
      ['YOUR_HUB/a:1', undefined],
      ['h.io/a@sha256:1', undefined],
    ] as const)
      assert.deepEqual(findingOf(wasmPlugin(`oci://${written}`), served()).missing?.image, image, written);
    const pinned = { ...module, digest };
    const here = findingOf(wasmPlugin(`oci://h.io/any/name@${digest}`), served(pinned));
    assert.match(here.detail ?? '', /The module is here as \/plugins\/ai-proxy\/2\.0\.3/);
    const moved = findingOf(wasmPlugin(`oci://${registry}/plugins/ai-proxy:2.0.3@sha256:${sha('c')}`), served(pinned));
    assert.match(moved.detail ?? '', /from another image/);
  });

  it('a warning where a Console means another image or the tag has moved', () => {
    const [ofOld] = consoleRequests(chooseReleases(data, ['2.1.5'])).filter(({ plugin }) => plugin === 'ai-proxy');
    assert.ok(ofOld !== undefined);
    const wrong = { name: 'ai-proxy', version: '1.0.0', from: `${registry}/plugins/ai-proxy:2.0.0` };
    const found = findingOf(ofOld, served(wrong));
    assert.deepEqual([found.status, found.warning], ['served', 'otherImage']);
    assert.match(found.detail ?? '', /ai-proxy:2\.0\.0, where Console 2\.1\.5 means plugins\/ai-proxy:1\.0\.0/);
    const right = { ...wrong, from: `${registry}/plugins/ai-proxy:1.0.0`, digest: `sha256:${sha('c')}` };
    assert.equal(findingOf(ofOld, served(right)).warning, undefined);
    assert.equal(findingOf({ ...ofOld, digest: `sha256:${sha('d')}` }, served(right)).warning, 'movedTag');
  });

  it('a pattern that leads to no path of a mirror', () => {
    const pattern = { value: 'http://plugin-server/wasm/${name}.wasm', source: { file: '.env' } };
    const [request] = consoleRequests(chooseReleases(data, []), { pattern });
    assert.ok(request !== undefined);
    const { status, detail } = findingOf(request, served(), ['http://plugin-server']);
    assert.equal(status, 'notFound');
    assert.match(detail ?? '', /\/plugins\/NAME\/VERSION\/plugin\.wasm, not at \/wasm\//);
  });
});

describe('further paths of a server', () => {
  const modules = ['2.0.9', '2.0.10'].map(version => ({ name: 'waf', version, sha256: sha(version.at(-1) ?? '') }));
  const find = (url: string, pattern: string, bases: readonly string[] = [], sha256?: string) => {
    const requests = [wasmPlugin(url, sha256 === undefined ? {} : { sha256 })];
    const options = { requests, problems: [], served: served(...modules), data, urlPatterns: [pattern] };
    return cover({ ...options, bases: bases.map(base => new URL(base)) }).findings[0]?.status;
  };

  it('have the highest version where the pattern has none', () => {
    const flat = '/wasm-plugins/${name}.wasm';
    assert.equal(find('http://plugin-server/wasm-plugins/waf.wasm', flat, [], sha('0')), 'served');
    assert.equal(find('http://plugin-server/wasm-plugins/waf.wasm', flat, ['http://plugin-server']), 'served');
    assert.equal(find('http://plugin-server/wasm-plugins/waf.wasm', flat, [], sha('9')), 'sha256Differs');
    assert.equal(find('http://plugin-server/wasm-plugins/oidc.wasm', flat, ['http://plugin-server']), 'notFound');
    assert.equal(find('https://cdn.example.com/wasm-plugins/waf.wasm', flat), 'otherHost');
  });

  it('have the version that the pattern names, and its dots are no wildcards', () => {
    const pattern = '/p/${name}/${version}/${name}.wasm';
    assert.equal(find('http://s/p/waf/2.0.9/waf.wasm', pattern, ['http://s']), 'served');
    assert.equal(find('http://s/p/waf/2.0.8/waf.wasm', pattern, ['http://s']), 'notFound');
    assert.equal(find('http://s/p/waf/2.0.9/oidc.wasm', pattern, ['http://s']), 'notFound');
    assert.equal(find('http://s/p/waf/2.0.9/wafxwasm', pattern, ['http://s']), 'notFound');
  });
});

describe('the report', () => {
  it('has those that close routes first, and counts only enabled resources', () => {
    const url = (name: string) => `http://s/plugins/${name}/1/plugin.wasm`;
    const report = coverage(
      [
        wasmPlugin(url('here')),
        wasmPlugin(url('open')),
        wasmPlugin(url('off'), { disabled: true, failStrategy: 'FAIL_CLOSE' }),
        wasmPlugin('file:///a.wasm'),
        wasmPlugin(url('close'), { failStrategy: 'FAIL_CLOSE' }),
      ],
      served({ name: 'here', version: '1' }),
    );
    assert.deepEqual(
      report.findings.map(finding => finding.path?.name ?? finding.status),
      ['close', 'open', 'here', 'file', 'off'],
    );
    assert.deepEqual(report.totals, {
      requests: 5,
      served: 1,
      notServed: 2,
      closingRoutes: 1,
      warnings: 0,
      disabled: 1,
      local: 1,
      problems: 0,
    });
  });

  it('as JSON is what its schema describes, with the line that fixes a miss', () => {
    const requests = [
      wasmPlugin('http://s/plugins/basic-auth/1.0.0/plugin.wasm', { imagePullPolicy: 'Always', sha256: sha('f') }),
      wasmPlugin('oci://h.io/a:1', { disabled: true }),
      requestOfUrl('ftp://x'),
      ...consoleRequests(chooseReleases(data, [])),
    ];
    const problems = [{ source: { file: 'b.yaml', document: 3, line: 4 }, found: 'x', expected: 'y', hint: 'z' }];
    const report = cover({ requests, problems, served: served(), bases: [], data });
    const values = valuesFor(
      report.findings.flatMap(({ missing }) => missing ?? []),
      {},
    );
    const json: unknown = JSON.parse(JSON.stringify(coverageJson(report, values, served())));
    const { findings, lines, totals } = v.parse(coverageSchema, json);
    assert.equal(findings.length, 55);
    assert.equal(totals.notServed, 54);
    // The path of older Consoles, and the tag that the newest one has under its own name.
    assert.equal(findings.find(({ name, version }) => name === 'basic-auth' && version === '1.0.0')?.fix, 'basic-auth');
    assert.equal(
      lines.find(({ plugin }) => plugin === 'basic-auth')?.line,
      '"basic-auth": { "versions": ["2.0.0"], "aliases": { "1.0.0": "2.0.0" } }',
    );
  });
});

describe('the manifest that ships', async () => {
  const manifest = await readPluginManifest(fileURLToPath(new URL('../../manifest.json', import.meta.url)));
  const ours = servedByManifest(manifest, new Map(), 'manifest.json');

  for (const release of ['2.2.4', '2.2.5'])
    it(`serves Higress ${release} whole, from the images that it means`, () => {
      const { totals, findings } = coverage(consoleRequests(chooseReleases(data, [release])), ours);
      assert.deepEqual(findings.filter(isMiss), []);
      assert.ok(totals.served >= 52);
      assert.equal(totals.warnings, 0);
    });

  it('serves the Controller and the all-in-one image', () => {
    const { totals } = coverage([...controllerRequests(data), ...allInOneRequests(data)], ours);
    assert.deepEqual([totals.requests, totals.served], [4, 4]);
  });

  for (const { release, plugins } of data.releases)
    it(`finds for each path of ${release} what the manifest has`, () => {
      const { findings, totals } = coverage(
        consoleRequests(data.releases.filter(each => each.release === release)),
        ours,
      );
      const paths = new Set(ours.modules.map(({ name, version }) => `${name}/${version}`));
      const expected = plugins.filter(({ name, version }) => paths.has(`${name}/${version}`));
      assert.equal(totals.served, expected.length);
      for (const { missing } of findings.filter(isMiss)) assert.ok(missing?.image !== undefined);
    });
});

describe('what there is', () => {
  it('of a manifest has its aliases, and the digests of the lockfile', async () => {
    const manifest = await parsePluginManifest(
      JSON.stringify({ plugins: { a: { versions: ['2'], aliases: { '1': '2' } }, b: `1@sha256:${sha('e')}` } }),
      { file: 'manifest.json' },
    );
    const locked = new Map([['a/2', { sha256: sha('1'), sizeBytes: 8, digest: `sha256:${sha('2')}` }]]);
    assert.deepEqual(
      servedByManifest(manifest, locked, 'm').modules.map(({ name, version, aliasOf, sha256, digest, pinned }) => [
        `${name}/${version}`,
        aliasOf,
        sha256,
        digest,
        pinned,
      ]),
      [
        ['a/2', undefined, sha('1'), `sha256:${sha('2')}`, true],
        ['b/1', undefined, undefined, `sha256:${sha('e')}`, true],
        ['a/1', '2', sha('1'), `sha256:${sha('2')}`, true],
      ],
    );
  });

  it('of a tree is what its catalog lists', () => {
    const version = {
      version: '1',
      path: 'a/1/plugin.wasm',
      reference: 'r/plugins/a:1',
      digest: `sha256:${sha('2')}`,
      pinned: false,
      sha256: sha('1'),
      sizeBytes: 8,
      abi: null,
      files: [],
    };
    const catalog = { schemaVersion: 1, tree: '', plugins: [{ name: 'a', versions: [version] }] } as const;
    assert.deepEqual(servedByCatalog(catalog, 't').modules, [
      {
        name: 'a',
        version: '1',
        sha256: sha('1'),
        sizeBytes: 8,
        from: 'r/plugins/a:1',
        digest: `sha256:${sha('2')}`,
        pinned: false,
      },
    ]);
  });

  it('of a server is asked by one HEAD for each path, and a fault costs its path', async () => {
    const digest = Buffer.from(sha('a'), 'hex').toString('base64');
    const asked: string[] = [];
    const requests = [
      'plugins/a/1/plugin.wasm',
      'plugins/a/1/plugin.wasm',
      'plugins/b/1/plugin.wasm',
      'c.wasm',
      'd.wasm',
      'e.wasm',
      'plugins/page/1/plugin.wasm',
    ].map(path => requestOfUrl(`http://s/${path}`));
    const bases = [new URL('http://s')];
    const what = await servedByServer({
      base: new URL('http://127.0.0.1:8080/base/'),
      paths: pathsOf(requests, { bases }),
      head: async url => {
        asked.push(url);
        if (url.endsWith('/c.wasm')) throw new Error('connection refused');
        const type = url.includes('/page/') ? { 'content-type': 'text/html; charset=utf-8' } : {};
        const status = /(?:[ae]|page)(?:\/1\/plugin)?\.wasm$/.test(url) ? 200 : url.includes('/b/') ? 404 : 503;
        return { status, headers: { 'repr-digest': `sha-256=:${digest}:`, 'content-length': '8', ...type } };
      },
      concurrency: 4,
      signal: new AbortController().signal,
    });
    assert.deepEqual(asked.sort(), [
      'http://127.0.0.1:8080/base/c.wasm',
      'http://127.0.0.1:8080/base/d.wasm',
      'http://127.0.0.1:8080/base/e.wasm',
      'http://127.0.0.1:8080/base/plugins/a/1/plugin.wasm',
      'http://127.0.0.1:8080/base/plugins/b/1/plugin.wasm',
      'http://127.0.0.1:8080/base/plugins/page/1/plugin.wasm',
    ]);
    assert.deepEqual(what.modules, [{ name: 'a', version: '1', sha256: sha('a'), sizeBytes: 8 }]);
    const { findings } = coverage(requests, what, ['http://s']);
    assert.deepEqual(
      findings.map(({ url, status, detail }) => [url, status, detail?.replace(/^.*: /, '')]),
      [
        ['http://s/plugins/b/1/plugin.wasm', 'notFound', 'The plugin is not here.'],
        ['http://s/c.wasm', 'fault', 'connection refused.'],
        ['http://s/d.wasm', 'fault', 'status 503.'],
        ['http://s/plugins/page/1/plugin.wasm', 'fault', 'status 200 with a page in HTML.'],
        ['http://s/plugins/a/1/plugin.wasm', 'served', undefined],
        ['http://s/plugins/a/1/plugin.wasm', 'served', undefined],
        ['http://s/e.wasm', 'served', undefined],
      ],
    );
  });

  it('of a server that is a registry as well has the images that gateways request of it', async () => {
    const manifests: Readonly<Record<string, object>> = {
      '/v2/p/archive/manifests/1': { layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' }] },
      '/v2/p/raw/manifests/1': { layers: [{ mediaType: 'application/vnd.module.wasm.content.layer.v1+wasm' }] },
      '/v2/p/index/manifests/1': { manifests: [{ digest: `sha256:${sha('0')}` }, { digest: `sha256:${sha('1')}` }] },
      [`/v2/p/index/manifests/sha256:${sha('1')}`]: { layers: [{ mediaType: 'a.tar.gzip' }] },
      [`/v2/p/loop/manifests/sha256:${sha('2')}`]: { manifests: [{ digest: `sha256:${sha('2')}` }] },
      '/v2/p/loop/manifests/1': { manifests: [{ digest: `sha256:${sha('2')}` }] },
    };
    const urls = ['archive', 'raw', 'index', 'absent', 'broken', 'loop'].map(name => `oci://s.svc/p/${name}:1`);
    const requests = [...urls, 'oci://elsewhere.example.com/p/archive:1'].map(requestOfUrl);
    const bases = [new URL('http://s.svc/base')];
    const find = async (isRegistry: boolean) => {
      const what = await servedByServer({
        base: new URL('http://127.0.0.1:8080/base/'),
        paths: pathsOf(requests, { bases }),
        images: imagesOf(requests, { bases }),
        head: async url => ({ status: url.endsWith('/plugins/raw/1/plugin.wasm') ? 200 : 404, headers: {} }),
        get: async url => {
          const { pathname } = new URL(url);
          const headers = isRegistry ? { 'docker-distribution-api-version': 'registry/2.0' } : {};
          const document = manifests[pathname];
          const status = pathname.includes('broken') ? 503 : document || pathname === '/v2/' ? 200 : 404;
          return { status, headers, body: Buffer.from(JSON.stringify(document ?? {})) };
        },
        concurrency: 2,
        signal: new AbortController().signal,
      });
      const { findings } = coverage(requests, what, ['http://s.svc/base']);
      return new Map(findings.map(({ url, status, detail }) => [url.replace('oci://', ''), `${status} ${detail}`]));
    };
    const found = await find(true);
    assert.deepEqual([found.get('s.svc/p/archive:1'), found.get('s.svc/p/index:1')], Array(2).fill('served undefined'));
    const raw = "Gateways cannot load it over oci://: its last layer is no gzip'd tar.";
    const here = 'The module is here as http://s.svc/base/plugins/raw/1/plugin.wasm: use that URL.';
    assert.equal(found.get('s.svc/p/raw:1'), `oci ${raw} ${here}`);
    assert.equal(found.get('s.svc/p/loop:1'), `oci ${raw} Use the http URL of its module.`);
    assert.match(found.get('s.svc/p/absent:1') ?? '', /has no such image/);
    assert.match(found.get('s.svc/p/broken:1') ?? '', /^fault .*status 503/);
    assert.match(found.get('elsewhere.example.com/p/archive:1') ?? '', /An image needs a registry/);
    const plain = await find(false);
    assert.match(plain.get('s.svc/p/archive:1') ?? '', /An image needs a registry/);
    assert.equal(plain.get('s.svc/p/raw:1'), `oci ${here}`);
  });
});
