import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { BuiltinEngineOptions } from '../../registry/builtin/engine.ts';
import {
  RegistryDns,
  RegistryNotFound,
  RegistryProtocol,
  RegistryProxy,
  RegistryRedirect,
  RegistryRefusal,
  RegistryRefused,
  RegistryTimeout,
  RegistryTls,
  RegistryUnauthorized,
  RegistryUnavailable,
} from '../../registry/errors.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { startProxy } from '../support/proxy.ts';
import { unusedPort } from '../support/unusedPort.ts';
import { everythingOf, openEngine, SIGNAL } from './engineBench.ts';
import { slowNetwork } from './slowNetwork.ts';

// A registry names other hosts: a token server in its challenge, a storage host in a redirect. Whose fault is it if they fail,
// and where may a registry not send this client?

/** Starts a server and returns its port. */
async function serve(context: TestContext, answer: RequestListener): Promise<number> {
  const server = createServer(answer);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A registry that requires a token from `realm`; what it gets as authorization is recorded. */
async function requiring(context: TestContext, realm: string): Promise<{ port: number; sent: (string | undefined)[] }> {
  const sent: (string | undefined)[] = [];
  const port = await serve(context, (request, response) => {
    sent.push(request.headers.authorization);
    response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
  });
  return { port, sent };
}

async function faultAt(
  context: TestContext,
  host: string,
  options: BuiltinEngineOptions = {},
): Promise<RegistryRefusal> {
  const { engine } = openEngine(context, { retries: 0, plainHttp: true, ...options });
  const error = await engine
    .fetchManifest({ registry: host, repository: 'team/a', tag: '1' }, SIGNAL)
    .catch((fault: unknown) => fault);
  assert.ok(error instanceof RegistryRefusal, String(error));
  return error;
}

test('a token server that fails is named together with the registry that named it, in every class of fault', async context => {
  const secret = 'PLANTED-WORD';
  const page =
    (status: number, type: string, body: string): RequestListener =>
    (_, response) =>
      void response.writeHead(status, { 'content-type': type }).end(body);
  const cases: [string, () => Promise<string>, unknown][] = [
    ['DNS', async () => 'http://auth.invalid/token', RegistryDns],
    ['refused', async () => `http://127.0.0.1:${await unusedPort()}/token`, RegistryRefused],
    ['TLS', async () => `https://127.0.0.1:${await serve(context, page(200, '', ''))}/token`, RegistryTls],
    ['timeout', async () => `http://127.0.0.1:${await serve(context, () => {})}/token`, RegistryTimeout],
    ['reset', async () => `http://127.0.0.1:${await serve(context, it => it.socket.destroy())}/t`, RegistryUnavailable],
    ...(
      [
        [401, 'text/html', `<html>${secret}</html>`, RegistryUnauthorized],
        [200, 'application/json', secret.repeat(100_000), RegistryProtocol],
        [404, 'text/html', `<html><title>${secret}</title></html>`, RegistryProtocol],
        [404, 'application/json', `{"errors":[{"code":"NAME_UNKNOWN","message":"${secret}"}]}`, RegistryProtocol],
        [405, 'text/plain', secret, RegistryProtocol],
        [410, 'text/plain', secret, RegistryProtocol],
        [503, 'text/plain', secret, RegistryUnavailable],
        [200, 'text/html', `<html>${secret}</html>`, RegistryProtocol],
        [200, 'application/json', `{"token":"a ${secret}"}`, RegistryProtocol],
        [200, 'text/plain', secret, RegistryProtocol],
      ] as const
    ).map(([status, type, body, Kind]): [string, () => Promise<string>, unknown] => [
      `${status} ${type}`,
      async () => `http://127.0.0.1:${await serve(context, page(status, type, body))}/token`,
      Kind,
    ]),
  ];
  for (const [name, realmOf, Kind] of cases)
    for (const login of [{}, { username: 'u', password: 'p' }]) {
      const realm = await realmOf();
      const { port, sent } = await requiring(context, realm);
      const error = await faultAt(context, `127.0.0.1:${port}`, { timeoutMs: 1500, ...login });
      assert.ok(error instanceof (Kind as typeof RegistryDns), `${name}: ${error}`);
      assert.match(error.message, /token server/, name);
      for (const host of [`127.0.0.1:${port}`, new URL(realm).host])
        assert.ok(error.message.includes(host) && error.hint.includes(host), `${name}: ${error.message} ${error.hint}`);
      assert.doesNotMatch(`${error.message} ${error.hint}`, /has no repository|spelling/, name);
      assert.ok(!everythingOf(error).includes(secret), name);
      assert.equal(error.faultIn, new URL(realm).host);
      assert.deepEqual(
        sent.filter(it => it !== undefined),
        [],
        name,
      );
    }
});

/** Starts a server that answers every request with one status and these headers. */
const answering = async (context: TestContext, status: number, headers = {}, body = ''): Promise<string> =>
  `127.0.0.1:${await serve(context, (_, it) => void it.writeHead(status, headers).end(body))}`;

test('a host to which a token server or a storage host redirects is named together with the one that named it', async context => {
  const dead = `http://127.0.0.1:${await unusedPort()}/x`;
  const descriptor = { mediaType: 'x/y', digest: `sha256:${'0'.repeat(64)}` as const, size: 5 };
  for (const [target, Kind] of [
    [dead, RegistryRefused],
    ['http://other.invalid/x', RegistryDns],
    [`http://${await answering(context, 404, { 'content-type': 'text/html' }, '<html>')}/x`, RegistryRefusal],
    [`http://${await answering(context, 302)}/x`, RegistryRedirect],
    [`http://${await answering(context, 302, { location: 'http://[' })}/x`, RegistryRedirect],
  ] as const) {
    const between = await answering(context, 307, { location: target });
    const { port } = await requiring(context, `http://${between}/token`);
    const challenged = await faultAt(context, `127.0.0.1:${port}`);
    const registry = await answering(context, 307, { location: `http://${between}/blob` });
    const { engine } = openEngine(context, { retries: 0 });
    const reference = { registry, repository: 'a/b', tag: '1' };
    const fetching = engine.fetchBlob(reference, descriptor, 0, SIGNAL);
    const redirected = await fetching.catch((error: unknown) => error as RegistryRefusal);
    assert.ok(redirected instanceof Kind && challenged instanceof Kind, `${target} ${redirected} ${challenged}`);
    const { host } = new URL(target);
    assert.ok(
      challenged.message.startsWith(
        `The token server ${between}, to which 127.0.0.1:${port} sends clients, redirects to ${host}, which failed: `,
      ),
      challenged.message,
    );
    assert.ok(challenged.hint.endsWith(`the operator of ${between} must correct its redirects.`), challenged.hint);
    assert.doesNotMatch(challenged.hint, /realm/);
    if (target.includes(host) && redirected.code !== 'REGISTRY_NOT_FOUND')
      assert.ok(
        redirected.message.startsWith(
          `The storage host ${between}, to which ${registry} redirects, redirects to ${host}, which failed: `,
        ),
        redirected.message,
      );
  }
});

test('a redirect without a Location is a fault of the host that sent it', async context => {
  const broken = await answering(context, 302);
  const { port } = await requiring(context, `http://${broken}/token`);
  for (const [registry, words] of [
    [broken, `${broken} redirects without a usable Location header`],
    [
      `127.0.0.1:${port}`,
      `127.0.0.1:${port} sends clients to the token server ${broken}, which failed: ${broken} redirects`,
    ],
  ] as const) {
    const error = await faultAt(context, registry);
    assert.ok(error instanceof RegistryRedirect && error.message.startsWith(words), error.message);
    assert.equal(error.found, '302 without a Location header');
    assert.match(error.hint, new RegExp(`in the place of ${broken}; otherwise its operator`));
  }
});

test('a named host with the other one of http and https is reported as such', async context => {
  const plain = `127.0.0.1:${await serve(context, (_, response) => void response.end('hello'))}`;
  const hello = 'Client sent an HTTP request to an HTTPS server.\n';
  const go = await answering(context, 400, {}, hello);
  const page = '<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>';
  const nginx = await answering(context, 400, { 'content-type': 'text/html' }, page);
  for (const [target, words, hint] of [
    [`https://${plain}/x`, /does not speak TLS at this port$/, /must begin with http:/],
    [`http://${go}/x`, /speaks TLS at this port, not plain http$/, /must begin with https:/],
    [`http://${nginx}/x`, /speaks TLS at this port, not plain http$/, /must begin with https:/],
  ] as const) {
    const { port } = await requiring(context, target);
    for (const registry of [`127.0.0.1:${port}`, await answering(context, 307, { location: target })]) {
      const error = await faultAt(context, registry);
      assert.ok(error instanceof RegistryTls, String(error));
      assert.match(error.message, words);
      assert.match(error.hint, hint);
      assert.doesNotMatch(error.hint, /--plain-http/);
    }
  }
});

test('the operator of the host with the certificate is named, not the registry’s', async context => {
  const authority = new CertificateAuthority();
  const { createServer: createTlsServer } = await import('node:https');
  for (const options of [
    { notBefore: new Date(0), notAfter: new Date(Date.now() - 1e9) },
    { notBefore: new Date(Date.now() + 1e8), notAfter: new Date(Date.now() + 2e8) },
    { hosts: ['elsewhere.example'] },
    { usage: 'client' },
  ] as const) {
    const server = createTlsServer(authority.issue(options));
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    context.after(() => server.close());
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-named-'));
    context.after(() => rm(folder, { recursive: true }));
    const caFile = join(folder, 'ca.pem');
    await writeFile(caFile, authority.cert);
    const { port } = await requiring(context, `https://${host}/x`);
    for (const registry of [`127.0.0.1:${port}`, await answering(context, 307, { location: `https://${host}/x` })]) {
      const error = await faultAt(context, registry, { caFile });
      assert.ok(error instanceof RegistryTls, String(error));
      assert.match(error.hint, new RegExp(`operator of ${host} (?:must|add)`));
      assert.doesNotMatch(error.hint, /(?:registry|server)['’]s operator/);
    }
  }
});

test('a reply without content is reported as empty, and who sent it', async context => {
  const descriptor = { mediaType: 'x/y', digest: `sha256:${'0'.repeat(64)}` as const, size: 5 };
  for (const status of [200, 204]) {
    const host = await answering(context, status);
    const error = await faultAt(context, host);
    assert.ok(error instanceof RegistryProtocol, String(error));
    assert.match(error.message, /sent an empty reply instead of the manifest$/);
    assert.equal(error.found, `status ${status} without content`);
    const registry = await answering(context, 307, { location: `http://${host}/x` });
    const { engine } = openEngine(context, { retries: 0 });
    const reading = (async () => {
      const { body } = await engine.fetchBlob({ registry, repository: 'a/b', tag: '1' }, descriptor, 0, SIGNAL);
      for await (const _ of body);
    })();
    await assert.rejects(reading, /redirects to the storage host .* sent an empty reply instead of the blob$/);
  }
});

test('a token that a token server sends as text/html is used, with a warning', async context => {
  let authorization: string | undefined;
  const tokens = await serve(context, (_, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('{"token":"dG9r.en=="}'),
  );
  const port = await serve(context, (request, response) => {
    ({ authorization } = request.headers);
    const realm = `Bearer realm="http://127.0.0.1:${tokens}/t"`;
    response.writeHead(authorization === undefined ? 401 : 404, { 'www-authenticate': realm }).end();
  });
  const { engine, events } = openEngine(context, { retries: 0 });
  const reference = { registry: `127.0.0.1:${port}`, repository: 'a/b', tag: '1' };
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), RegistryNotFound);
  assert.equal(authorization, 'Bearer dG9r.en==');
  assert.deepEqual(
    events.map(event => event.type === 'warning' && /text\/html/.test(event.message)),
    [true],
  );
});

test('a storage host that fails is named together with the registry that redirected to it', async context => {
  const descriptor = { mediaType: 'x/y', digest: `sha256:${'0'.repeat(64)}` as const, size: 5 };
  for (const [target, Kind] of [
    ['http://storage.invalid/x', RegistryDns],
    [`http://127.0.0.1:${await unusedPort()}/x`, RegistryRefused],
    [`http://127.0.0.1:${await serve(context, (_, it) => void it.writeHead(503).end())}/x`, RegistryUnavailable],
    [
      `http://127.0.0.1:${await serve(context, (_, it) => void it.writeHead(200, { 'content-type': 'text/html' }).end('<html>'))}/x`,
      RegistryProtocol,
    ],
    [
      `http://127.0.0.1:${await serve(context, (_, it) => void it.writeHead(200, { 'content-length': 9 }).end('123456789'))}/x`,
      RegistryProtocol,
    ],
  ] as const) {
    const port = await serve(context, (_, response) => void response.writeHead(307, { location: target }).end());
    const { engine } = openEngine(context, { retries: 0 });
    const reference = { registry: `127.0.0.1:${port}`, repository: 'a/b', tag: '1' };
    await assert.rejects(engine.fetchBlob(reference, descriptor, 0, SIGNAL), (error: unknown) => {
      assert.ok(error instanceof Kind, String(error));
      assert.ok(error.message.startsWith(`127.0.0.1:${port} redirects to the storage host ${new URL(target).host}`));
      assert.equal(error.faultIn, new URL(target).host);
      return true;
    });
  }
});

test('a 404 of something that is no registry does not blame the repository', async context => {
  for (const [type, body, isOther] of [
    ['text/html', '<html><head><title>404 Not Found</title></head><center>nginx</center></html>', true],
    ['text/plain', 'default backend - 404', true],
    ['text/plain; charset=utf-8', '404 page not found\n', true],
    ['application/json', '{"message":"no Route matched with those values"}', true],
    ['application/json', '{"errors":[{"code":"NAME_UNKNOWN","message":"not here"}]}', false],
  ] as const)
    for (const status of [404, 403, 401])
      for (const header of [{}, { 'docker-distribution-api-version': 'registry/2.0' }]) {
        const port = await serve(context, (request, response) =>
          response.writeHead(status, { 'content-type': type, ...header }).end(request.method === 'HEAD' ? '' : body),
        );
        const error = await faultAt(context, `127.0.0.1:${port}`);
        const saysSo = /is probably not a registry/.test(error.message) && /\/v2\//.test(error.hint);
        assert.equal(saysSo, isOther && !('docker-distribution-api-version' in header), `${status} ${error.message}`);
        assert.equal(error.status, status);
      }
});

test('a host that has answered as a registry is one, whatever its error pages look like', async context => {
  const isThere = (request: IncomingMessage): boolean => request.url?.endsWith('/list') === true;
  const port = await serve(context, (request, response) =>
    isThere(request)
      ? response.writeHead(200, { 'content-type': 'application/json' }).end('{"name":"team/a","tags":["2"]}')
      : response.writeHead(404, { 'content-type': 'text/html' }).end('<html>nginx</html>'),
  );
  const { engine } = openEngine(context, { retries: 0 });
  const reference = { registry: `127.0.0.1:${port}`, repository: 'team/a', tag: '1' };
  assert.deepEqual(await engine.listTags(reference, SIGNAL), ['2']);
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), /has no team\/a with 1/);
});

