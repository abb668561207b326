import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { openHeads } from '../../cli/coverage/headRequests.ts';
import { readHigressData } from '../../mirror/coverage/requests/higressReleases.ts';
import { openScene, parsed, type Running, type Scene } from '../support/cli.ts';
import { buildModule } from '../support/module.ts';
import { sample, slow } from '../support/slow.ts';

interface Report {
  readonly served: string;
  readonly findings: readonly {
    readonly status: string;
    readonly url: string;
    readonly name?: string;
    readonly fix?: string;
  }[];
  readonly problems: readonly { readonly file: string; readonly line?: number; readonly found: string }[];
  readonly totals: Readonly<Record<string, number>>;
}

const resource = (name: string, rest: string) =>
  `apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: ${name}, namespace: ns}\nspec:\n  ${rest}\n`;
const urlOf = (path: string) => `url: http://plugin-server/plugins/${path}/plugin.wasm`;

/** The scene's own manifest and tree: a 1.0.0, a alias 0.9, b 2.0.0. */
async function sceneWithTree(t: TestContext): Promise<Scene> {
  const scene = await openScene(t);
  scene.push('a', '1.0.0');
  scene.push('b', '2.0.0');
  await scene.list({ a: { versions: ['1.0.0'], aliases: { '0.9': '1.0.0' } }, b: '2.0.0' });
  assert.equal((await scene.sync()).code, 0);
  return scene;
}

async function serve(scene: Scene, t: TestContext, ...more: readonly string[]): Promise<string> {
  const words = ['serve', '--port', '0', '--host', '127.0.0.1', '--access-log', 'off', '--log-format', 'text', ...more];
  const serving: Running = scene.start(words);
  t.after(() => serving.child.kill('SIGKILL'));
  const address = () => /serving plugins at (http:\/\/\S+)/.exec(serving.output())?.[1];
  while (address() === undefined) await once(serving.child.stderr ?? serving.child, 'data');
  return address() ?? '';
}

