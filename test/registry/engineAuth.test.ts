import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RegistryDenied, RegistryProtocol, RegistryRefusal, RegistryUnauthorized } from '../../registry/errors.ts';
import { expiredToken, status } from '../support/faults.ts';
import { everythingOf, fetchWhole, openEngine, SIGNAL, sampleImage, setUp } from './engineBench.ts';

test('many simultaneous requests share one anonymous token, fetched from the realm', async context => {
  const bench = await setUp(context, { auth: { kind: 'bearer', realm: 'cross-origin' } });
  const { engine, reference, registry } = bench;
  await Promise.all(Array.from({ length: 20 }, () => engine.resolve(reference, SIGNAL)));
  assert.equal(registry.count('token'), 1);
  assert.deepEqual((await fetchWhole(bench)).bytes, bench.blob);
  assert.equal(registry.count('token'), 1);
});

test('after the first 401 every request carries a token, also for other repositories', async context => {
  const { engine, reference, registry, image } = await setUp(context, { auth: { kind: 'bearer' } });
  registry.push('other/plugin', '1.0.0', image);
  await engine.resolve(reference, SIGNAL);
  await engine.fetchManifest({ ...reference, repository: 'other/plugin' }, SIGNAL);
  assert.equal(registry.count({ status: 401 }), 1);
  assert.equal(registry.count('token'), 2);
});

test('a token that expires during the run is renewed', async context => {
  const bench = await setUp(context, { auth: { kind: 'bearer' } });
  await bench.engine.resolve(bench.reference, SIGNAL);
  bench.registry.script({ kind: 'blob', first: 1, fault: expiredToken() });
  assert.deepEqual((await fetchWhole(bench)).bytes, bench.blob);
  assert.equal(bench.registry.count('token'), 2);
  assert.deepEqual(bench.events, []);
});

test('many requests with an expired token renew it once', async context => {
  const { engine, reference, registry } = await setUp(context, { auth: { kind: 'bearer' } });
  await engine.resolve(reference, SIGNAL);
  registry.expireTokens();
  await Promise.all(Array.from({ length: 10 }, () => engine.fetchManifest(reference, SIGNAL)));
  assert.equal(registry.count('token'), 2);
});

test('a token without expires_in serves more than one request', async context => {
  const { engine, reference, registry } = await setUp(context, { auth: { kind: 'bearer', expiresInSeconds: null } });
  await engine.resolve(reference, SIGNAL);
  await engine.resolve(reference, SIGNAL);
  assert.equal(registry.count('token'), 1);
});

test('a token that expires immediately is requested each time, without a loop', async context => {
  const { engine, reference, registry } = await setUp(context, { auth: { kind: 'bearer', expiresInSeconds: 0.001 } });
  await assert.rejects(async () => {
    for (let turn = 0; turn < 3; turn += 1) await engine.resolve(reference, SIGNAL);
    throw new RegistryUnauthorized('all went well', { hint: '' });
  }, RegistryUnauthorized);
  // Three calls of at most three attempts, each with at most two tokens and two 401s, and the first challenge.
  assert.ok(registry.requests.length <= 3 * 3 * 4 + 2, `${registry.requests.length} requests`);
});

test('credentials go to the token server as Basic, and access_token is accepted like token', async context => {
  const auth = {
    kind: 'bearer',
    user: 'u',
    password: 'p:ä',
    tokenField: 'access_token',
    otherChallenges: ['Negotiate'],
  } as const;
  const { engine, reference, registry, image } = await setUp(context, { auth }, { username: 'u', password: 'p:ä' });
  assert.equal(await engine.resolve(reference, SIGNAL), image.digest);
  const told = registry.requests.filter(({ headers }) => headers.authorization?.startsWith('Basic '));
  assert.deepEqual(
    told.map(({ kind }) => kind),
    ['token'],
  );
});

test('an identity token is sent by POST, not in a URL', async context => {
  const folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-identity-'));
  context.after(() => rm(folder, { recursive: true }));
  const bench = await setUp(context, {
    auth: { kind: 'bearer', user: 'u', password: 'p', identityToken: 'id-secret' },
  });
  const registryConfig = join(folder, 'config.json');
  await writeFile(registryConfig, JSON.stringify({ auths: { [bench.registry.host]: { identitytoken: 'id-secret' } } }));
  const { engine } = openEngine(context, { registryConfig });
  assert.equal(await engine.resolve(bench.reference, SIGNAL), bench.image.digest);
  assert.deepEqual(
    bench.registry.requests.filter(({ kind }) => kind === 'token').map(({ method }) => method),
    ['POST'],
  );
  assert.ok(bench.registry.requests.every(({ url }) => !url.includes('id-secret')));
});

test('Basic without tokens works, and is sent with every request after the first 401', async context => {
  const bench = await setUp(
    context,
    { auth: { kind: 'basic', user: 'u', password: 'p' } },
    { username: 'u', password: 'p' },
  );
  await bench.engine.resolve(bench.reference, SIGNAL);
  assert.deepEqual((await fetchWhole(bench)).bytes, bench.blob);
  assert.equal(bench.registry.count({ status: 401 }), 1);
});

