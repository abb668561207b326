import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { CertificateAuthority } from '../support/certificates.ts';
import { openScene, parsed, type Ran, type RunOptions, type Scene } from '../support/cli.ts';
import { captivePortal, headers, redirect, reset, status } from '../support/faults.ts';
import { type ProxyOptions, startProxy } from '../support/proxy.ts';
import { type RegistryOptions, startRegistry } from '../support/registry.ts';

interface StepJson {
  readonly step: string;
  readonly status: string;
  readonly found: string;
  readonly hint?: string;
  readonly code?: string;
}

interface Report {
  readonly schemaVersion: number;
  readonly good: boolean;
  readonly engine?: { readonly status: string; readonly found: string; readonly hint?: string };
  readonly targets: readonly {
    readonly role: string;
    readonly registry: string;
    readonly steps: readonly StepJson[];
  }[];
  readonly hosts: readonly {
    readonly host: string;
    readonly port: number;
    readonly purposes: readonly string[];
    readonly through?: string;
    readonly answered: boolean;
  }[];
}

const authority = new CertificateAuthority('The test authority');
const AUTH = { kind: 'bearer', realm: 'cross-origin' } as const;

async function withPlugin(t: TestContext, options: RegistryOptions = {}, rest: object = {}): Promise<Scene> {
  const scene = await openScene(t, options);
  scene.push('a', '1.0.0');
  await scene.list({ a: '1.0.0' }, rest);
  await scene.write('ca.pem', authority.cert);
  return scene;
}

async function examine(scene: Scene, args: readonly string[] = [], options: RunOptions = {}) {
  const ran = await scene.run(['doctor', '--format', 'json', ...args], options);
  return { ran, report: parsed<Report>(ran) };
}

const outcome = (report: Report, target = 0): Record<string, string> =>
  Object.fromEntries((report.targets[target]?.steps ?? []).map(it => [it.step, it.status]));

const failure = (report: Report): StepJson | undefined =>
  report.targets.flatMap(({ steps }) => steps).find(it => it.status === 'failed');

const purposes = (report: Report): string[] => report.hosts.map(it => it.purposes.join('+'));

