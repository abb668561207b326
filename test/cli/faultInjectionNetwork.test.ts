import assert from 'node:assert/strict';
import { CertificateAuthority } from '../support/certificates.ts';
import type { Cleanup, Scene } from '../support/cli.ts';
import { captivePortal, corrupt, finish, hang, reset, status } from '../support/faults.ts';
import { type ProxyOptions, startProxy, type TestProxy } from '../support/proxy.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import type { FaultRule } from '../support/script.ts';
import { type Arranged, beside, type Images, injectFaults, type Surroundings, type Trial } from './faultInjection.ts';

const BLOB = { kind: 'blob', method: 'GET' } as const;
const DAY_MS = 86_400_000;
const authority = new CertificateAuthority();
const stranger = new CertificateAuthority();
const NAME = 'registry.example';

const trusting = async (scene: Scene): Promise<Arranged> => {
  await scene.write('ca.pem', authority.cert);
  return { args: ['--ca-file', 'ca.pem'] };
};
const nothing = (): Arranged => ({});
const refused =
  (forMs?: number) =>
  async ({ registry }: Scene): Promise<Arranged> => {
    await (forMs === undefined ? registry.down() : registry.downFor(forMs));
    return {};
  };
const cut =
  (connections: number, then: (scene: Scene) => Arranged | Promise<Arranged> = nothing) =>
  (scene: Scene) => {
    scene.registry.resetConnections(connections);
    return then(scene);
  };
const overTls = (options: Parameters<CertificateAuthority['issue']>[0] = {}, from = authority): Surroundings => ({
  registry: { tls: from.issue(options) },
  arrange: trusting,
});