describe('coverage', () => {
  it('finds in the manifest that ships what Higress 2.2.5 requests, without a request', async t => {
    const scene = await openScene(t);
    const manifest = new URL('../../manifest.json', import.meta.url).pathname;
    const { code, stdout, stderr } = await scene.run(['coverage', '--higress', '2.2.5', '--manifest', manifest]);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^✓ \S*manifest\.json: 52 of 52 requests served\n$/);
  });

  it('prints what closes routes first, the lines that fix it, and ends with 3', async t => {
    const scene = await sceneWithTree(t);
    await scene.write(
      'plugins.yaml',
      [
        resource('open', `${urlOf('b/1.0.0')}\n  failStrategy: FAIL_OPEN`),
        resource('here', urlOf('a/0.9')),
        resource('closed', urlOf('c/3.0.0')),
      ].join('---\n'),
    );
    const { code, stdout } = await scene.run(['coverage', 'plugins.yaml']);
    assert.equal(code, 3);
    const lines = stdout.split('\n');
    assert.match(
      lines[0] ?? '',
      /^404 +c\/3\.0\.0 +WasmPlugin ns\/closed FAIL_CLOSE \(plugins\.yaml, document 3, line 18\)/,
    );
    assert.match(lines[1] ?? '', /^404 +b\/1\.0\.0 +WasmPlugin ns\/open .*The nearest version here is 2\.0\.0\.$/);
    assert.match(stdout, /✗ manifest\.json: 1 of 3 requests served \(1 with FAIL_CLOSE not served\)/);
    assert.match(stdout, /^ {4}"c": "3\.0\.0",$/m);
    assert.match(stdout, /^ {4}"b": \["2\.0\.0", "1\.0\.0"\],$/m);
    assert.ok(!stdout.includes('ns/here'));
    const all = await scene.run(['coverage', 'plugins.yaml', '--all']);
    assert.match(all.stdout, /^served .*ns\/here/m);
  });

  it('--fix writes these lines, and the manifest then serves every request', async t => {
    const scene = await sceneWithTree(t);
    await scene.write('plugins.yaml', resource('x', urlOf('b/1.0.0')));
    const before = await scene.read('manifest.json');
    const { code, stdout } = await scene.run(['coverage', 'plugins.yaml', '--fix']);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /manifest\.json has 1 changed plugin now/);
    assert.equal(await scene.read('manifest.json'), before.replace('"b":"2.0.0"', '"b":["2.0.0", "1.0.0"]'));
    const none = await openScene(t);
    const missing = await none.run(['coverage', '--url', 'http://s/plugins/a/1/plugin.wasm', '--fix']);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /MANIFEST_MISSING/);
  });

  it('looks into a tree, and has the sha256 of its modules', async t => {
    const scene = await sceneWithTree(t);
    const [good, bad] = [
      (await scene.json<{ sha256: string }>('plugins/a/1.0.0/metadata.json')).sha256,
      'f'.repeat(64),
    ];
    await mkdir(scene.path('yaml'));
    await scene.write('yaml/good.yaml', resource('good', `${urlOf('a/0.9')}\n  sha256: ${good}`));
    await scene.write('yaml/bad.yml', resource('bad', `${urlOf('a/1.0.0')}\n  sha256: ${bad}`));
    const { code, stdout } = await scene.run(['coverage', 'yaml', '--tree', 'plugins', '--format', 'json']);
    assert.equal(code, 3);
    const { findings, served } = parsed<Report>({ code, stdout, stderr: '' });
    assert.equal(served, 'plugins');
    assert.deepEqual(
      findings.map(({ status }) => status),
      ['sha256Differs', 'served'],
    );
  });

  it('asks a running server, below a base path and with a login', async t => {
    const scene = await sceneWithTree(t);
    await scene.write('token', 'secret\n');
    const login = ['--auth-token-file', 'token'];
    const address = await serve(scene, t, '--base-path', '/mirror', '--url-pattern', '/flat/${name}.wasm', ...login);
    const urls = ['plugins/a/1.0.0/plugin.wasm', 'flat/b.wasm', 'plugins/c/1/plugin.wasm'].flatMap(path => [
      '--url',
      `${address.replace(/\/$/, '')}/${path}`,
    ]);
    const against = ['--against', address, ...login];
    const ran = await scene.run(['coverage', ...urls, ...against, '--format', 'json']);
    assert.equal(ran.code, 3);
    const { findings } = parsed<Report>(ran);
    assert.deepEqual(
      findings.map(({ status }) => status),
      ['notFound', 'served', 'served'],
    );
    for (const { status, url } of findings.filter(finding => finding.status === 'served')) {
      const response = await fetch(url, { headers: { authorization: 'Bearer secret' } });
      assert.equal(response.status, 200, status);
      await response.arrayBuffer();
    }
    // The Service's name is the mirror's as well; no login is a fault of each path.
    const inCluster = ['--url', 'http://plugin-server/mirror/plugins/a/1.0.0/plugin.wasm'];
    assert.equal((await scene.run(['coverage', ...inCluster, ...against])).code, 0);
    const refused = await scene.run(['coverage', ...urls, '--against', address]);
    assert.equal(refused.code, 3);
    assert.match(refused.stdout, /^fault .*status 401/m);
  });

  it('follows redirects as a gateway does, and keeps the login from other servers', async t => {
    const asked: (string | undefined)[] = [];
    const listen = async (handler: RequestListener): Promise<string> => {
      const server = createServer(handler).listen(0, '127.0.0.1');
      t.after(() => server.close());
      await once(server, 'listening');
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    };
    const storage = await listen((request, response) => {
      asked.push(request.headers.authorization);
      response.writeHead(request.url === '/a.wasm' ? 200 : 404).end();
    });
    const front = await listen((request, response) => {
      const location = request.url === '/loop' ? '/loop' : `${storage}${request.url}`;
      response.writeHead(request.url === '/loop' ? 308 : 302, { location }).end();
    });
    const env = { PLUGIN_MIRROR_AUTH_TOKEN: 'secret' };
    const heads = await openHeads({ timeout: 60_000, concurrency: 1 } as Parameters<typeof openHeads>[0], env);
    t.after(heads.close);
    const statuses = ['/a.wasm', '/b.wasm', '/loop'].map(async path => {
      const { status } = await heads.head(`${front}${path}`, new AbortController().signal);
      return status;
    });
    assert.deepEqual(await Promise.all(statuses), [200, 404, 308]);
    assert.deepEqual(asked, [undefined, undefined]);
  });

  it('reports a server that does not respond for each path', slow, async t => {
    const scene = await sceneWithTree(t);
    const { code, stdout } = await scene.run([
      'coverage',
      '--url',
      '/plugins/a/1.0.0/plugin.wasm',
      '--against',
      'http://127.0.0.1:1',
    ]);
    assert.equal(code, 3);
    assert.match(stdout, /^fault +a\/1\.0\.0 .*ECONNREFUSED/m);
  });

  it('reads standard input, and reports broken parts of it with their line', slow, async t => {
    const scene = await sceneWithTree(t);
    const input = `${resource('here', urlOf('a/1.0.0'))}---\nkind: "open\n---\n${resource('none', 'phase: AUTHN')}`;
    const { code, stdout } = await scene.run(['coverage', '-'], { input });
    assert.equal(code, 2);
    assert.match(stdout, /problem +-, document 2, line \d: /);
    assert.match(stdout, /problem +-, document 3, line 13: found WasmPlugin ns\/none without spec\.url/);
    assert.match(stdout, /! manifest\.json: 1 of 1 request served \(2 problems\)/);
  });

  it('takes the address out of the environment, and the base by option', slow, async t => {
    const scene = await openScene(t);
    await scene.write(
      '.env',
      "WASM_PLUGIN_URL_PATTERN='https://cdn.example.com/plugins/${name}/${version}/plugin.wasm'\n",
    );
    const manifest = new URL('../../manifest.json', import.meta.url).pathname;
    const words = ['coverage', '--env-file', '.env', '--manifest', manifest, '--format', 'json'];
    const outside = parsed<Report>(await scene.run(words));
    assert.equal(outside.totals.served, 0);
    assert.equal(outside.findings[0]?.status, 'otherHost');
    const ours = await scene.run([...words, '--base', 'https://cdn.example.com/']);
    assert.equal(ours.code, 0);
    assert.equal(parsed<Report>(ours).totals.served, 52);
  });

  it('refuses releases, addresses and options that cannot be used', async t => {
    const scene = await openScene(t);
    for (const [words, found] of sample([
      [['--higress', '2.2.55'], /HIGRESS_RELEASE_UNKNOWN[\s\S]*Did you mean 2\.2\.5\?/],
      [['--against', 'ftp://h'], /Expected http:\/\/HOST/],
      [['--against', 'http://u:pw@h'], /Expected http:\/\/HOST/],
      [['--against', 'http://h', '--tree', 't'], /OPTION_CONFLICT/],
      [['--tree', 'none'], /CATALOG_MISSING/],
      [['--against', 'https://h', '--ca-file', 'none.pem'], /--ca-file/],
    ] as const)) {
      const { code, stdout, stderr } = await scene.run(['coverage', ...words]);
      assert.notEqual(code, 0);
      assert.match(stderr, found);
      assert.ok(!`${stdout}${stderr}`.includes('pw@'));
    }
  });
});

