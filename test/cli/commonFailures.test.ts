import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { CertificateAuthority } from '../support/certificates.ts';
import { type ErrorJson, openScene, parsed, type RunOptions, type Scene, type SyncJson } from '../support/cli.ts';
import { captivePortal, corrupt, hang, reset, rewrite, status, wrongDigest } from '../support/faults.ts';
import { imageFormC, imageFormD, imageOf, tarOf } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startProxy } from '../support/proxy.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from '../support/registry.ts';
import type { Fault } from '../support/script.ts';
import { holdPort } from '../support/unusedPort.ts';

// docs/troubleshooting.md quotes the messages of these failures. After a deliberate change of a message:
// PLUGIN_MIRROR_UPDATE_DOCS=1 node --import tsx --test test/cli/commonFailures.test.ts
const DOCUMENT = resolve(import.meta.dirname, '../../docs/troubleshooting.md');
const [BEGIN, END] = ['<!-- failures: begin -->', '<!-- failures: end -->'];

type Row = readonly [title: string, error: ErrorJson];

const authority = new CertificateAuthority();
const stranger = new CertificateAuthority('A stranger');
const DAY_MS = 86_400_000;
const plugin = imageFormC({ wasm: buildModule({ sizeBytes: 20_000 }) });
const SHORT = ['--retries', '0', '--timeout', '2'];

describe('the most common failures', () => {
  const rows = new Map<string, ErrorJson>();
  const keep = (...found: readonly Row[]): void => {
    for (const [title, error] of found) rows.set(title, error);
  };

  describe('are provoked', { concurrency: 4 }, () => {
    it('of registries and images', async t => keep(...(await ofRegistries(t))));
    it('of proxies', async t => keep(...(await ofProxies(t))));
    it('of the list, the lock and the command line', async t => keep(...(await ofFiles(t))));
    it('of a full disk', async t => keep(...(await ofDisk(t))));
  });

  it('print the messages that docs/troubleshooting.md quotes', async () => {
    const document = await readFile(DOCUMENT, 'utf8');
    const [before = '', rest = ''] = document.split(BEGIN);
    const [table = '', after = ''] = rest.split(END);
    // Rows that cannot be provoked on this machine stay unchanged.
    const former = new Map(table.split('\n').map(line => [/^\| (.*?) \|/.exec(line)?.[1] ?? '', line]));
    const lines = TITLES.map(title => {
      const error = rows.get(title);
      return error === undefined ? (former.get(title) ?? `| ${title} | | | |`) : rowOf(title, error);
    });
    assert.deepEqual(
      [...rows.keys()].filter(title => !TITLES.includes(title)),
      [],
    );
    const head = ['| What is wrong | Code | What you read | What to do |', '| --- | --- | --- | --- |'];
    const fresh = `\n${[...head, ...lines].join('\n')}\n`;
    if (process.env.PLUGIN_MIRROR_UPDATE_DOCS === '1')
      await writeFile(DOCUMENT, `${before}${BEGIN}${fresh}${END}${after}`);
    else assert.deepEqual(table.split('\n'), fresh.split('\n'));
  });
});

const TITLES: readonly string[] = [
  'The tag does not exist',
  'The repository does not exist',
  'The repository does not exist or needs a login (Aliyun returns the same for both)',
  'The password is wrong',
  'A login page of the network answers (captive portal)',
  'The host is not a registry',
  'The token server that the registry names does not run',
  'The registry names a token server in a private network',
  'The client uses https, the port speaks http',
  'The client uses http, the port speaks https',
  'The certificate is signed by an unknown authority',
  'The certificate has expired, or the clock is wrong',
  'The certificate is not valid yet, or the clock is wrong',
  'The certificate is for another host',
  'The certificate is for clients only',
  'No such host (DNS)',
  'Nothing listens (connection refused)',
  'No answer (timeout)',
  'The connection breaks',
  'Too many requests (429)',
  'The registry fails (503)',
  'A blob was damaged in transit',
  'A manifest was damaged in transit',
  'The image is a container, not a plugin',
  'The image is a Helm chart',
  'The proxy refuses the host',
  'The proxy requires credentials',
  'The proxy does not run',
  'The proxy inspects TLS with an unknown certificate',
  'An https proxy has an unknown certificate',
  'The disk is full',
  'manifest.json has a mistake',
  'The lockfile disagrees with the manifest (--frozen)',
  'A user name without a password',
];