test('a proxy, which looks names up itself, is never asked for a metadata service', async context => {
  for (const host of ['169.254.169.254', 'metadata.google.internal', 'METADATA.google.internal.', 'metadata']) {
    const { port } = await requiring(context, `http://${host}/token`);
    const proxy = await startProxy({ routes: { 'registry.test': `127.0.0.1:${port}` } });
    context.after(() => proxy.close());
    const error = await faultAt(context, 'registry.test', { env: { HTTP_PROXY: proxy.url } });
    assert.match(error.message, /has a link-local or metadata address/);
    assert.ok(proxy.requests.every(({ target }) => target.startsWith('http://registry.test/')));
  }
});

test('407 without a proxy is not said to be a proxy’s', async context => {
  const port = await serve(context, (_, response) => void response.writeHead(407).end());
  const error = await faultAt(context, `127.0.0.1:${port}`);
  assert.ok(error instanceof RegistryProxy);
  assert.match(error.message, /^127\.0\.0\.1:\d+ answered 407 .* no proxy is set$/);
});

/** A registry with a public name and address, which `slowNetwork` leads to this machine, and so its other hosts. */
const NAMES = {
  'registry.test': { '192.0.2.1': 0 },
  'inner.test': { '10.1.1.1': 0 },
  'mixed.test': { '192.0.2.7': 0, '10.1.1.7': 0 },
  'secret.test': { '10.1.1.2': 0 },
  'metadata.test': { '169.254.169.254': 0 },
  'mapped.test': { '::ffff:169.254.169.254': 0 },
  'alibaba.test': { '100.100.100.200': 0 },
  'aws.test': { 'fd00:ec2::254': 0 },
  'self.test': { '127.9.9.9': 0, '::1': 0 },
} as const;