describe('init', () => {
  it('writes a manifest into an empty folder, which serves the releases', async t => {
    const scene = await openScene(t);
    const { code, stderr } = await scene.run(['init', '--higress', '2.2.4', '--higress', '2.2.5', '--write']);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^wrote manifest\.json: \d+ plugins; plugin-mirror sync fetches them\n$/);
    const { $schema } = JSON.parse(await scene.read('manifest.json')) as { $schema: string };
    assert.match(await scene.read($schema), /"title": "plugin-mirror manifest"/);
    for (const release of sample(['2.2.4', '2.2.5', 'controller', 'all-in-one']))
      assert.equal((await scene.run(['coverage', '--higress', release])).code, 0, release);
    const again = await scene.run(['init', '--write']);
    assert.equal(again.code, 2);
    assert.match(again.stderr, /MANIFEST_EXISTS/);
    assert.equal((await scene.run(['init', '--write', '--force'])).code, 0);
  });

  it('prints a manifest, or the releases', async t => {
    const scene = await openScene(t);
    const words = ['init', '--registry', 'harbor.local/hub', '--plugin', 'key-*'];
    const { plugins, registry, ...rest } = parsed<{ plugins: object; registry: string }>(await scene.run(words));
    assert.deepEqual(rest, {}, 'no $schema that leads nowhere');
    assert.deepEqual([registry, Object.keys(plugins)], ['harbor.local/hub', ['key-auth', 'key-rate-limit']]);
    const { releases } = await readHigressData();
    const dockerfile = await scene.run(['init', '--dockerfile', '--manifest', 'lists/my own.json']);
    assert.match(dockerfile.stdout, /^ARG PROGRAM=plugin-mirror:\d+\.\d+\.\d+-program$/m);
    assert.match(dockerfile.stdout, /^COPY \["my own\.json","my own\.lock\.json","\/context\/"\]$/m);
    assert.equal(dockerfile.stdout.match(/^(?:ARG|FROM|COPY|RUN) /gm)?.length, 6);
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await scene.write('keys/of cosign.pub', publicKey.export({ type: 'spki', format: 'pem' }));
    await scene.write('local.wasm', buildModule({ seed: 'local' }));
    const named = { file: './local.wasm', versions: ['1.0.0'] };
    await scene.list({ local: named }, { signatures: { key: 'keys/of cosign.pub' } });
    const withFiles = await scene.run(['init', '--dockerfile']);
    assert.match(withFiles.stdout, /^COPY \["local\.wasm","\/context\/local\.wasm"\]$/m);
    assert.match(withFiles.stdout, /^COPY \["keys\/of cosign\.pub","\/context\/keys\/of cosign\.pub"\]$/m);
    await scene.write(
      'lists/manifest.json',
      JSON.stringify({ plugins: { local: { ...named, file: '../local.wasm' } } }),
    );
    const outside = await scene.run(['init', '--dockerfile', '--manifest', 'lists/manifest.json']);
    assert.equal(outside.code, 2);
    assert.match(outside.stderr, /OPTION_INVALID .*names \.\.\/local\.wasm, which is outside of its folder/);
    const pattern = await scene.run(['init', '--dockerfile', '--manifest', 'all*.json']);
    assert.equal(pattern.code, 2);
    assert.match(pattern.stderr, /OPTION_INVALID .*cannot copy all\*\.json/);
    assert.equal((await scene.run(['init', '--dockerfile', '--write'])).code, 2);
    const { stdout } = await scene.run(['init', '--list']);
    assert.deepEqual(
      stdout.match(/^\S+/gm),
      releases.map(({ release }) => release),
    );
  });

  it('refuses releases in conflict, unknown plugins and a registry that is none', async t => {
    const scene = await openScene(t);
    for (const [words, found] of sample([
      [['--higress', '2.1.5', '--higress', '2.2.3'], /HIGRESS_RELEASES_CONFLICT[\s\S]*2\.1\.5[\s\S]*2\.2\.3/],
      [['--plugin', 'ai-proxi'], /HIGRESS_PLUGIN_UNKNOWN[\s\S]*Did you mean ai-proxy\?/],
      [['--registry', 'https://h'], /MANIFEST_INVALID/],
    ] as const)) {
      const { code, stderr } = await scene.run(['init', ...words]);
      assert.equal(code, 2);
      assert.match(stderr, found);
    }
  });
});

