import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { type DoctorReport, examine } from '../../cli/doctor/run.ts';
import { registryOptions } from '../../cli/options/registryOptions.ts';
import type { DoctorFlags } from '../../cli/options/tables.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { openScene, parsed, type Ran, type RunOptions, type Scene } from '../support/cli.ts';
import { captivePortal, headers, redirect, reset, status } from '../support/faults.ts';
import { readFlags } from '../support/flags.ts';
import { type ProxyOptions, startProxy } from '../support/proxy.ts';
import { type RegistryOptions, startRegistry } from '../support/registry.ts';
import { slow, slowUnless } from '../support/slow.ts';

const authority = new CertificateAuthority('The test authority');
const AUTH = { kind: 'bearer', realm: 'cross-origin' } as const;

async function withPlugin(t: TestContext, options: RegistryOptions = {}, rest: object = {}): Promise<Scene> {
  const scene = await openScene(t, options);
  scene.push('a', '1.0.0');
  await scene.list({ a: '1.0.0' }, rest);
  await scene.write('ca.pem', authority.cert);
  return scene;
}

/** The command in a process of its own. */
async function run(scene: Scene, args: readonly string[], options: RunOptions = {}) {
  const ran = await scene.run(['doctor', '--format', 'json', ...args], options);
  return { ran, report: parsed<DoctorReport>(ran) };
}