test('wrong credentials are reported with their source, tried once, and never shown', async context => {
  for (const kind of ['basic', 'bearer'] as const) {
    const auth = { kind, user: 'u', password: 'right' };
    const { engine, reference, registry } = await setUp(
      context,
      { auth },
      { username: 'u', password: 'planted-secret' },
    );
    await assert.rejects(engine.resolve(reference, SIGNAL), (error: unknown) => {
      assert.ok(error instanceof RegistryUnauthorized);
      assert.equal(error.status, 401);
      assert.match(error.message, /the options/);
      assert.equal(error.temporary, false);
      const all = everythingOf(error);
      assert.ok(!all.includes('planted-secret') && !all.includes(Buffer.from('u:planted-secret').toString('base64')));
      return true;
    });
    const tries = registry.requests.filter(({ headers }) => headers.authorization !== undefined);
    assert.ok(tries.length <= 2, `${kind}: ${tries.length}`);
  }
});

test('for a registry that hides unknown repositories the error names both possibilities', async context => {
  const { engine, reference } = await setUp(context, { auth: { kind: 'bearer' }, aliyunStyle: true });
  await assert.rejects(engine.resolve({ ...reference, repository: 'team/unknown' }, SIGNAL), (error: unknown) => {
    assert.ok(error instanceof RegistryUnauthorized || error instanceof RegistryDenied);
    assert.match(error.hint, /not exist/);
    assert.match(error.hint, /log ?in/);
    assert.match(error.registrySaid ?? '', /DENIED|UNAUTHORIZED/i);
    return true;
  });
});

test('where credentials are required, the hint says how to give them', async context => {
  for (const auth of [
    { kind: 'basic', user: 'u', password: 'p' },
    { kind: 'bearer', user: 'u', password: 'p' },
  ] as const) {
    const { engine, reference } = await setUp(context, { auth });
    await assert.rejects(engine.fetchManifest(reference, SIGNAL), (error: unknown) => {
      assert.ok(error instanceof RegistryUnauthorized);
      assert.match(error.hint, /docker login/);
      return true;
    });
  }
});

test('403 is final and names the source of the credentials', async context => {
  const { engine, reference, registry } = await setUp(context);
  registry.script({ kind: 'manifest', fault: status(403, { code: 'DENIED', message: 'not for you' }) });
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), (error: unknown) => {
    assert.ok(error instanceof RegistryDenied);
    assert.equal(error.registrySaid, 'DENIED: not for you');
    assert.deepEqual(error.diagnostics, [{ code: 'DENIED', message: 'not for you' }]);
    return true;
  });
  assert.equal(registry.requests.length, 1);
});

test('neither credentials nor tokens follow a redirect to another origin', async context => {
  const auth = { kind: 'bearer', user: 'u', password: 'p' } as const;
  const bench = await setUp(context, { auth, blobRedirect: 'cross-origin' }, { username: 'u', password: 'p' });
  assert.deepEqual((await fetchWhole(bench)).bytes, bench.blob);
  const stored = bench.registry.requests.filter(({ server }) => server === 'storage');
  assert.ok(stored.length > 0);
  assert.ok(stored.every(({ headers }) => headers.authorization === undefined));
});