describe('urls and list', () => {
  it('print settings, URLs and sha256 of a manifest and of a tree', async t => {
    const scene = await sceneWithTree(t);
    const { sha256 } = await scene.json<{ sha256: string }>('plugins/a/1.0.0/metadata.json');
    const yaml = await scene.run(['urls', '--format', 'wasmplugin', '--base', 'http://s/x', '--only', 'a']);
    assert.equal(yaml.code, 0, yaml.stderr);
    assert.match(yaml.stdout, new RegExp(`url: "http://s/x/plugins/a/0\\.9/plugin\\.wasm"\n  sha256: "${sha256}"`));
    const covered = await scene.run(['coverage', '-', '--base', 'http://s/x', '--tree', 'plugins'], {
      input: yaml.stdout.replaceAll('defaultConfigDisable: true', 'defaultConfig: {}'),
    });
    assert.equal(covered.code, 0, covered.stdout);
    const env = await scene.run(['urls', '--format', 'env', '--tree', 'plugins']);
    assert.match(
      env.stdout,
      /='http:\/\/higress-plugin-server\.higress-system\.svc\/plugins\/\$\{name\}\/\$\{version\}/,
    );
    const json = parsed<{ plugins: readonly { url: string }[] }>(await scene.run(['urls', '--format', 'json']));
    assert.equal(json.plugins.length, 3);
  });

  it('list a tree as a table and as JSON, and a manifest', async t => {
    const scene = await sceneWithTree(t);
    const { stdout } = await scene.run(['list']);
    assert.match(
      stdout,
      /^PLUGIN +VERSION +ALIASES +SIZE +SHA256 +FROM\na +1\.0\.0 +0\.9 +\S+ \S+ +[0-9a-f]{12} +\S+:\d+\/plugins\/a:1\.0\.0\nb /,
    );
    assert.match(stdout, /\n2 plugins, 2 versions, \S+ \S+\n$/);
    const fromManifest = await scene.run(['list', '--manifest', 'manifest.json', '--format', 'json']);
    const fromTree = await scene.run(['list', '--format', 'json']);
    const plugins = (ran: typeof fromTree) => parsed<{ plugins: unknown }>(ran).plugins;
    assert.deepEqual(plugins(fromManifest), plugins(fromTree));
    const none = await scene.run(['list', '--tree', 'none', '--format', 'json']);
    assert.equal(none.code, 1);
    assert.match(none.stdout, /CATALOG_MISSING/);
  });
});
