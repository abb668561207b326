import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { Agent, request } from 'undici';
import {
  captivePortal,
  chunked,
  closeDelimited,
  corrupt,
  drip,
  endless,
  expiredToken,
  expiringUrl,
  finish,
  gzipEncoded,
  hang,
  headers,
  heldBack,
  rangeIgnored,
  rangeRefused,
  raw,
  redirectChain,
  redirectLoop,
  reset,
  shiftedRange,
  shortened,
  status,
  wrongBytes,
  wrongContentRange,
  wrongDigest,
} from './support/faults.ts';
import { digestOf, imageFormC } from './support/images.ts';
import { buildModule } from './support/module.ts';
import { type RegistryOptions, startRegistry } from './support/registry.ts';
import type { FaultRule } from './support/script.ts';

const wasm = buildModule({ sizeBytes: 300_000 });

interface Got {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
  /** What ended the body early. */
  readonly error?: string;
}

async function get(url: string, sent: Record<string, string> = {}, signal?: AbortSignal): Promise<Got> {
  const answer = await request(url, { headers: sent, ...(signal ? { signal } : {}) });
  const parts: Buffer[] = [];
  const got = (error?: string): Got => ({
    status: answer.statusCode,
    headers: answer.headers,
    body: Buffer.concat(parts),
    ...(error === undefined ? {} : { error }),
  });
  try {
    for await (const part of answer.body) parts.push(part as Buffer);
  } catch (error) {
    return got((error as { code?: string }).code ?? String(error));
  }
  return got();
}

async function scripted(t: TestContext, rules: FaultRule | FaultRule[], options: RegistryOptions = {}) {
  const registry = await startRegistry(options);
  t.after(() => registry.close());
  registry.push('plugins/one', '1', imageFormC({ wasm }));
  registry.script(rules);
  const blob = `${registry.url}/v2/plugins/one/blobs/${digestOf(wasm)}`;
  return { registry, blob, manifest: `${registry.url}/v2/plugins/one/manifests/1` };
}

describe('rules', () => {
  test('count the requests that fit, and nothing else', async t => {
    const { registry, blob, manifest } = await scripted(t, [
      { kind: 'blob', nth: [2, 4], fault: status(500) },
      { kind: 'manifest', first: 1, fault: status(502) },
      { kind: 'manifest', after: 2, method: 'GET', fault: status(504) },
    ]);
    const seen: number[] = [];
    for (const url of [blob, manifest, blob, manifest, blob, manifest, blob]) seen.push((await get(url)).status);
    assert.deepEqual(seen, [200, 502, 500, 200, 200, 504, 500]);
    assert.deepEqual(
      registry.requests.map(({ fault }) => fault),
      [undefined, 'status-502', 'status-500', undefined, undefined, 'status-504', 'status-500'],
    );
  });

  test('count each path separately on request, distinguish ranged requests, and are replaced as a whole', async t => {
    const { registry, blob, manifest } = await scripted(t, { per: 'path', first: 1, fault: status(503) });
    const statuses = async () => [(await get(blob)).status, (await get(manifest)).status];
    assert.deepEqual([await statuses(), await statuses()].flat(), [503, 503, 200, 200]);
    registry.script({ ranged: true, fault: status(503) });
    assert.equal((await get(blob)).status, 200);
    assert.equal((await get(blob, { range: 'bytes=1-' })).status, 503);
    registry.script([]);
    assert.equal((await get(blob, { range: 'bytes=1-' })).status, 206);
  });
});