test('a registry sends this client to private addresses only if its own is such, or the user allows the host', async context => {
  let asked = 0;
  const inside = await serve(context, (_, response) => {
    asked += 1;
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"token":"abc"}');
  });
  slowNetwork(context, NAMES);
  const hosts = Object.keys(NAMES).filter(it => it !== 'registry.test' && it !== 'mixed.test' && it !== 'inner.test');
  const targets = [
    ...hosts.map(host => `${host}:${inside}`),
    `127.0.0.1:${inside}`,
    `localhost:${inside}`,
    '10.9.9.9:1',
  ];
  for (const target of [
    ...targets,
    '[::ffff:127.0.0.1]:1',
    '[::ffff:a9fe:a9fe]:1',
    '[64:ff9b::a9fe:a9fe]:1',
    '0x7f.1:1',
  ]) {
    const url = `http://${target}/x`;
    const { host } = new URL(url);
    const { port } = await requiring(context, url);
    const challenged = await faultAt(context, `registry.test:${port}`);
    assert.ok(challenged instanceof RegistryProtocol, `${target} ${challenged}`);
    assert.ok(challenged.message.includes(host), challenged.message);
    const moved = await serve(context, (_, response) => void response.writeHead(307, { location: url }).end());
    const redirected = await faultAt(context, `registry.test:${moved}`);
    assert.ok(redirected instanceof RegistryRedirect, `${target} ${redirected}`);
  }
  assert.equal(asked, 0);
  // A name with a public address among others is reached at that one only.
  const { port: mixed } = await requiring(context, `http://mixed.test:${inside}/x`);
  await faultAt(context, `registry.test:${mixed}`);
  assert.equal(asked, 1);
  // The user may allow a host, but not one with a link-local address.
  const { port: allowed } = await requiring(context, `http://secret.test:${inside}/x`);
  await faultAt(context, `registry.test:${allowed}`, { allowHost: [`secret.test:${inside}`] });
  assert.equal(asked, 2);
  const { port: never } = await requiring(context, `http://metadata.test:${inside}/x`);
  await faultAt(context, `registry.test:${never}`, { allowHost: [`metadata.test:${inside}`] });
  // A registry in a private network has its token server there, and one on this machine here.
  const { port: inner } = await requiring(context, `http://secret.test:${inside}/x`);
  await faultAt(context, `inner.test:${inner}`);
  await faultAt(context, `inner.test:${(await requiring(context, `http://self.test:${inside}/x`)).port}`);
  assert.equal(asked, 3);
  await faultAt(context, `127.0.0.1:${(await requiring(context, `http://self.test:${inside}/x`)).port}`);
  assert.equal(asked, 4);
});

test('a connection that was opened for a private registry does not serve a public one', async context => {
  let asked = 0;
  const inside = await serve(context, (_, response) => {
    asked += 1;
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"token":"abc"}');
  });
  slowNetwork(context, NAMES);
  const { port } = await requiring(context, `http://secret.test:${inside}/x`);
  const { engine } = openEngine(context, { retries: 0, plainHttp: true });
  for (const host of ['inner.test', 'registry.test'])
    await assert.rejects(
      engine.fetchManifest({ registry: `${host}:${port}`, repository: 'a/b', tag: '1' }, SIGNAL),
      RegistryRefusal,
    );
  assert.equal(asked, 1);
});