async function ofRegistries(t: TestContext): Promise<Row[]> {
  const scene = await openScene(t);
  const lab = new Lab(scene, t);
  for (const tag of ['1.0.0', '1.1.0', '2.0.0']) scene.registry.push('plugins/a', tag, plugin);
  lab.want('The tag does not exist', scene.registry.host, '1.0.1');
  await lab.open('The repository does not exist', {}, { repository: 'team/other' });
  await lab.open(TITLES[2] ?? '', { aliyunStyle: true, auth: { kind: 'bearer' } }, { repository: 'team/other' });
  const locked = await lab.open('The password is wrong', { auth: { kind: 'basic', user: 'me', password: 'right' } });
  const auth = Buffer.from('me:wrong').toString('base64');
  await scene.write('config.json', JSON.stringify({ auths: { [locked.host]: { auth } } }));
  await lab.open('A login page of the network answers (captive portal)', {}, { fault: captivePortal() });
  const page = Buffer.from('<html><title>404 Not Found</title></html>');
  await lab.open(
    'The host is not a registry',
    {},
    {
      fault: rewrite('page', () => ({ status: 404, headers: { 'content-type': 'text/html' }, body: page })),
    },
  );
  for (const [title, realm] of [
    ['The token server that the registry names does not run', 'http://127.0.0.1:1/token'],
    ['The registry names a token server in a private network', 'http://10.0.0.1/token'],
  ] as const) {
    const challenge = { 'www-authenticate': `Bearer realm="${realm}",service="registry"` };
    await lab.open(title, {}, { fault: rewrite('challenge', () => ({ status: 401, headers: challenge })) });
  }
  const tls = await lab.open('The client uses http, the port speaks https', { tls: authority.issue() });
  const dated = (notBefore: number, notAfter: number) =>
    authority.issue({ notBefore: new Date(Date.now() + notBefore), notAfter: new Date(Date.now() + notAfter) });
  for (const [title, certificate] of [
    ['The certificate is signed by an unknown authority', stranger.issue()],
    ['The certificate has expired, or the clock is wrong', dated(-2 * DAY_MS, -DAY_MS)],
    ['The certificate is not valid yet, or the clock is wrong', dated(DAY_MS, 2 * DAY_MS)],
    ['The certificate is for another host', authority.issue({ hosts: ['elsewhere.example.com'] })],
    ['The certificate is for clients only', authority.issue({ usage: 'client' })],
  ] as const)
    await lab.open(title, { tls: certificate });
  lab.want('No such host (DNS)', 'no-such-host.invalid');
  await (await lab.open('Nothing listens (connection refused)')).down();
  await lab.open('No answer (timeout)', {}, { fault: hang() });
  await lab.open('The connection breaks', {}, { fault: reset() });
  await lab.open(
    'Too many requests (429)',
    {},
    { fault: status(429, { code: 'TOOMANYREQUESTS', message: 'slow down' }) },
  );
  await lab.open('The registry fails (503)', {}, { fault: status(503) });
  (await lab.open('A blob was damaged in transit')).script({ kind: 'blob', fault: corrupt({ atByte: 5000 }) });
  await lab.open('A manifest was damaged in transit', {}, { fault: wrongDigest(`sha256:${'0'.repeat(64)}`) });
  const container = imageFormD({ layers: [tarOf([{ name: 'bin/sh', body: Buffer.from('#!') }])] });
  (await lab.open('The image is a container, not a plugin')).push('plugins/a', '1.0.0', container);
  const chart = imageOf({
    config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', body: Buffer.from('{}') },
    layers: [{ mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', body: gzipOf('Chart.yaml') }],
  });
  (await lab.open('The image is a Helm chart')).push('plugins/a', '1.0.0', chart);
  const plain = await startRegistry();
  t.after(() => plain.close());
  const proxy = await startProxy({ routes: { 'registry.example.com:443': plain.host }, closed: true });
  t.after(() => proxy.close());
  lab.want('The client uses https, the port speaks http', 'registry.example.com');
  lab.want('The proxy refuses the host', 'other.example.com');
  lab.know(proxy.host, 'proxy.example.com:3128');
  const env = { HTTPS_PROXY: proxy.url, NO_PROXY: '127.0.0.1,invalid' };
  return lab.run(['--ca-file', 'ca.pem', '--plain-http', tls.host, '--registry-config', 'config.json'], { env });
}

async function ofProxies(t: TestContext): Promise<Row[]> {
  const server = await startRegistry({ tls: stranger.issue({ hosts: ['registry.example.com'] }) });
  t.after(() => server.close());
  const routes = { 'registry.example.com:443': server.host };
  const rows: Row[] = [];
  for (const [title, options, isThere] of [
    ['The proxy requires credentials', { user: 'me', password: 'x' }, true],
    ['The proxy does not run', {}, false],
    ['The proxy inspects TLS with an unknown certificate', {}, true],
    ['An https proxy has an unknown certificate', { tls: stranger.issue() }, true],
  ] as const) {
    const proxy = await startProxy({ ...options, routes });
    if (isThere) t.after(() => proxy.close());
    const { url, host } = proxy;
    if (!isThere) {
      await proxy.close();
      const held = await holdPort(Number(new URL(url).port), '127.0.0.1');
      t.after(() => held.destroy());
    }
    const lab = new Lab(await openScene(t), t);
    lab.want(title, 'registry.example.com');
    lab.know(host, 'proxy.example.com:3128');
    rows.push(...(await lab.run([], { env: { HTTPS_PROXY: url } })));
  }
  return rows;
}

async function ofFiles(t: TestContext): Promise<Row[]> {
  const scene = await openScene(t);
  const failing = async (args: readonly string[], code: number): Promise<ErrorJson> => {
    const ran = await scene.sync('--format', 'json', ...args);
    assert.equal(ran.code, code, ran.stderr);
    const { error, errors } = parsed<{ error?: ErrorJson; errors?: readonly ErrorJson[] }>(ran);
    return normalise(error ?? errors?.[0], scene, new Map());
  };
  await scene.write('manifest.json', '{\n  "plugins": { "ai-proxy": "../2.0.1" }\n}\n');
  const mistaken = await failing([], 2);
  scene.push('a', '1.0.0');
  await scene.list({ a: '1.0.0' });
  assert.equal((await scene.sync()).code, 0);
  scene.push('a', '1.1.0');
  await scene.list({ a: '1.1.0' });
  return [
    ['manifest.json has a mistake', mistaken],
    ['The lockfile disagrees with the manifest (--frozen)', await failing(['--frozen'], 3)],
    ['A user name without a password', await failing(['--username', 'me'], 2)],
  ];
}

async function ofDisk(t: TestContext): Promise<Row[]> {
  const scene = await openScene(t);
  const tree = scene.path('plugins');
  await mkdir(tree);
  const run = promisify(execFile);
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=512k,mode=755', 'tmpfs', tree]);
  } catch (error) {
    if (process.env.PLUGIN_MIRROR_TEST_PEERS === '1') throw error;
    t.skip('mount(8) is not allowed here');
    return [];
  }
  try {
    scene.push('a', '1.0.0', imageFormC({ wasm: buildModule({ sizeBytes: 2_000_000 }) }));
    await scene.list({ a: '1.0.0' });
    const ran = await scene.sync('--format', 'json');
    assert.equal(ran.code, 1, ran.stderr);
    const { plugins = [], error, errors } = parsed<SyncJson & { error?: ErrorJson }>(ran);
    const found = plugins[0]?.error ?? error ?? errors?.[0];
    return [['The disk is full', normalise(found, scene, new Map([[tree, 'plugins']]))]];
  } finally {
    await run('umount', ['--lazy', tree]);
  }
}

interface Arrangement {
  readonly repository?: string;
  readonly fault?: Fault;
}

/** One run of sync in which every plugin fails in its own way. */
class Lab {
  readonly #scene: Scene;
  readonly #t: TestContext;
  readonly #plugins: Record<string, { image: string; versions: string[] }> = {};
  readonly #titles: string[] = [];
  readonly #names = new Map<string, string>();

  constructor(scene: Scene, t: TestContext) {
    this.#scene = scene;
    this.#t = t;
  }

  /** A registry of its own, with `plugins/a:1.0.0` in it. */
  async open(title: string, options: RegistryOptions = {}, arrangement: Arrangement = {}): Promise<TestRegistry> {
    const registry = await startRegistry(options);
    this.#t.after(() => registry.close());
    registry.push('plugins/a', '1.0.0', plugin);
    if (arrangement.fault !== undefined) registry.script({ fault: arrangement.fault });
    this.want(title, registry.host, '1.0.0', arrangement.repository);
    return registry;
  }

  want(title: string, host: string, version = '1.0.0', repository = 'plugins/a'): void {
    this.#plugins[`p${this.#titles.length}`] = { image: `oci://${host}/${repository}`, versions: [version] };
    this.#titles.push(title);
    if (host.startsWith('127.')) this.know(host, 'registry.example.com');
  }

  /** How a host is called in the document. */
  know(host: string, name: string): void {
    this.#names.set(host, name);
  }

  async run(args: readonly string[], options: RunOptions): Promise<Row[]> {
    const scene = this.#scene;
    await scene.list(this.#plugins);
    await scene.write('ca.pem', authority.cert);
    const ran = await scene.run(['sync', '--format', 'json', ...SHORT, ...args], options);
    assert.equal(ran.code, 1, ran.stderr);
    const { plugins } = parsed<SyncJson>(ran);
    return this.#titles.map((title, index) => {
      const outcome = plugins.find(({ name }) => name === `p${index}`);
      assert.ok(outcome?.error, `${title}: ${outcome?.status}`);
      return [title, normalise(outcome.error, scene, this.#names, `p${index} `)];
    });
  }
}

/** Without what differs from run to run. */
function normalise(
  error: ErrorJson | undefined,
  scene: Scene,
  names: ReadonlyMap<string, string>,
  subject = '',
): ErrorJson {
  assert.ok(error);
  const words = (text: string): string => {
    let plain = text;
    for (const [host, name] of names) plain = plain.replaceAll(host, name);
    if (subject !== '') plain = plain.replaceAll(subject, 'my-plugin ');
    return plain
      .replaceAll(`${scene.dir}/`, '')
      .replaceAll(scene.registry.host, 'registry.example.com')
      .replace(/(sha\d{3}:)[0-9a-f]{64,}/g, '$1…')
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '2026-01-01T00:00:00.000Z')
      .replace(/\b\d+(?:\.\d+)? (bytes|MiB)/g, 'N $1');
  };
  return { code: error.code, message: words(error.message), hint: words(error.hint) };
}

function rowOf(title: string, { code, message, hint }: ErrorJson): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', '<br>');
  return `| ${title} | \`${code}\` | ${cell(message)} | ${cell(hint)} |`;
}

function gzipOf(name: string): Buffer {
  return tarOf([{ name: `chart/${name}`, body: Buffer.from('name: chart') }]);
}