describe('broken connections', () => {
  for (const [fault, error] of [
    [reset, 'ECONNRESET'],
    [finish, 'UND_ERR_SOCKET'],
  ] as const) {
    test(`${fault.name} behind so many body bytes`, async t => {
      const { registry, blob } = await scripted(t, [{ first: 1, fault: fault({ afterBytes: 123_456 }) }]);
      const broken = await get(blob);
      assert.equal(broken.status, 200);
      assert.equal(broken.headers['content-length'], '300000');
      assert.equal(broken.error, error);
      assert.ok(broken.body.equals(wasm.subarray(0, 123_456)));
      assert.equal(registry.bytesServed('blob'), 123_456);
      const rest = await get(blob, { range: 'bytes=123456-' });
      assert.ok(rest.body.equals(wasm.subarray(123_456)));
    });

    test(`${fault.name} before the status line`, async t => {
      const { registry, blob } = await scripted(t, { first: 1, fault: fault() });
      await assert.rejects(get(blob), { code: error });
      assert.equal(registry.requests[0]?.status, 0);
    });
  }

  test('bytes before the end are counted back', async t => {
    const { blob } = await scripted(t, { fault: finish({ afterBytes: -1 }) });
    assert.equal((await get(blob)).body.length, 299_999);
  });

  test('hang keeps the connection open, and the registry closes all the same', async t => {
    const { registry, blob } = await scripted(t, { fault: hang({ afterBytes: 1000 }) });
    const answer = await request(blob);
    let received = 0;
    const ended = (async () => {
      for await (const part of answer.body) {
        received += (part as Buffer).length;
        if (received === 1000) await registry.close();
      }
    })();
    await assert.rejects(ended);
    assert.equal(received, 1000);
  });

  test('what is not HTTP, then nothing', async t => {
    const { blob } = await scripted(t, { fault: raw('SSH-2.0-OpenSSH_9.2\r\n') });
    await assert.rejects(get(blob), { name: 'HTTPParserError' });
  });

  test('the first connections are reset, the next are served', async t => {
    const { registry, blob } = await scripted(t, []);
    registry.resetConnections(2);
    const dispatcher = new Agent();
    t.after(() => dispatcher.close());
    const attempt = async () => {
      const { statusCode, body } = await request(blob, { dispatcher });
      await body.dump();
      return statusCode;
    };
    await assert.rejects(attempt());
    await assert.rejects(attempt());
    assert.equal(await attempt(), 200);
    assert.equal(registry.connections, 3);
    assert.equal(registry.requests.length, 1);
  });
});

describe('wrong answers', () => {
  test('flipped, foreign and missing bytes under fitting headers', async t => {
    const { registry, blob } = await scripted(t, [{ fault: corrupt({ atByte: -1 }) }]);
    const flipped = await get(blob);
    assert.equal(flipped.body.length, wasm.length);
    assert.ok(flipped.body.subarray(0, -1).equals(wasm.subarray(0, -1)));
    assert.notEqual(flipped.body.at(-1), wasm.at(-1));
    registry.script({ fault: wrongBytes('something else') });
    assert.equal((await get(blob)).body.toString(), 'something else');
    registry.script({ fault: shortened(10) });
    const short = await get(blob);
    assert.deepEqual([short.body.length, short.headers['content-length']], [299_990, '299990']);
  });

  test('headers are changed and taken off', async t => {
    const { registry, manifest } = await scripted(t, { fault: wrongDigest() });
    assert.match(String((await get(manifest)).headers['docker-content-digest']), /^sha256:0{64}$/);
    registry.script({ fault: headers({ 'docker-content-digest': null, warning: '299 - "going away"' }) });
    const changed = await get(manifest);
    assert.equal(changed.headers['docker-content-digest'], undefined);
    assert.equal(changed.headers.warning, '299 - "going away"');
  });

  test('Retry-After in any form', async t => {
    const { registry, blob } = await scripted(t, []);
    const after = async (retryAfter: number | Date | string) => {
      registry.script({ fault: status(429, { retryAfter, code: 'TOOMANYREQUESTS' }) });
      const { headers: said, body } = await get(blob);
      assert.ok(body.includes('TOOMANYREQUESTS'));
      return said['retry-after'];
    };
    assert.equal(await after(2), '2');
    assert.equal(await after(new Date(0)), 'Thu, 01 Jan 1970 00:00:00 GMT');
    assert.equal(await after('soon'), 'soon');
  });

  test('a captive portal speaks HTML with status 200', async t => {
    const { manifest } = await scripted(t, { fault: captivePortal() });
    const page = await get(manifest);
    assert.equal(page.status, 200);
    assert.match(String(page.headers['content-type']), /^text\/html/);
  });

  test('an expired token is refused in mid-run', async t => {
    const { registry, blob } = await scripted(
      t,
      { kind: 'blob', nth: 2, fault: expiredToken() },
      {
        auth: { kind: 'bearer' },
      },
    );
    const first = String((await get(blob)).headers['www-authenticate']);
    const [, realm, service, scope] = /realm="(.+?)",service="(.+?)",scope="(.+?)"/.exec(first) ?? [];
    const query = new URLSearchParams({ service: String(service), scope: String(scope) });
    const { token } = JSON.parse((await get(`${realm}?${query}`)).body.toString());
    const again = await get(blob, { authorization: `Bearer ${token}` });
    assert.equal(again.status, 401);
    assert.match(String(again.headers['www-authenticate']), /error="invalid_token"/);
    assert.equal(registry.count('token'), 1);
  });
});