beside('the ways to a registry', () => {
  injectFaults('the way to the registry', { apart: true }, [
    {
      name: 'nobody listens for the first three seconds',
      around: { arrange: refused(3000) },
    },
    {
      name: 'the first connections are reset',
      around: { arrange: cut(5) },
    },
    { name: 'there is IPv6 only', around: { registry: { address: '::1' } } },
    { name: 'TLS of a private authority', around: overTls() },
    {
      name: 'TLS, and the first connections are reset before it',
      around: {
        ...overTls(),
        arrange: cut(4, trusting),
      },
    },
    {
      name: 'TLS, and RST in the middle of each blob',
      around: overTls(),
      rules: [{ ...BLOB, per: 'path', first: 1, fault: reset({ afterBytes: 12_000 }) }],
      bytes: 1.2,
    },
    {
      name: 'nobody listens',
      around: { args: ['--retries', '2'], arrange: refused() },
      fails: 'REGISTRY_REFUSED',
    },
    {
      name: 'there is no such name',
      around: { arrange: () => ({ manifest: { registry: 'nowhere.invalid' } }) },
      fails: 'REGISTRY_DNS',
    },
    { name: 'TLS of a stranger', around: overTls({}, stranger), fails: 'REGISTRY_TLS' },
    { name: 'TLS for another host', around: overTls({ hosts: ['elsewhere.example'] }), fails: 'REGISTRY_TLS' },
    {
      name: 'TLS that has expired',
      around: overTls({ notBefore: new Date(Date.now() - 9 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) }),
      fails: 'REGISTRY_TLS',
    },
    {
      name: 'TLS that is not valid yet',
      around: overTls({ notBefore: new Date(Date.now() + DAY_MS), notAfter: new Date(Date.now() + 9 * DAY_MS) }),
      fails: 'REGISTRY_TLS',
    },
    {
      name: 'TLS of the last century',
      around: { ...overTls(), registry: { tls: { ...authority.issue(), maxVersion: 'TLSv1.1' } } },
      fails: 'REGISTRY_TLS',
    },
  ]);

  /** The registry is known to a proxy only, over TLS or plain. */
  function behind(options: ProxyOptions, address: (proxy: TestProxy) => string, secure: boolean): Surroundings {
    return {
      ...(secure ? { registry: { tls: authority.issue({ hosts: [NAME] }) } } : {}),
      arrange: async (scene, t) => {
        const proxy = await startProxy({
          routes: { [secure ? `${NAME}:443` : NAME]: scene.registry.host },
          closed: true,
          ...options,
        });
        t.after(() => proxy.close());
        const { args } = await trusting(scene);
        return {
          args: secure ? (args ?? []) : ['--plain-http'],
          manifest: { registry: NAME },
          env: { [secure ? 'HTTPS_PROXY' : 'HTTP_PROXY']: address(proxy) },
          after: ran => assert.doesNotMatch(`${ran.stdout}${ran.stderr}`, /s3cr%?/, 'a secret was printed'),
        };
      },
    };
  }

  const LOGIN = { user: 'me', password: 's3cr%t @x' };
  const known = (proxy: TestProxy): string => proxy.urlWithCredentials;
  const proxied: readonly Trial[] = [false, true].flatMap(secure => {
    const way = secure ? 'a tunnel' : 'a proxy';
    return [
      { name: `${way} with credentials`, around: behind(LOGIN, known, secure) },
      {
        name: `${way}, and each blob breaks`,
        around: behind(LOGIN, known, secure),
        rules: [{ ...BLOB, per: 'path', first: 1, fault: finish({ afterBytes: 12_000 }) }],
        bytes: 1.2,
      },
      {
        name: `${way} without its credentials`,
        around: behind(LOGIN, ({ url }) => url, secure),
        fails: 'REGISTRY_PROXY',
      },
      {
        name: `${way} with wrong credentials`,
        around: behind(LOGIN, ({ url }) => url.replace('//', '//me:s3cr%20no@'), secure),
        fails: 'REGISTRY_PROXY',
      },
      {
        name: `${way} that says 403`,
        around: behind({ routes: {} }, known, secure),
        fails: 'REGISTRY_(?:PROXY|DENIED)',
      },
      {
        name: `${way} that is not there`,
        around: { ...behind({}, () => 'http://127.0.0.1:9', secure), args: ['--retries', '1'] },
        fails: 'REGISTRY_PROXY',
      },
    ] satisfies Trial[];
  });
  injectFaults('between us and the registry stands', { apart: true, peer: false }, proxied);

  type Mirror = (mirror: TestRegistry, images: Images) => Promise<void> | void;

  /** The registry stands last; before it mirrors that hold the same under a prefix, each spoilt in its way. */
  function mirrored(
    spoil: readonly Mirror[],
    check: (scene: Scene, mirrors: readonly TestRegistry[]) => void = () => {},
  ): Surroundings {
    return {
      arrange: async (scene: Scene, t: Cleanup, images: Images): Promise<Arranged> => {
        const mirrors: TestRegistry[] = [];
        for (const change of spoil) {
          const mirror = await startRegistry();
          t.after(() => mirror.close());
          for (const [name, image] of images) mirror.push(`copy/plugins/${name}`, '1', image);
          await change(mirror, images);
          mirrors.push(mirror);
        }
        return {
          manifest: { mirrors: { [scene.registry.host]: mirrors.map(({ host }) => `${host}/copy`) } },
          after: () => check(scene, mirrors),
        };
      },
    };
  }

  const script =
    (rule: FaultRule): Mirror =>
    mirror =>
      mirror.script(rule);
  const fine: Mirror = () => {};
  const down: Mirror = mirror => mirror.down();
  const unasked = ({ registry }: Scene): void =>
    assert.equal(registry.count(), 0, 'the registry was asked all the same');

  injectFaults('a mirror', { apart: true, peer: false }, [
    { name: 'that has everything leaves the registry in peace', around: mirrored([fine], unasked) },
    { name: 'behind one that is down does', around: mirrored([down, fine], unasked) },
    { name: 'that is down', around: mirrored([down]) },
    {
      name: 'that has nothing',
      around: mirrored([
        (mirror, images) => {
          for (const name of images.keys()) mirror.remove(`copy/plugins/${name}`, '1');
        },
      ]),
    },
    { name: 'that answers 500', around: mirrored([script({ fault: status(500) })]) },
    { name: 'that limits us', around: mirrored([script({ fault: status(429, { retryAfter: 1 }) })]) },
    { name: 'that wants a login', around: mirrored([script({ fault: status(401) })]) },
    { name: 'that is a login page', around: mirrored([script({ fault: captivePortal() })]) },
    {
      name: 'that is silent',
      silent: true,
      around: mirrored([script({ fault: hang() })], (_, [mirror]) =>
        assert.ok((mirror?.count() ?? 99) <= 6, 'it was asked again and again'),
      ),
    },
    { name: 'with wrong manifests', around: mirrored([script({ kind: 'manifest', fault: corrupt() })]) },
    { name: 'with wrong bytes', around: mirrored([script({ ...BLOB, fault: corrupt() })]) },
    { name: 'with manifests but no blobs', around: mirrored([script({ ...BLOB, fault: status(404) })]) },
    {
      name: 'that breaks off each time before the same byte: the registry gives the rest',
      around: mirrored([script({ ...BLOB, path: /large.*blobs/, ranged: true, fault: reset() })], undefined),
      rules: [],
    },
    {
      name: 'that breaks in the middle of a blob and answers no more: the registry gives the rest',
      around: mirrored(
        [
          mirror =>
            mirror.script([
              { ...BLOB, ranged: false, path: /large/, fault: finish({ afterBytes: 900_000 }) },
              { ...BLOB, ranged: true, fault: status(503) },
            ]),
        ],
        ({ registry }) =>
          assert.ok(registry.bytesServed('blob') < 300_000, `${registry.bytesServed('blob')} bytes again`),
      ),
    },
    {
      name: 'of a registry that nobody can find',
      around: {
        arrange: async (scene, t, images) => {
          const { manifest } = (await (mirrored([fine]).arrange?.(scene, t, images) ?? {})) as {
            manifest: { mirrors: Record<string, string[]> };
          };
          return {
            manifest: {
              registry: 'nowhere.invalid',
              mirrors: { 'nowhere.invalid': Object.values(manifest.mirrors)[0] },
            },
            after: () => unasked(scene),
          };
        },
      },
    },
    {
      name: 'that is down, of a registry that is down',
      around: { ...mirrored([down, down]), args: ['--retries', '1'] },
      rules: [{ fault: status(500) }],
      fails: 'REGISTRY_ALL_FAILED',
    },
  ]);
});