interface Asked {
  readonly ref?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** The command without a process: what it would print as JSON. */
async function look(scene: Scene, args: readonly string[] = [], { ref, env = {} }: Asked = {}): Promise<DoctorReport> {
  const flags = readFlags<DoctorFlags>(['doctor', '--manifest', scene.path('manifest.json'), ...args]);
  const options = {
    ...(await registryOptions({ ...flags, cacheDir: scene.path('cache') }, new AbortController().signal)),
    env: scene.environment(env),
  };
  const { signal } = new AbortController();
  return JSON.parse(JSON.stringify(await examine({ ref, flags, registryOptions: options, signal })));
}

const trusting = (scene: Scene): string[] => ['--ca-file', scene.path('ca.pem')];

const outcome = (report: DoctorReport, target = 0): Record<string, string> =>
  Object.fromEntries((report.targets[target]?.steps ?? []).map(it => [it.step, it.status]));

const failure = (report: DoctorReport): DoctorReport['targets'][number]['steps'][number] | undefined =>
  report.targets.flatMap(({ steps }) => steps).find(it => it.status === 'failed');

const purposes = (report: DoctorReport): string[] => report.hosts.map(it => it.purposes.join('+'));

describe('doctor', { concurrency: 4 }, () => {
  it('tests every step, requests one byte of a blob, and names every host', async t => {
    const scene = await withPlugin(t, { tls: authority.issue(), auth: AUTH, blobRedirect: 'cross-origin' });
    const { ran, report } = await run(scene, ['--ca-file', 'ca.pem']);
    assert.equal(ran.code, 0, ran.stdout + ran.stderr);
    assert.deepEqual([report.schemaVersion, report.good], [1, true]);
    assert.deepEqual(new Set(Object.values(outcome(report))), new Set(['ok']), ran.stdout);
    assert.deepEqual(purposes(report), ['registry', 'token server', 'blob storage']);
    assert.ok(report.hosts.every(it => it.answered && it.through === undefined));
    assert.match(JSON.stringify(report.targets[0]), /issued by The test authority, valid 20\d\d-\d\d-\d\d to 20\d\d-/);
    const blobs = scene.registry.requests.filter(it => it.kind === 'blob');
    assert.ok(blobs.length > 0 && blobs.every(it => it.headers.range !== undefined));
    assert.equal(scene.registry.bytesServed({ server: 'storage' }), 1);
    const text = await scene.run(['doctor', '--ca-file', 'ca.pem']);
    assert.equal(text.code, 0);
    const [host, port] = scene.registry.host.split(':');
    assert.match(text.stdout, new RegExp(`${host}:${port} +registry +yes`));
    assert.match(text.stdout, /blob storage +yes[\s\S]*every step works/);
  });

  for (const [name, certificate, args, code] of [
    ['an unknown authority', () => new CertificateAuthority().issue(), () => [], 'REGISTRY_TLS'],
    [
      'an expired certificate',
      () => authority.issue({ notAfter: new Date(Date.now() - 1e9), notBefore: new Date(0) }),
      trusting,
      'REGISTRY_TLS',
    ],
    [
      'a certificate for another host',
      () => authority.issue({ hosts: ['elsewhere.example'] }),
      trusting,
      'REGISTRY_TLS',
    ],
  ] as const)
    it(
      `stops at ${name}, tells the certificate, and --insecure goes on with a warning in words`,
      slowUnless(name === 'an unknown authority'),
      async t => {
        const scene = await withPlugin(t, { tls: certificate() });
        const report = await look(scene, args(scene));
        assert.equal(report.good, false);
        assert.equal(failure(report)?.step, 'tls');
        assert.equal(failure(report)?.code, code);
        assert.match(failure(report)?.found ?? '', /issued by/);
        assert.equal(outcome(report).api, 'skipped');
        assert.deepEqual(
          report.hosts.map(it => it.answered),
          [false],
        );
        const loose = await look(scene, ['--insecure', scene.registry.host]);
        assert.ok(loose.good, JSON.stringify(loose));
        assert.match(JSON.stringify(loose), /accepted without verification/);
      },
    );

  it('prints a warning of certificates once, next to its report', slow, async t => {
    const scene = await withPlugin(t, { tls: authority.issue() });
    const { ran, report } = await run(scene, trusting(scene), { env: { NODE_EXTRA_CA_CERTS: '/nowhere/ca.pem' } });
    assert.ok(report.good, ran.stdout);
    const warnings = ran.stderr.split('\n').filter(line => line.startsWith('warning: NODE_EXTRA_CA_CERTS: '));
    assert.equal(warnings.length, 1, ran.stderr);
    assert.match(warnings[0] ?? '', /\/nowhere\/ca\.pem cannot be read: ENOENT; no authority is added/);
  });

  it('reports a 401 without a challenge alike in each step, and advises no login', async t => {
    const scene = await withPlugin(t);
    scene.registry.script({ fault: status(401) });
    const report = await look(scene);
    const api = report.targets[0]?.steps.find(({ step }) => step === 'api');
    for (const found of [api?.found, failure(report)?.found])
      assert.match(found ?? '', /answers 401, but names no kind of login \(no WWW-Authenticate header\)/);
    assert.equal(failure(report)?.step, 'manifest');
    assert.doesNotMatch(failure(report)?.hint ?? '', /docker login/);
  });

  it('lists the proxy apart from the hosts behind it, and prints no password', async t => {
    const server = await startRegistry({ tls: authority.issue({ hosts: ['registry.example'] }) });
    t.after(() => server.close());
    const proxied = async (options: ProxyOptions) => {
      const proxy = await startProxy({ ...options, routes: { 'registry.example:443': server.host } });
      t.after(() => proxy.close());
      return proxy;
    };
    const scene = await withPlugin(t);
    const proxy = await proxied({ user: 'me', password: 'planted', closed: true });
    const env = (url: string) => ({ env: { HTTPS_PROXY: url } });
    const through = (url: string, args: readonly string[] = []) =>
      look(scene, args, { ref: 'registry.example', ...env(url) });
    const good = await through(proxy.urlWithCredentials, trusting(scene));
    assert.ok(good.good, JSON.stringify(good));
    assert.deepEqual(
      good.hosts.map(it => [it.purposes.join(), it.through]),
      [
        ['proxy', undefined],
        ['registry', proxy.host],
      ],
    );
    const wrong = await run(scene, ['registry.example'], env(proxy.urlWithCredentials.replace('planted', 'planted2')));
    assert.equal(wrong.ran.code, 1);
    assert.deepEqual([failure(wrong.report)?.step, failure(wrong.report)?.code], ['tls', 'REGISTRY_PROXY']);
    assert.match(failure(wrong.report)?.found ?? '', /requires credentials/);
    assert.deepEqual(
      wrong.report.hosts.map(it => [it.answered, it.refused]),
      [
        [true, true],
        [false, undefined],
      ],
    );
    assert.ok(!(wrong.ran.stdout + wrong.ran.stderr).includes('planted'));
    const text = await scene.run(['doctor', 'other.example'], env(proxy.urlWithCredentials));
    assert.match(
      text.stdout,
      /did not connect to other\.example[\s\S]*connections from the proxy[\s\S]*other\.example:443/,
    );
    const { url: abandoned } = proxy;
    await proxy.close();
    const gone = await through(abandoned);
    assert.deepEqual([failure(gone)?.step, failure(gone)?.code], ['tcp', 'REGISTRY_PROXY']);
    assert.match(failure(gone)?.found ?? '', /to reach registry\.example: the connection was refused/);
    assert.match(failure(gone)?.hint ?? '', /HTTPS_PROXY/);
    const odd = await through('ftp://x');
    assert.deepEqual([failure(odd)?.step, odd.good], ['proxy', false]);
  });

  it('reports, as sync does, a port that speaks TLS instead of http, and a missing client certificate', async t => {
    const scene = await withPlugin(t, { tls: authority.issue() });
    const report = await look(scene, ['--plain-http', scene.registry.host]);
    assert.deepEqual([failure(report)?.step, failure(report)?.code], ['api', 'REGISTRY_TLS']);
    assert.match(failure(report)?.hint ?? '', /Leave out --plain-http/);
    const { cert, key } = authority.issue();
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const closed = createServer({
        cert,
        key,
        ca: authority.cert,
        requestCert: true,
        rejectUnauthorized: true,
        maxVersion,
      });
      await new Promise<void>(resolve => closed.listen(0, '127.0.0.1', resolve));
      t.after(() => closed.close());
      const ref = `127.0.0.1:${(closed.address() as AddressInfo).port}`;
      const found = failure(await look(scene, trusting(scene), { ref }));
      assert.deepEqual([found?.step, found?.code], ['tls', 'REGISTRY_TLS'], maxVersion);
      assert.match(`${found?.found} ${found?.hint}`, /client certificate/, maxVersion);
    }
  });

  it('names the host that fails: the token server, the blob storage', async t => {
    const scene = await withPlugin(t, { auth: AUTH, blobRedirect: 'cross-origin' });
    scene.registry.script({ server: 'storage', fault: reset() });
    const blob = await look(scene, ['--retries', '0']);
    assert.equal(blob.good, false);
    assert.equal(failure(blob)?.step, 'blob');
    assert.deepEqual(
      blob.hosts.map(it => [it.purposes.join(), it.answered]),
      [
        ['registry', true],
        ['token server', true],
        ['blob storage', false],
      ],
    );
    scene.registry.script({ kind: 'token', fault: status(403, { code: 'DENIED', message: 'go away' }) });
    const token = await look(scene);
    assert.deepEqual([failure(token)?.step, failure(token)?.code], ['token', 'REGISTRY_UNAUTHORIZED']);
    // Of what a server says that the registry named, only codes are shown.
    assert.match(failure(token)?.found ?? '', /DENIED/);
    assert.doesNotMatch(failure(token)?.found ?? '', /go away/);
  });

  it('recognises a host that is not a registry, a login portal and a wrong clock', async t => {
    const scene = await withPlugin(t);
    const ping = (fault: ReturnType<typeof status>) => scene.registry.script({ kind: 'ping', fault });
    for (const [fault, words] of [
      [captivePortal(), /web page/],
      [status(500), /cannot answer now: status 500/],
    ] as const) {
      ping(fault);
      const report = await look(scene, ['--retries', '0']);
      assert.equal(report.good, false);
      assert.equal(failure(report)?.step, 'api');
      assert.match(failure(report)?.found ?? '', words);
    }
    for (const [fault, words] of [
      [redirect('https://login.example/?next=1', 302), /redirects from \/v2\/ to https:\/\/login\.example\/$/],
      [status(404), /no \/v2\//],
    ] as const) {
      ping(fault);
      const bare = await look(scene, [], { ref: scene.registry.host });
      assert.deepEqual([failure(bare)?.step, bare.good], ['api', false]);
      assert.match(failure(bare)?.found ?? '', words);
      // A sync never asks for /v2/.
      const whole = await look(scene);
      assert.deepEqual([whole.good, outcome(whole).api, outcome(whole).blob], [true, 'skipped', 'ok']);
    }
    ping(headers({ date: new Date(Date.now() - 86_400_000).toUTCString() }));
    const report = await look(scene);
    assert.equal(failure(report)?.step, 'clock');
    assert.match(failure(report)?.found ?? '', /14(?:39|40|41) minutes ahead/);
    assert.equal(outcome(report).blob, 'ok', 'a wrong clock does not end the way');
  });

  it('tests each registry and mirror of the manifest once; a mirror may lack an image', async t => {
    const [other, mirror] = [await startRegistry(), await startRegistry()];
    t.after(() => Promise.all([other.close(), mirror.close()]));
    const scene = await withPlugin(t);
    await scene.list(
      { a: '1.0.0', b: '1.0.0', c: { image: `${other.host}/x/c`, versions: ['1.0.0'] } },
      { mirrors: { [scene.registry.host]: [`${mirror.host}/cached`] } },
    );
    const report = await look(scene);
    assert.deepEqual(
      report.targets.map(it => [it.role, it.registry]),
      [
        ['registry', scene.registry.host],
        ['mirror', mirror.host],
        ['registry', other.host],
      ],
    );
    assert.equal(mirror.count({ path: '/v2/cached/plugins/a/' }) > 0, true);
    assert.deepEqual(
      [outcome(report, 0).blob, outcome(report, 1).manifest, outcome(report, 2).manifest],
      ['ok', 'skipped', 'failed'],
    );
    assert.equal(report.good, false);
    const rewritten = await look(scene, ['--registry', scene.registry.host]);
    assert.deepEqual(
      rewritten.targets.map(it => it.role),
      ['registry', 'mirror'],
    );
    assert.ok(rewritten.good, JSON.stringify(rewritten));
  });

  it('takes an image or a host by name, without a manifest', slow, async t => {
    const scene = await withPlugin(t);
    const { host } = scene.registry;
    const cwd = scene.path('home');
    assert.equal((await run(scene, [`oci://${host}/plugins/a:1.0.0`], { cwd })).ran.code, 0);
    const bare = await look(scene, [], { ref: host });
    assert.deepEqual([bare.good, outcome(bare).blob], [true, 'skipped']);
    const codes = async (...args: readonly string[]): Promise<Ran['code']> =>
      (await scene.run(['doctor', ...args], { cwd })).code;
    assert.equal(await codes('http://x/y'), 2);
    assert.equal(await codes(`${host}/plugins/a`), 2);
    assert.equal(await codes(), 2, 'no manifest');
    const dns = await run(scene, ['no-such-host.invalid/x:1'], { cwd });
    assert.deepEqual([dns.ran.code, failure(dns.report)?.step, failure(dns.report)?.code], [1, 'dns', 'REGISTRY_DNS']);
    await scene.registry.down();
    const down = await look(scene, [], { ref: host });
    assert.deepEqual([failure(down)?.step, failure(down)?.code], ['tcp', 'REGISTRY_REFUSED']);
  });

  it('reports with --engine oras whether ORAS is installed, and tests the network as well', slow, async t => {
    const scene = await withPlugin(t);
    const { ran, report } = await run(scene, ['--engine', 'oras'], { env: { PATH: '/nowhere' } });
    assert.equal(ran.code, 1);
    assert.equal(report.engine?.status, 'failed');
    assert.match(report.engine?.hint ?? '', /Get ORAS/);
    assert.equal(outcome(report).blob, 'ok');
  });
});