describe('ranges', () => {
  const range = { range: 'bytes=1000-' };

  test('are ignored, refused, mislabelled or shifted', async t => {
    const { registry, blob } = await scripted(t, { fault: rangeIgnored() });
    const whole = await get(blob, range);
    assert.deepEqual([whole.status, whole.body.length], [200, 300_000]);
    assert.equal(registry.requests[0]?.headers.range, 'bytes=1000-');
    registry.script({ fault: rangeRefused() });
    assert.equal((await get(blob, range)).status, 416);
    registry.script({ fault: wrongContentRange() });
    const mislabelled = await get(blob, range);
    assert.equal(mislabelled.headers['content-range'], 'bytes 0-298999/299000');
    assert.ok(mislabelled.body.equals(wasm.subarray(1000)));
    registry.script({ fault: wrongContentRange(null) });
    assert.equal((await get(blob, range)).headers['content-range'], undefined);
    registry.script({ fault: shiftedRange(-10) });
    const shifted = await get(blob, range);
    assert.equal(shifted.headers['content-range'], 'bytes 990-299999/300000');
    assert.ok(shifted.body.equals(wasm.subarray(990)));
  });
});

describe('redirects', () => {
  const follow = async (url: string, limit: number): Promise<{ got: Got; visited: string[] }> => {
    const visited: string[] = [];
    for (let at = url; ; ) {
      visited.push(new URL(at).origin);
      const got = await get(at);
      if (got.headers.location === undefined || visited.length > limit) return { got, visited };
      at = new URL(String(got.headers.location), at).href;
    }
  };

  test('in a chain across origins, which ends at the blob', async t => {
    const { registry, blob } = await scripted(t, {
      kind: 'blob',
      server: 'registry',
      fault: redirectChain(5, { crossOrigin: true }),
    });
    const { got, visited } = await follow(blob, 20);
    assert.ok(got.body.equals(wasm));
    assert.equal(visited.length, 6);
    assert.equal(new Set(visited).size, 2);
    assert.equal(registry.count({ status: 307 }), 5);
  });

  test('relative ones, back to the same URL', async t => {
    const { manifest } = await scripted(t, {
      kind: 'manifest',
      fault: redirectChain(2, { relative: true, code: 302 }),
    });
    const { got, visited } = await follow(manifest, 20);
    assert.equal(got.status, 200);
    assert.equal(visited.length, 3);
  });

  test('without end', async t => {
    const { blob } = await scripted(t, { fault: redirectLoop() });
    assert.equal((await follow(blob, 30)).got.status, 307);
  });

  test('to a signed URL that stops working after so many uses or bytes', async t => {
    const { registry, blob } = await scripted(t, [
      { kind: 'blob', server: 'registry', fault: expiringUrl({ bytes: 100_000 }) },
      { server: 'storage', first: 1, fault: reset({ afterBytes: 150_000 }) },
    ]);
    const location = async () => String((await get(blob)).headers.location);
    const url = await location();
    assert.equal((await get(url)).body.length, 150_000);
    assert.equal((await get(url, { range: 'bytes=150000-' })).status, 403);
    assert.equal((await get(await location(), { range: 'bytes=150000-' })).body.length, 150_000);
    registry.script({ kind: 'blob', server: 'registry', fault: expiringUrl({ uses: 1 }) });
    const once = await location();
    assert.deepEqual([(await get(once)).status, (await get(once)).status], [200, 403]);
  });
});