const escapedOutsideAscii = (json: string): string =>
  json.replace(/[&<>'+]|[^ -~]/g, letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
const inXml = (text: string): string =>
  text.replace(/[&<>"']/g, letter => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[letter] ?? '&#39;');

for (const [form, write] of [
  ['JSON', (said: string) => JSON.stringify({ errors: [{ code: `DENIED ${said}`, message: said }] })],
  [
    'JSON with all that can be escaped',
    (said: string) => escapedOutsideAscii(JSON.stringify({ error_description: said })),
  ],
  ['JSON with its slashes escaped', (said: string) => JSON.stringify({ details: said }).replaceAll('/', '\\/')],
  ['JSON in JSON', (said: string) => JSON.stringify({ message: JSON.stringify({ error: said }) })],
  ['XML', (said: string) => `<Error><Message>${inXml(said)}</Message></Error>`],
] as const)
  for (const kind of ['manifest', 'token'] as const)
    test(`a password that a ${kind === 'token' ? 'token server' : 'registry'} repeats as ${form} stays unsaid`, async context => {
      const password = `pLan"ted\\<&>'/ü+end`;
      const { engine, reference, registry } = await setUp(
        context,
        { auth: { kind: kind === 'token' ? 'bearer' : 'basic', user: 'u', password } },
        { username: 'u', password, retries: 0 },
      );
      const echo = (request: IncomingMessage): string => {
        const given = Buffer.from(request.headers.authorization?.slice(6) ?? '', 'base64').toString();
        return `you sent ${given} as a login`;
      };
      registry.script({
        kind,
        when: ({ headers }) => headers.authorization !== undefined,
        fault: {
          name: 'echo',
          rewrite: (_, { request }) => ({ status: 403, headers: {}, body: Buffer.from(write(echo(request))) }),
        },
      });
      await assert.rejects(engine.fetchManifest(reference, SIGNAL), (error: unknown) => {
        assert.ok(error instanceof RegistryRefusal);
        assert.match(error.registrySaid ?? '', /you sent u:\*\*\* as a login/);
        assert.doesNotMatch(everythingOf(error), /pLan|ted|end\b/);
        return true;
      });
    });

test('a realm that is not a web address is shown without its user info and query', async context => {
  for (const realm of [
    'file:///x?key=PLANTED',
    'ftp://me:PLANTED@h/x#PLANTED',
    'http://me:PLANTED@[h/x?key=PLANTED',
    'me:PLANTED@h/t',
  ]) {
    const registry = await challenger(context, `Bearer realm="${realm}",service="s"`);
    const { engine } = openEngine(context);
    await assert.rejects(engine.fetchManifest({ registry, repository: 'a/b', tag: '1' }, SIGNAL), (error: unknown) => {
      assert.ok(error instanceof RegistryProtocol, realm);
      assert.doesNotMatch(everythingOf(error), /PLANTED/);
      assert.match(error.found ?? '', /\w/);
      return true;
    });
  }
});

/** A registry that answers every request with 401 and the given challenge. */
async function challenger(context: { after(fn: () => unknown): void }, challenge: string): Promise<string> {
  const server = createServer((_, response) => response.writeHead(401, { 'www-authenticate': challenge }).end());
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a realm in a private network is refused with credentials, a link-local one also without', async context => {
  for (const [realm, options] of [
    ['http://169.254.169.254/latest', {}],
    ['http://[fe80::1]/t', {}],
    ['https://10.0.0.1/token', { username: 'u', password: 'p' }],
    ['https://192.168.1.1:8443/token', { username: 'u', password: 'p' }],
  ] as const) {
    const registry = await challenger(context, `Bearer realm="${realm}",service="s"`);
    const { engine } = openEngine(context, options);
    const reference = { registry, repository: 'a/b', tag: '1' };
    await assert.rejects(engine.fetchManifest(reference, SIGNAL), (error: unknown) => {
      assert.ok(error instanceof RegistryProtocol, realm);
      assert.match(error.message, /credentials/);
      return true;
    });
    assert.equal(engine.traffic.requests, 1, realm);
  }
});

test('challenges that cannot be answered end in a clear error', async context => {
  for (const [challenge, words] of [
    ['', /answers 401, but names no kind of login/],
    ['Negotiate', /requires a login by negotiate, which registries do not use/i],
    ['Digest realm="x"', /requires a login by digest, which/i],
    ['Bearer realm="", Basic realm="x"', /without a login/],
    ...['', 'realm=""', 'service="s"', 'realm="ftp://x"', 'realm="http://"', 'realm="/token"', 'realm="::::"'].map(
      parameters => [`Bearer ${parameters}`, /does not name a usable token server/] as const,
    ),
  ] as const) {
    const registry = await challenger(context, challenge);
    const { engine } = openEngine(context, { retries: 0 });
    await assert.rejects(engine.fetchManifest({ registry, repository: 'a/b', tag: '1' }, SIGNAL), (error: unknown) => {
      assert.ok(error instanceof (words.source.includes('login') ? RegistryUnauthorized : RegistryProtocol), challenge);
      assert.match(error.message, words, challenge);
      if (/login by|kind of login/.test(error.message)) assert.doesNotMatch(error.hint, /docker login|log in/);
      return true;
    });
    assert.equal(engine.traffic.requests, 1, challenge);
  }
});

test('a temporary error of the token server is retried', async context => {
  const { engine, reference, registry, image, events } = await setUp(context, { auth: { kind: 'bearer' } });
  registry.script({ kind: 'token', first: 2, fault: status(502) });
  assert.equal(await engine.resolve(reference, SIGNAL), image.digest);
  assert.equal(events.filter(({ type }) => type === 'retry').length, 2);
});

test('a token that would break a header is refused', async context => {
  const { engine, reference, registry } = await setUp(context, { auth: { kind: 'bearer' } }, { retries: 0 });
  for (const body of ['{"token":"a\\r\\nX-Evil: 1"}', '{"token":""}', '{}', 'null', 'oops', '{"token":5}', '<html>']) {
    registry.script({ kind: 'token', fault: { name: 'x', rewrite: said => ({ ...said, body: Buffer.from(body) }) } });
    await assert.rejects(engine.resolve(reference, SIGNAL), RegistryProtocol, body);
  }
});

test('a caller that aborts does not take the token from the others', async context => {
  const { engine, reference, registry, image } = await setUp(
    context,
    { auth: { kind: 'bearer' }, latencyMs: 20 },
    {},
    sampleImage(10),
  );
  const controller = new AbortController();
  const left = engine.resolve(reference, controller.signal);
  const stayed = engine.resolve(reference, SIGNAL);
  const poll = setInterval(() => {
    if (registry.count('token') > 0) controller.abort(new Error('enough'));
  }, 1);
  await assert.rejects(left, /enough/);
  clearInterval(poll);
  assert.equal(await stayed, image.digest);
});