describe('doctor', { concurrency: 4 }, () => {
  it('goes the whole way, asks for one byte of a blob, and names every host', async t => {
    const scene = await withPlugin(t, { tls: authority.issue(), auth: AUTH, blobRedirect: 'cross-origin' });
    const { ran, report } = await examine(scene, ['--ca-file', 'ca.pem']);
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
    assert.match(text.stdout, /blob storage +yes[\s\S]*everything on the way works/);
  });

  for (const [name, certificate, args, code] of [
    ['an unknown authority', () => new CertificateAuthority().issue(), [], 'REGISTRY_TLS'],
    [
      'an expired certificate',
      () => authority.issue({ notAfter: new Date(Date.now() - 1e9), notBefore: new Date(0) }),
      ['--ca-file', 'ca.pem'],
      'REGISTRY_TLS',
    ],
    [
      'a certificate for another host',
      () => authority.issue({ hosts: ['elsewhere.example'] }),
      ['--ca-file', 'ca.pem'],
      'REGISTRY_TLS',
    ],
  ] as const)
    it(`stops at ${name}, tells the certificate, and --insecure goes on with a warning in words`, async t => {
      const scene = await withPlugin(t, { tls: certificate() });
      const { ran, report } = await examine(scene, args);
      assert.equal(ran.code, 1);
      assert.equal(failure(report)?.step, 'tls');
      assert.equal(failure(report)?.code, code);
      assert.match(failure(report)?.found ?? '', /issued by/);
      assert.equal(outcome(report).api, 'skipped');
      assert.deepEqual(
        report.hosts.map(it => it.answered),
        [false],
      );
      const loose = await examine(scene, ['--insecure', scene.registry.host]);
      assert.equal(loose.ran.code, 0, loose.ran.stdout);
      assert.match(loose.ran.stdout, /unproven/);
    });

  it('tells the proxy from the hosts behind it, and no password', async t => {
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
    const good = await examine(scene, ['registry.example', '--ca-file', 'ca.pem'], env(proxy.urlWithCredentials));
    assert.equal(good.ran.code, 0, good.ran.stdout);
    assert.deepEqual(
      good.report.hosts.map(it => [it.purposes.join(), it.through]),
      [
        ['proxy', undefined],
        ['registry', proxy.host],
      ],
    );
    const wrong = await examine(
      scene,
      ['registry.example'],
      env(proxy.urlWithCredentials.replace('planted', 'planted2')),
    );
    assert.equal(wrong.ran.code, 1);
    assert.deepEqual([failure(wrong.report)?.step, failure(wrong.report)?.code], ['tls', 'REGISTRY_PROXY']);
    assert.match(failure(wrong.report)?.found ?? '', /wants credentials/);
    assert.ok(!(wrong.ran.stdout + wrong.ran.stderr).includes('planted'));
    const text = await scene.run(['doctor', 'other.example'], env(proxy.urlWithCredentials));
    assert.match(
      text.stdout,
      /did not connect to other\.example[\s\S]*must be allowed to reach[\s\S]*other\.example:443/,
    );
    const odd = await examine(scene, ['registry.example'], env('ftp://x'));
    assert.deepEqual([failure(odd.report)?.step, odd.ran.code], ['proxy', 1]);
  });

  it('names the host where the way ends: the token server, the storage', async t => {
    const scene = await withPlugin(t, { auth: AUTH, blobRedirect: 'cross-origin' });
    scene.registry.script({ server: 'storage', fault: reset() });
    const blob = await examine(scene, ['--retries', '0']);
    assert.equal(blob.ran.code, 1);
    assert.equal(failure(blob.report)?.step, 'blob');
    assert.deepEqual(
      blob.report.hosts.map(it => [it.purposes.join(), it.answered]),
      [
        ['registry', true],
        ['token server', true],
        ['blob storage', false],
      ],
    );
    scene.registry.script({ kind: 'token', fault: status(403, { code: 'DENIED', message: 'go away' }) });
    const token = await examine(scene);
    assert.deepEqual([failure(token.report)?.step, failure(token.report)?.code], ['token', 'REGISTRY_UNAUTHORIZED']);
    assert.match(failure(token.report)?.found ?? '', /go away/);
  });

  it('knows what is no registry, a portal and a wrong clock', async t => {
    const scene = await withPlugin(t);
    const ping = (fault: ReturnType<typeof status>) => scene.registry.script({ kind: 'ping', fault });
    for (const [fault, words] of [
      [captivePortal(), /web page/],
      [redirect('https://login.example/?next=1', 302), /redirects from \/v2\/ to https:\/\/login\.example\/$/],
      [status(404), /no \/v2\//],
      [status(500), /cannot answer now: status 500/],
    ] as const) {
      ping(fault);
      const { report, ran } = await examine(scene, ['--retries', '0']);
      assert.equal(ran.code, 1);
      assert.equal(failure(report)?.step, 'api');
      assert.match(failure(report)?.found ?? '', words);
    }
    ping(headers({ date: new Date(Date.now() - 86_400_000).toUTCString() }));
    const { report } = await examine(scene);
    assert.equal(failure(report)?.step, 'clock');
    assert.match(failure(report)?.found ?? '', /14(?:39|40|41) minutes ahead/);
    assert.equal(outcome(report).blob, 'ok', 'a wrong clock does not end the way');
  });

  it('looks at each registry and mirror of the manifest once; a mirror may lack an image', async t => {
    const [other, mirror] = [await startRegistry(), await startRegistry()];
    t.after(() => Promise.all([other.close(), mirror.close()]));
    const scene = await withPlugin(t);
    await scene.list(
      { a: '1.0.0', b: '1.0.0', c: { image: `${other.host}/x/c`, versions: ['1.0.0'] } },
      { mirrors: { [scene.registry.host]: [`${mirror.host}/cached`] } },
    );
    const { ran, report } = await examine(scene);
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
    assert.equal(ran.code, 1);
    const rewritten = await examine(scene, ['--registry', scene.registry.host]);
    assert.deepEqual(
      rewritten.report.targets.map(it => it.role),
      ['registry', 'mirror'],
    );
    assert.equal(rewritten.ran.code, 0, rewritten.ran.stdout);
  });

  it('takes an image or a host by name, without a manifest', async t => {
    const scene = await withPlugin(t);
    const { host } = scene.registry;
    const cwd = scene.path('home');
    assert.equal((await examine(scene, [`oci://${host}/plugins/a:1.0.0`], { cwd })).ran.code, 0);
    const bare = await examine(scene, [host], { cwd });
    assert.deepEqual([bare.ran.code, outcome(bare.report).blob], [0, 'skipped']);
    const codes = async (...args: readonly string[]): Promise<Ran['code']> =>
      (await scene.run(['doctor', ...args], { cwd })).code;
    assert.equal(await codes('http://x/y'), 2);
    assert.equal(await codes(`${host}/plugins/a`), 2);
    assert.equal(await codes(), 2, 'no manifest');
    const dns = await examine(scene, ['no-such-host.invalid/x:1'], { cwd });
    assert.deepEqual([dns.ran.code, failure(dns.report)?.step, failure(dns.report)?.code], [1, 'dns', 'REGISTRY_DNS']);
    await scene.registry.down();
    const down = await examine(scene, [host], { cwd });
    assert.deepEqual([failure(down.report)?.step, failure(down.report)?.code], ['tcp', 'REGISTRY_REFUSED']);
  });

  it('says with --engine oras whether ORAS is there, and looks at the network all the same', async t => {
    const scene = await withPlugin(t);
    const { ran, report } = await examine(scene, ['--engine', 'oras'], { env: { PATH: '/nowhere' } });
    assert.equal(ran.code, 1);
    assert.equal(report.engine?.status, 'failed');
    assert.match(report.engine?.hint ?? '', /Get ORAS/);
    assert.equal(outcome(report).blob, 'ok');
  });
});