describe('odd bodies', () => {
  test('in chunks, or ended by the connection alone', async t => {
    const { registry, blob } = await scripted(t, { fault: chunked() });
    const inChunks = await get(blob);
    assert.deepEqual(
      [inChunks.headers['transfer-encoding'], inChunks.headers['content-length']],
      ['chunked', undefined],
    );
    assert.ok(inChunks.body.equals(wasm));
    registry.script({ fault: closeDelimited() });
    const ended = await get(blob);
    assert.deepEqual([ended.headers['transfer-encoding'], ended.headers['content-length']], [undefined, undefined]);
    assert.ok(ended.body.equals(wasm));
  });

  test('cut in chunks is an error, cut without length looks whole', async t => {
    const { registry, blob } = await scripted(t, { fault: [chunked(), finish({ afterBytes: 1000 })] });
    const cut = await get(blob);
    assert.equal(cut.error, 'UND_ERR_SOCKET');
    assert.equal(registry.requests[0]?.fault, 'chunked+finish');
    registry.script({ fault: [closeDelimited(), finish({ afterBytes: 1000 })] });
    const silent = await get(blob);
    assert.deepEqual([silent.body.length, silent.error], [1000, undefined]);
  });

  test('gzipped once more', async t => {
    const { blob } = await scripted(t, { fault: gzipEncoded() });
    const zipped = await get(blob);
    assert.equal(zipped.headers['content-encoding'], 'gzip');
    assert.ok(gunzipSync(zipped.body).equals(wasm));
  });

  test('drop by drop', async t => {
    const { registry } = await scripted(t, { fault: drip({ bytes: 7, everyMs: 1 }) });
    const { body } = await get(`${registry.url}/v2/plugins/one/manifests/1`);
    assert.equal(digestOf(body), imageFormC({ wasm }).digest);
  });

  test('without end, until the client has enough', async t => {
    const { registry, manifest } = await scripted(t, { fault: endless() });
    const stop = new AbortController();
    const answer = await request(manifest, { signal: stop.signal });
    let received = 0;
    await assert.rejects(async () => {
      for await (const part of answer.body) {
        received += (part as Buffer).length;
        if (received > 1_000_000) stop.abort();
      }
    });
    assert.ok(received > 1_000_000);
    await registry.close();
  });
});

test('requests under way at once are counted', async t => {
  let release = (): void => undefined;
  const held = new Promise<void>(resolve => {
    release = resolve;
  });
  const { registry, blob } = await scripted(t, { fault: heldBack(held) });
  const all = Promise.all([1, 2, 3].map(() => get(blob)));
  while (registry.requests.length < 3) await setTimeout(5);
  release();
  await all;
  assert.equal(registry.peakInFlight, 3);
  await get(blob);
  assert.equal(registry.requests.at(-1)?.inFlight, 1);
});

test('an IPv6-only registry is out of reach for IPv4', async t => {
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  try {
    registry = await startRegistry({ address: '::1' });
  } catch {
    return t.skip('this machine has no IPv6 loopback');
  }
  t.after(() => registry.close());
  assert.match(registry.host, /^\[::1\]:\d+$/);
  assert.equal((await get(`${registry.url}/v2/`)).status, 200);
  const port = Number(new URL(registry.url).port);
  await assert.rejects(
    new Promise((resolve, reject) => connect(port, '127.0.0.1', () => resolve(undefined)).on('error', reject)),
  );
});