test('a token is sent only to the registry that named its server', async context => {
  const tokens = await serve(context, (_, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"token":"abc"}'),
  );
  const one = await requiring(context, `http://127.0.0.1:${tokens}/t`);
  const other = await requiring(context, `http://127.0.0.1:${await unusedPort()}/t`);
  const { engine } = openEngine(context, { retries: 0 });
  for (const { port } of [one, other, one])
    await assert.rejects(
      engine.fetchManifest({ registry: `127.0.0.1:${port}`, repository: 'a/b', tag: '1' }, SIGNAL),
      RegistryRefusal,
    );
  assert.ok(one.sent.includes('Bearer abc'));
  assert.deepEqual(
    other.sent.filter(it => it !== undefined),
    [],
  );
});

test('an https registry redirects blobs over plain http only to a host that --plain-http names, without credentials', async context => {
  const authority = new CertificateAuthority();
  const digest = `sha256:${'0'.repeat(64)}` as const;
  const sent: (string | undefined)[] = [];
  const storage = await serve(context, (request, response) => {
    sent.push(request.headers.authorization);
    response.writeHead(200).end('12345');
  });
  const { createServer: createTlsServer } = await import('node:https');
  const { key, cert } = authority.issue();
  const server = createTlsServer({ key, cert }, (request, response) =>
    request.headers.authorization === undefined
      ? response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
      : response.writeHead(307, { location: `http://127.0.0.1:${storage}/x` }).end(),
  );
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  const registry = `localhost:${(server.address() as AddressInfo).port}`;
  const reference = { registry, repository: 'a/b', tag: '1' };
  const login = { username: 'u', password: 'p', insecure: true };
  const descriptor = { mediaType: 'x/y', digest, size: 5 };
  const open = (options: BuiltinEngineOptions) => openEngine(context, { retries: 0, ...login, ...options }).engine;
  await assert.rejects(open({}).fetchBlob(reference, descriptor, 0, SIGNAL), (error: unknown) => {
    assert.ok(error instanceof RegistryRedirect, String(error));
    assert.match(error.hint, new RegExp(`--plain-http 127\\.0\\.0\\.1:${storage}`));
    return true;
  });
  const named = open({ plainHttp: [`127.0.0.1:${storage}`] });
  const { body } = await named.fetchBlob(reference, descriptor, 0, SIGNAL);
  body.resume();
  assert.deepEqual(sent, [undefined]);
  // By tag, nothing could show that the manifest was changed on the way.
  await assert.rejects(named.fetchManifest(reference, SIGNAL), RegistryRedirect);
});
