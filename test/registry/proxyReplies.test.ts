import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { RegistryProxy, RegistryRefusal } from '../../registry/errors.ts';
import { openEngine, SIGNAL } from './engineBench.ts';

// What a proxy answers to CONNECT instead of a tunnel, and what is reported of it.

/** Starts a server that sends these bytes in answer to any request, and closes the connection. Returns its HOST:PORT. */
async function answering(context: TestContext, bytes: string): Promise<string> {
  const server = createServer(socket => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(bytes));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The error of a pull from an https registry through the proxy that sends these bytes. */
async function faultBehind(
  context: TestContext,
  bytes: string,
  login = '',
): Promise<RegistryProxy & { proxy: string }> {
  const proxy = await answering(context, bytes);
  const { engine } = openEngine(context, { retries: 0, env: { https_proxy: `http://${login}${proxy}` } });
  const reference = { registry: 'registry.example', repository: 'team/a', tag: '1' };
  const error = await engine.fetchManifest(reference, SIGNAL).catch((fault: unknown) => fault);
  assert.ok(error instanceof RegistryProxy, `${JSON.stringify(bytes)}: ${error}`);
  assert.equal(error.faultIn, proxy);
  assert.ok(error.message.startsWith(`The proxy ${proxy} `), error.message);
  assert.match(error.message, /registry\.example/);
  return Object.assign(error, { proxy });
}

const reply = (status: number, headers: readonly string[] = [], body = ''): string =>
  [`HTTP/1.1 ${status} X`, ...headers, `content-length: ${body.length}`, 'connection: close', '', body].join('\r\n');

test('each status of a proxy is reported as the proxy’s, with what it means and what to do', async context => {
  for (const [status, words, hint, temporary] of [
    [302, /answered 302.*a redirect/, /open it in a browser.*NO_PROXY/, false],
    [400, /answered 400 to CONNECT/, /does not pass https.*HTTPS_PROXY.*NO_PROXY/, false],
    [403, /answered 403$/, /to be allowed at the proxy.*NO_PROXY/, false],
    [404, /answered 404 to CONNECT/, /may be a web server/, false],
    [405, /answered 405 to CONNECT/, /does not pass https/, false],
    [429, /answered 429/, /--concurrency/, true],
    [500, /answered 500/, /try again later/, true],
    [502, /answered 502: it could not reach registry\.example/, /spelling of registry\.example.*NO_PROXY/, true],
    [503, /answered 503/, /cannot reach registry\.example/, true],
    [504, /answered 504: registry\.example did not answer the proxy in time/, /firewall.*NO_PROXY/, true],
  ] as const) {
    const error = await faultBehind(context, reply(status));
    assert.match(error.message, words);
    assert.match(error.hint, hint);
    assert.deepEqual([error.status, error.temporary], [status, temporary], String(status));
  }
});

test('a page in place of a tunnel is reported as the proxy’s, not as the registry’s', async context => {
  const type = 'content-type: text/html';
  const page = await faultBehind(context, reply(200, [type], '<html><title>Sign in</title></html>'));
  assert.match(page.message, /answered 200 with a web page.*not with a connection$/);
  assert.match(page.hint, /may be a web server or a login page/);
  const away = await faultBehind(context, reply(302, [type, 'location: https://login.example/start?token=secret']));
  assert.match(away.message, /a redirect to https:\/\/login\.example\/start$/);
  const squid = await faultBehind(context, reply(503, [type, 'X-Squid-Error: ERR_DNS_FAIL 0']));
  assert.equal(squid.found, '503 (ERR_DNS_FAIL 0)');
});

test('an error that a proxy signs in place of a plain http host is the proxy’s', async context => {
  for (const [headers, status, words] of [
    [['X-Squid-Error: ERR_ACCESS_DENIED 0', 'content-type: text/html'], 403, /^The proxy .* it answered 403/],
    [['Server: tinyproxy/1.11.1', 'content-type: text/html'], 500, /^The proxy .* it answered 500/],
    [['content-type: text/html'], 403, /^registry\.example is probably not a registry/],
  ] as const) {
    const proxy = await answering(context, reply(status, headers));
    const { engine } = openEngine(context, { retries: 0, plainHttp: true, env: { http_proxy: `http://${proxy}` } });
    const fetching = engine.fetchManifest({ registry: 'registry.example', repository: 'a/b', tag: '1' }, SIGNAL);
    await assert.rejects(fetching, (error: unknown) => {
      assert.ok(error instanceof RegistryRefusal, String(error));
      assert.match(error.message, words);
      assert.match(`${error.message} ${error.hint}`, new RegExp(proxy));
      return true;
    });
  }
});

test('any 2xx without content opens the tunnel', async context => {
  const proxy = await answering(context, 'HTTP/1.1 204 Connected\r\n\r\n');
  const { engine } = openEngine(context, { retries: 0, env: { https_proxy: `http://${proxy}` } });
  const reference = { registry: 'registry.example', repository: 'team/a', tag: '1' };
  const error = await engine.fetchManifest(reference, SIGNAL).catch((fault: unknown) => fault);
  assert.ok(!(error instanceof RegistryProxy), String(error));
});

test('a login that a proxy wants is reported by its kind', async context => {
  const plain = await faultBehind(context, reply(407));
  assert.match(plain.message, /requires credentials to connect/);
  assert.match(plain.hint, /http:\/\/USER:PASSWORD@/);
  const both = await faultBehind(
    context,
    reply(407, ['Proxy-Authenticate: Negotiate', 'Proxy-Authenticate: Basic realm="p"']),
  );
  assert.match(both.hint, /USER:PASSWORD/);
  const wrong = await faultBehind(context, reply(407, ['Proxy-Authenticate: Basic realm="p"']), 'me:wrong@');
  assert.match(wrong.hint, /Check the user name and password in HTTPS_PROXY/);
  for (const login of ['', 'me:right@']) {
    const kerberos = await faultBehind(
      context,
      reply(407, ['Proxy-Authenticate: Negotiate', 'Proxy-Authenticate: NTLM']),
      login,
    );
    assert.match(kerberos.message, /requires a login by Negotiate \(Kerberos\) or NTLM .* can only log in by Basic$/);
    assert.match(kerberos.hint, /Ask for Basic.*HTTPS_PROXY another proxy.*NO_PROXY/);
    assert.doesNotMatch(kerberos.hint, /USER:PASSWORD/);
  }
});

test('a proxy that speaks no HTTP is reported in words', async context => {
  const socks = await faultBehind(context, '\x05\xff not http at all\r\n\r\n');
  assert.match(socks.message, /it sent a reply that is not HTTP$/);
  assert.match(socks.hint, /SOCKS/);
  assert.equal(socks.temporary, false);
});
