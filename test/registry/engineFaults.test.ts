import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { getEventListeners } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  RegistryDenied,
  RegistryDigestMismatch,
  RegistryDns,
  RegistryNotFound,
  RegistryProtocol,
  RegistryRateLimited,
  RegistryRedirect,
  RegistryRefusal,
  RegistryRefused,
  RegistryTimeout,
  RegistryUnavailable,
} from '../../registry/errors.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import { assertSameBytes } from '../support/bytes.ts';
import {
  captivePortal,
  chunked,
  closeDelimited,
  delay,
  drip,
  endless,
  expiringUrl,
  finish,
  gzipEncoded,
  hang,
  headers,
  rangeIgnored,
  rangeRefused,
  raw,
  redirect,
  redirectChain,
  redirectLoop,
  reset,
  rewrite,
  shortened,
  status,
  wrongBytes,
  wrongContentRange,
  wrongDigest,
} from '../support/faults.ts';
import { digestOf, imageOf, MEDIA } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import type { Fault } from '../support/script.ts';
import { slow } from '../support/slow.ts';
import { everythingOf, fetchWhole, openEngine, readAll, SIGNAL, sampleImage, setUp } from './engineBench.ts';

for (const [name, fault] of [
  ['a reset before the answer', reset()],
  ['a close before the answer', finish()],
  ['500', status(500)],
  ['502', status(502)],
  ['504 with a page in HTML', status(504, { body: '<html>Gateway</html>' })],
  ['408', status(408)],
  ['204', status(204)],
  ['421', status(421)],
  ['423', status(423)],
  ['425', status(425)],
  ['499', status(499)],
  ['429 without a word', status(429)],
  ['429 with Retry-After 0', status(429, { retryAfter: 0 })],
  ['503 with garbage in Retry-After', status(503, { retryAfter: 'whenever' })],
  ['503 with a negative Retry-After', status(503, { retryAfter: -5 })],
  ['503 with a date long gone', status(503, { retryAfter: new Date(0) })],
  ['429 that asks for a day', status(429, { retryAfter: 86_400 })],
  ['a wrong digest header', wrongDigest()],
  ['bytes that are no JSON', wrongBytes('oops')],
  ['a body that breaks off', reset({ afterBytes: 20 })],
  ['what is no HTTP', raw('SSH-2.0-OpenSSH\r\n')],
] as const)
  test(`${name}, twice: the third attempt succeeds and each retry is reported`, async context => {
    const { engine, reference, registry, image, events } = await setUp(context);
    registry.script({ kind: 'manifest', first: 2, fault });
    assert.deepEqual((await engine.fetchManifest(reference, SIGNAL)).bytes, image.manifest);
    assert.equal(registry.count('manifest'), 3);
    assert.equal(engine.traffic.requests, 3);
    assert.deepEqual(
      events.map(event => event.type === 'retry' && event.attempt),
      [1, 2],
    );
  });

test('a lasting error is reported after the allowed number of retries', async context => {
  const { engine, reference, registry } = await setUp(context, {}, { retries: 3 });
  registry.script({ fault: status(503, { code: 'UNAVAILABLE', message: 'database is down' }) });
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), (error: unknown) => {
    assert.ok(error instanceof RegistryUnavailable);
    assert.equal(error.status, 503);
    assert.equal(error.temporary, true);
    assert.equal(error.registrySaid, 'UNAVAILABLE: database is down');
    assert.match(error.request ?? '', /^GET http:\/\/127\.0\.0\.1:\d+\/v2\/team\/plugin\/manifests\/1\.0\.0$/);
    return true;
  });
  assert.equal(registry.requests.length, 4);
});

test('501, 505 and 400 are final', async context => {
  const { engine, reference, registry } = await setUp(context);
  for (const code of [501, 505, 400]) {
    registry.reset();
    registry.script({ fault: status(code) });
    await assert.rejects(
      engine.fetchManifest(reference, SIGNAL),
      (error: unknown) => error instanceof RegistryRefusal && error.status === code && !error.temporary,
    );
    assert.equal(registry.requests.length, 1);
  }
});

test('a Retry-After beyond a minute is reported, not waited for', async context => {
  const { engine, reference, registry } = await setUp(context);
  registry.script({ fault: status(429, { retryAfter: 3600 }) });
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), (error: unknown) => {
    assert.ok(error instanceof RegistryRateLimited);
    assert.match(error.message, /3600 s/);
    return true;
  });
  assert.ok(registry.requests.length <= 3);
});

test('a missing tag, repository and blob have different errors', async context => {
  const { engine, reference, registry, descriptor } = await setUp(context);
  const missing = async (work: Promise<unknown>): Promise<unknown> => {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof RegistryNotFound, String(error));
    return error.missing;
  };
  assert.equal(await missing(engine.resolve({ ...reference, tag: 'none' }, SIGNAL)), 'manifest');
  assert.equal(await missing(engine.fetchManifest({ ...reference, repository: 'no/where' }, SIGNAL)), 'repository');
  assert.equal(await missing(engine.listTags({ ...reference, repository: 'no/where' }, SIGNAL)), 'repository');
  registry.remove('team/plugin', descriptor.digest);
  assert.equal(await missing(engine.fetchBlob(reference, descriptor, 0, SIGNAL)), 'blob');
});

test('a GET follows a HEAD without a digest, and a refused or unsupported one', async context => {
  const { engine, reference, registry, image } = await setUp(context);
  for (const fault of [
    headers({ 'docker-content-digest': null }),
    status(405),
    status(404),
    headers({ 'docker-content-digest': 'x' }),
  ]) {
    registry.script({ method: 'HEAD', fault });
    assert.equal(await engine.resolve(reference, SIGNAL), image.digest);
  }
});

test('HEAD keeps its connection', async context => {
  const { engine, reference, registry } = await setUp(context);
  for (let turn = 0; turn < 5; turn += 1) await engine.resolve(reference, SIGNAL);
  // A second connection may be opened while the first reply ends; five would mean that each HEAD closes its own.
  assert.ok(registry.connections <= 2, String(registry.connections));
});

test('a manifest that hashes to something else is refused, by digest and by header', async context => {
  const { engine, reference, registry, image } = await setUp(context);
  registry.script({
    kind: 'manifest',
    fault: [wrongBytes('{"schemaVersion":2}'), headers({ 'docker-content-digest': null })],
  });
  await assert.rejects(engine.fetchManifest({ ...reference, digest: image.digest }, SIGNAL), RegistryDigestMismatch);
  registry.script({ kind: 'manifest', fault: wrongDigest() });
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), (error: unknown) => {
    assert.ok(error instanceof RegistryDigestMismatch);
    assert.equal(error.found, image.digest);
    return true;
  });
});

test('a captive portal, an endless manifest and a schema 1 image are recognized', async context => {
  const { engine, reference, registry } = await setUp(context, {}, { retries: 0 });
  registry.script({ fault: captivePortal() });
  for (const work of [engine.fetchManifest(reference, SIGNAL), engine.listTags(reference, SIGNAL)])
    await assert.rejects(work, (error: unknown) => error instanceof RegistryProtocol && /portal/.test(error.hint));
  registry.script({ kind: 'manifest', fault: endless() });
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), /too large/);
  const body = '{"schemaVersion":1,"name":"a"}';
  registry.script({ kind: 'manifest', fault: [wrongBytes(body), headers({ 'docker-content-digest': null })] });
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), /schema 1/);
});

test('a manifest is read through an unrequested Content-Encoding', async context => {
  const { engine, reference, registry, image } = await setUp(context);
  registry.script({ kind: 'manifest', fault: gzipEncoded() });
  assert.deepEqual((await engine.fetchManifest(reference, SIGNAL)).bytes, image.manifest);
});

test('a blob comes whole in every framing', async context => {
  const compressed = await setUp(context);
  const bench = { ...compressed, descriptor: { ...compressed.descriptor, mediaType: 'application/octet-stream' } };
  for (const fault of [
    chunked(),
    closeDelimited(),
    gzipEncoded(),
    headers({ 'content-encoding': 'gzip' }),
    [gzipEncoded(), chunked()],
  ]) {
    bench.registry.script({ kind: 'blob', fault });
    assertSameBytes((await fetchWhole(bench)).bytes, bench.blob);
  }
  assert.ok(bench.engine.traffic.bytesDownloaded >= 5 * bench.blob.length);
});

test('the digest decides whether a blob without a length is only labelled as compressed; the likelier is tried first', async context => {
  const stored = gzipSync(randomBytes(50_000));
  const plain = randomBytes(50_000);
  const labelled = ['gzip', 'x-gzip', 'deflate', 'br'].map(encoding => headers({ 'content-encoding': encoding }));
  for (const [mediaType, body, faults, downloads] of [
    [MEDIA.tarGzip, stored, labelled, 1],
    [MEDIA.tarGzip, stored, [gzipEncoded()], 2],
    ['application/wasm', stored, labelled, 2],
    ['application/wasm', plain, labelled, 2],
    ['application/wasm', plain, [gzipEncoded()], 1],
  ] as const)
    for (const fault of faults) {
      const image = imageOf({ layers: [{ mediaType, body }] });
      const descriptor = { mediaType, digest: digestOf(body), size: body.length };
      const { reference, registry } = await setUp(context, {}, {}, { image, blob: body, descriptor });
      registry.script({ kind: 'blob', fault: [fault, chunked()] });
      const client = await openRegistry({ retries: 0, certsDir: '/nowhere' });
      context.after(() => client.close());
      assertSameBytes(await readAll(await client.openBlob(reference, descriptor)), body);
      assert.equal(registry.count('blob'), downloads, `${mediaType} ${fault.name}`);
    }
});

test('a blob that breaks off fails with a temporary error, however it breaks off', async context => {
  const bench = await setUp(context, {}, { timeoutMs: 300 });
  for (const fault of [
    reset({ afterBytes: 5000 }),
    finish({ afterBytes: 5000 }),
    hang({ afterBytes: 5000 }),
    [chunked(), finish({ afterBytes: 5000 })],
    [chunked(), reset({ afterBytes: 5000 })],
    [closeDelimited(), finish({ afterBytes: 5000 })],
    shortened(10),
    drip({ bytes: 1, everyMs: 20 }),
  ]) {
    bench.registry.script({ kind: 'blob', fault });
    await assert.rejects(fetchWhole(bench), (error: unknown) => {
      assert.ok(error instanceof RegistryUnavailable || error instanceof RegistryTimeout, String(error));
      assert.equal(error.temporary, true);
      return true;
    });
  }
});

test('a timeout, too, lowers the limit of a host', async context => {
  const bench = await setUp(context, {}, { timeoutMs: 100, retries: 0, concurrency: 3 });
  bench.registry.script({ fault: hang() });
  const ask = (): Promise<unknown> => bench.engine.fetchManifest(bench.reference, SIGNAL).catch(() => undefined);
  const many = Array.from({ length: 12 }, () => ask);
  await Promise.all(many.map(it => it()));
  const before = bench.registry.count();
  bench.registry.script({ fault: delay(20) });
  const begun = many.map(it => it());
  await Promise.race(begun);
  // At most twelve requests are under way, from the start on; half as many after the timeout.
  const after = bench.registry.count() - before;
  assert.ok(after <= 8, `${after} requests`);
  await Promise.all(begun);
});

test('a reply that never begins is a timeout', async context => {
  // Long enough for the request to arrive, however busy the machine.
  const { engine, reference, registry } = await setUp(context, {}, { timeoutMs: 1500, retries: 1 });
  registry.script({ fault: hang() });
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), RegistryTimeout);
  assert.equal(registry.requests.length, 2);
});

test('a blob goes on at an offset, or from the start where the registry cannot', async context => {
  const bench = await setUp(context);
  const { blob, registry } = bench;
  const went = await fetchWhole(bench, 40_000);
  assert.equal(went.offset, 40_000);
  assertSameBytes(went.bytes, blob.subarray(40_000));
  assert.equal(registry.bytesServed('blob'), 60_000);
  for (const fault of [
    rangeIgnored(),
    rangeRefused(),
    wrongContentRange(),
    wrongContentRange(null),
    wrongContentRange('bytes 40000-50000/100000'),
    wrongContentRange('bytes 40000-99999/999999'),
    wrongContentRange('bytes 30000-99999/100000'),
    gzipEncoded(),
  ]) {
    registry.script({ kind: 'blob', ranged: true, fault });
    const again = await fetchWhole(bench, 40_000);
    assert.equal(again.offset, 0, fault.name);
    assertSameBytes(again.bytes, blob, fault.name);
  }
  assert.equal((await fetchWhole(bench, blob.length)).offset, 0);
});

test('a range survives redirects; for an expired signed URL the registry is asked again', async context => {
  const bench = await setUp(context, { blobRedirect: 'cross-origin' });
  assert.equal((await fetchWhole(bench, 40_000)).offset, 40_000);
  bench.registry.reset();
  bench.registry.script({ kind: 'blob', server: 'registry', first: 1, fault: expiringUrl({ uses: 0 }) });
  assertSameBytes((await fetchWhole(bench, 40_000)).bytes, bench.blob.subarray(40_000));
  assert.equal(bench.registry.count({ server: 'registry' }), 2);
});

test('fifty redirects are followed, relative and across origins, but not more and no circle', async context => {
  const bench = await setUp(context);
  const { registry } = bench;
  for (const fault of [
    redirectChain(50),
    redirectChain(3, { crossOrigin: true }),
    redirectChain(2, { relative: true, code: 302 }),
  ]) {
    registry.script({ kind: 'blob', server: 'registry', fault });
    assertSameBytes((await fetchWhole(bench)).bytes, bench.blob);
  }
  for (const [fault, words] of [
    [redirectChain(51), /50 times/],
    [redirectLoop(), /circle/],
    [redirect('ftp://x/y'), /neither http nor https/],
    [redirect('http://['), /usable Location/],
  ] as const) {
    registry.script({ kind: 'blob', fault });
    await assert.rejects(fetchWhole(bench), (error: unknown) => {
      assert.ok(error instanceof RegistryRedirect, String(error));
      assert.match(error.message, words);
      return true;
    });
  }
});

test('a secret in a redirect is never shown', async context => {
  const bench = await setUp(context, {}, { retries: 0 });
  bench.registry.script({ kind: 'blob', fault: redirect('http://user:planted@127.0.0.1:1/x?Signature=planted') });
  await assert.rejects(fetchWhole(bench), (error: unknown) => {
    assert.ok(error instanceof RegistryRefused);
    assert.ok(!everythingOf(error).includes('planted'));
    return true;
  });
});

test('all pages of tags are read in order; a circle and another host are refused', async context => {
  const { engine, reference, registry, image } = await setUp(context);
  const names = Array.from({ length: 7 }, (_, index) => `2.0.${index}`);
  for (const name of names) registry.push('team/plugin', name, image);
  assert.deepEqual(await engine.listTags(reference, SIGNAL), ['1.0.0', ...names]);
  const list = '/v2/team/plugin/tags/list';
  const page = (tags: string[] | null, link?: string) => [
    wrongBytes(JSON.stringify({ name: 'x', tags })),
    ...(link === undefined ? [] : [headers({ link: `<${link}>; rel="next"` })]),
  ];
  registry.script([
    { kind: 'tags', when: ({ url }) => url.includes('last=b'), fault: page(['c', 'a']) },
    { kind: 'tags', when: ({ url }) => url.includes('last=a'), fault: page(['b'], `${registry.url}${list}?last=b`) },
    { kind: 'tags', fault: page(['a', '../evil', 'x y'], `${list}?last=a`) },
  ]);
  assert.deepEqual(await engine.listTags(reference, SIGNAL), ['a', 'b', 'c']);
  registry.script({ kind: 'tags', fault: page(null) });
  assert.deepEqual(await engine.listTags(reference, SIGNAL), []);
  registry.script({ kind: 'tags', fault: page(['a'], `${list}?last=a`) });
  await assert.rejects(engine.listTags(reference, SIGNAL), /without end/);
  registry.script({ kind: 'tags', fault: page(['a'], 'http://evil.example/v2/next') });
  await assert.rejects(engine.listTags(reference, SIGNAL), /another host/);
  registry.script([
    { kind: 'tags', when: ({ url }) => url.includes('last=a'), fault: status(404) },
    { kind: 'tags', fault: page(['a'], `${list}?last=a`) },
  ]);
  await assert.rejects(engine.listTags(reference, SIGNAL), (error: unknown) => {
    assert.ok(error instanceof RegistryProtocol, 'the repository is there: its first page was');
    return /does not have all pages of the tag list/.test(error.message);
  });
});

test('the pages of a tag list are limited together, not only each', slow, async context => {
  const { engine, reference, registry } = await setUp(context);
  const list = '/v2/team/plugin/tags/list';
  const page = (number: number, tags: readonly string[]) => [
    wrongBytes(JSON.stringify({ name: 'x', tags })),
    headers({ link: `<${list}?last=p${number + 1}>; rel="next"` }),
  ];
  const endless = (tags: (number: number) => readonly string[]): void =>
    registry.script(
      [7, 6, 5, 4, 3, 2, 1, 0].map(number => ({
        kind: 'tags',
        when: ({ url }) => number === 0 || url.includes(`last=p${number}`),
        fault: page(number, tags(number)),
      })),
    );
  const asked = () => registry.requests.filter(({ kind }) => kind === 'tags').length;
  endless(() => ['x'.repeat(7_000_000)]);
  await assert.rejects(engine.listTags(reference, SIGNAL), /without end/);
  assert.equal(asked(), 5);
  endless(number => Array.from({ length: 30_000 }, (_, index) => `${number}.${index}`));
  await assert.rejects(engine.listTags(reference, SIGNAL), { found: /^120000 tags in \d+ bytes$/ });
  assert.equal(asked(), 5 + 4);
});

test('a warning of the registry is reported once', async context => {
  const { engine, reference, registry, events } = await setUp(context);
  registry.script({ fault: headers({ warning: '299 - "this tag goes away"' }) });
  await engine.resolve(reference, SIGNAL);
  await engine.resolve(reference, SIGNAL);
  assert.deepEqual(
    events.map(event => event.type === 'warning' && event.message),
    ['this tag goes away'],
  );
});

test('a registry that starts late is waited for; one that stays down is an error', async context => {
  const bench = await setUp(context);
  await bench.registry.down();
  const resolving = openEngine(context, { backoffMs: 50 }).engine.resolve(bench.reference, SIGNAL);
  await bench.registry.up();
  assert.equal(await resolving, bench.image.digest);
  await bench.registry.down();
  await assert.rejects(bench.engine.resolve(bench.reference, SIGNAL), RegistryRefused);
});

test('resets of whole connections are survived', async context => {
  const bench = await setUp(context);
  bench.registry.resetConnections(3);
  assert.equal(await bench.engine.resolve(bench.reference, SIGNAL), bench.image.digest);
});

test('a name that does not exist fails immediately', async context => {
  const { engine } = openEngine(context);
  const reference = { registry: 'no-such-registry.invalid', repository: 'a/b', tag: '1' };
  await assert.rejects(engine.resolve(reference, SIGNAL), (error: unknown) => {
    // A machine without a name server reports "try again" instead.
    assert.ok(error instanceof RegistryDns);
    assert.match(error.message, /no-such-registry\.invalid/);
    return true;
  });
});

test('a registry on IPv6 only is reached by its literal and by name', async context => {
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  try {
    registry = await startRegistry({ address: '::1' });
  } catch {
    return context.skip('no IPv6 here');
  }
  context.after(() => registry.close());
  const { image } = sampleImage(10);
  registry.push('a/b', '1', image);
  const { engine } = openEngine(context);
  const port = new URL(registry.url).port;
  const names = (await lookup('localhost', { all: true })).map(({ address }) => address);
  for (const host of [`[::1]:${port}`, ...(names.includes('::1') ? [`localhost:${port}`] : [])])
    assert.equal(await engine.resolve({ registry: host, repository: 'a/b', tag: '1' }, SIGNAL), image.digest, host);
});

test('an abort ends every kind of wait with its reason', async context => {
  const bench = await setUp(context, {}, { backoffMs: 60_000, retries: 5 });
  const { engine, reference, descriptor, registry } = bench;
  const reason = new Error('enough');
  const abortAt = async (start: (signal: AbortSignal) => Promise<unknown>, due: () => boolean): Promise<void> => {
    const controller = new AbortController();
    const poll = setInterval(() => due() && controller.abort(reason), 1);
    await assert.rejects(start(controller.signal), (error: unknown) => error === reason);
    clearInterval(poll);
  };
  registry.script({ fault: hang() });
  await abortAt(
    signal => engine.resolve(reference, signal),
    () => registry.requests.length > 0,
  );
  registry.script({ fault: status(503) });
  await abortAt(
    signal => engine.resolve(reference, signal),
    () => bench.events.length > 0,
  );
  registry.reset();
  registry.script({ kind: 'blob', fault: hang({ afterBytes: 1000 }) });
  await abortAt(
    async signal => readAll((await engine.fetchBlob(reference, descriptor, 0, signal)).body),
    () => registry.bytesServed('blob') > 0,
  );
  await assert.rejects(engine.resolve(reference, AbortSignal.abort(reason)), (error: unknown) => error === reason);
});

test('a reader that stops early closes the connection and frees its slot', async context => {
  const bench = await setUp(context, {}, { concurrency: 1 });
  for (let turn = 0; turn < 5; turn += 1) {
    const { body } = await bench.engine.fetchBlob(bench.reference, bench.descriptor, 0, SIGNAL);
    body.destroy();
  }
  assertSameBytes((await fetchWhole(bench)).bytes, bench.blob);
});

test('close ends pending downloads', async context => {
  const { engine, reference, registry } = await setUp(context, {}, { retries: 0 });
  registry.script({ fault: hang() });
  const resolving = assert.rejects(engine.resolve(reference, SIGNAL));
  while (registry.requests.length === 0) await new Promise(resolve => setImmediate(resolve));
  await engine.close();
  await resolving;
});

test('close does not wait for a server that accepts a connection and sends nothing', async context => {
  const server = createServer(socket => void socket.resume());
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { engine } = openEngine(context, { retries: 0, timeoutMs: 100 });
  const registry = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  await assert.rejects(engine.resolve({ registry, repository: 'a/b', tag: '1' }, SIGNAL), RegistryTimeout);
  await engine.close();
  await new Promise(resolve => server.close(resolve));
});

test('one signal for hundreds of requests causes no warning and keeps no listener', async context => {
  const { engine, reference } = await setUp(context);
  const { signal } = new AbortController();
  const warnings: Error[] = [];
  const listen = (warning: Error): void => void warnings.push(warning);
  process.on('warning', listen);
  context.after(() => process.off('warning', listen));
  await Promise.all(Array.from({ length: 100 }, () => engine.fetchManifest(reference, signal)));
  await new Promise(resolve => setImmediate(resolve));
  assert.deepEqual(warnings, []);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('a registry that allows two simultaneous downloads delivers all of them in the end', async context => {
  const bench = await setUp(context, { latencyMs: 2 }, { concurrency: 8, backoffMs: 20 }, sampleImage(2000));
  const { registry, engine, reference, descriptor } = bench;
  registry.script({ kind: 'blob', when: ({ inFlight }) => inFlight > 2, fault: status(503) });
  const bodies = await Promise.all(
    Array.from({ length: 40 }, async () => readAll((await engine.fetchBlob(reference, descriptor, 0, SIGNAL)).body)),
  );
  assert.ok(bodies.every(body => body.equals(bench.blob)));
  // Without backing off, all but two would be refused in each round.
  assert.ok(registry.count({ status: 503 }) < 80, String(registry.count({ status: 503 })));
});

test('HTML instead of a blob is a portal, unless its length is that of the blob', async context => {
  const bench = await setUp(context, {}, { retries: 0 });
  bench.registry.script({ kind: 'blob', fault: captivePortal() });
  await assert.rejects(
    fetchWhole(bench),
    (error: unknown) => error instanceof RegistryProtocol && /portal/.test(error.hint),
  );
  bench.registry.script({ kind: 'blob', fault: headers({ 'content-type': 'text/html' }) });
  assertSameBytes((await fetchWhole(bench)).bytes, bench.blob);
});

test('a blob that is longer than its manifest says is not downloaded', async context => {
  const bench = await setUp(context, {}, { retries: 0 });
  const { engine, reference, descriptor } = bench;
  const shorter = { ...descriptor, size: 10 };
  await assert.rejects(engine.fetchBlob(reference, shorter, 0, SIGNAL), /length/);
  bench.registry.script({ kind: 'blob', fault: endless() });
  const { body } = await engine.fetchBlob(reference, descriptor, 0, SIGNAL);
  assert.deepEqual(await readAll(body), bench.blob, 'a body that goes on is read up to the blob’s own end');
});

for (const bytes of [20_000, 200_000])
  test(`${bytes} bytes of headers are read`, async context => {
    const bench = await setUp(context);
    bench.registry.script({ fault: headers({ 'x-pad': 'a'.repeat(bytes) }) });
    await bench.engine.fetchManifest(bench.reference, SIGNAL);
    assert.ok((await fetchWhole(bench)).bytes.equals(bench.blob));
    assert.equal(bench.registry.count(), 2);
  });

test('endless headers are reported as such', async context => {
  const { engine, reference, registry } = await setUp(context);
  registry.script({ fault: headers({ 'x-pad': 'a'.repeat(300_000) }) });
  await assert.rejects(engine.fetchManifest(reference, SIGNAL), (error: unknown) => {
    assert.ok(error instanceof RegistryProtocol);
    assert.match(error.message, /more headers than the client accepts/);
    return true;
  });
  assert.equal(registry.count(), 2);
});

test('a reply with two Content-Length headers is refused, even if they agree', async context => {
  for (const second of [0, -1]) {
    const bench = await setUp(context, {}, { retries: 1 });
    const { length } = bench.blob;
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\nContent-Length: ${length + second}\r\n\r\n`;
    bench.registry.script({ kind: 'blob', fault: raw(Buffer.concat([Buffer.from(head), bench.blob])) });
    await assert.rejects(fetchWhole(bench), RegistryRefusal);
  }
});

test('storage that lacks a blob at first is asked again, through the registry', async context => {
  const bench = await setUp(context, { blobRedirect: 'cross-origin' });
  bench.registry.script({ kind: 'blob', server: 'storage', first: 2, fault: status(404) });
  assert.ok((await fetchWhole(bench)).bytes.equals(bench.blob));
  assert.equal(bench.registry.count({ kind: 'blob', server: 'storage' }), 3);
  assert.equal(bench.registry.count({ kind: 'blob', server: 'registry' }), 3);
});

test('storage that lacks a blob is believed the third time, the registry itself immediately', async context => {
  const bench = await setUp(context, { blobRedirect: 'cross-origin' });
  const refused = (error: unknown): boolean =>
    error instanceof RegistryNotFound && error.missing === 'blob' && error.status === 404;
  bench.registry.script({ kind: 'blob', server: 'storage', fault: status(404) });
  await assert.rejects(fetchWhole(bench), refused);
  assert.equal(bench.registry.count({ kind: 'blob', server: 'storage' }), 3);
  bench.registry.script({ kind: 'blob', server: 'registry', fault: status(404) });
  await assert.rejects(fetchWhole(bench), refused);
  assert.equal(bench.registry.count({ kind: 'blob', server: 'registry' }), 4);
});

for (const where of ['query', 'an element', 'percent-encoded'])
  test(`what storage repeats of a signed URL is not shown (${where})`, async context => {
    const bench = await setUp(context, {}, { retries: 0 });
    const secret = 'PLANTED+sig/nature=';
    const encoded = encodeURIComponent(secret);
    const said = {
      query: `<StringToSign>GET /x?Signature=${encoded}</StringToSign>`,
      'an element': `<SignatureProvided>${secret}</SignatureProvided><Seen>${secret}</Seen>`,
      'percent-encoded': `you asked for /x?Expires=1&amp;Signature=${encoded} and PLANTEDTOKEN`,
    }[where];
    const body = `<Error><Code>SignatureDoesNotMatch</Code><Message>no match</Message>${said}</Error>`;
    bench.registry.script([
      { kind: 'blob', server: 'registry', fault: redirect(`/moved?Expires=1&Signature=${encoded}&tok=PLANTEDTOKEN`) },
      { path: /^\/moved/, fault: status(403, { body }) },
    ]);
    await assert.rejects(fetchWhole(bench), (error: unknown) => {
      assert.ok(error instanceof RegistryRefusal);
      assert.match(error.registrySaid ?? '', /no match/);
      assert.doesNotMatch(everythingOf(error), /PLANTED/);
      return true;
    });
  });

test('storage that asks for a login is named, and a 404 in the manner of another API is no missing repository', async context => {
  const bench = await setUp(context, { blobRedirect: 'cross-origin' }, { retries: 0 });
  const challenge = rewrite('challenge', said => ({
    ...said,
    status: 401,
    headers: { ...said.headers, 'www-authenticate': 'Basic realm="storage"' },
  }));
  bench.registry.script({ kind: 'blob', server: 'storage', fault: challenge });
  await assert.rejects(fetchWhole(bench), (error: unknown) => {
    assert.ok(error instanceof RegistryDenied);
    assert.match(error.message, /^\S+, to which \S+ redirects, does not allow the blob to be read$/);
    return true;
  });
  for (const json of [
    { kind: 'Status', status: 'Failure', code: 404 },
    { detail: 'Not Found' },
    { type: 'about:blank', title: 'Not Found', status: 404 },
  ]) {
    const fresh = await setUp(context, {}, { retries: 0 });
    const plain = rewrite('foreign', said => {
      const { 'docker-distribution-api-version': _, ...kept } = said.headers;
      const headers = { ...kept, 'content-type': 'application/json' };
      return { ...said, status: 404, headers, body: Buffer.from(JSON.stringify(json)) };
    });
    fresh.registry.script({ fault: plain });
    await assert.rejects(fetchWhole(fresh), (error: unknown) => {
      assert.ok(error instanceof RegistryNotFound);
      assert.match(error.message, /is probably not a registry: it answers 404 with a document of another kind/);
      return true;
    });
  }
});

test('a 206 with all of a blob is accepted, though no range was requested', async context => {
  const bench = await setUp(context);
  const last = bench.blob.length - 1;
  const whole = rewrite('206', said => ({
    ...said,
    status: 206,
    headers: { ...said.headers, 'content-range': `bytes 0-${last}/${last + 1}` },
  }));
  bench.registry.script({ kind: 'blob', fault: whole });
  assert.ok((await fetchWhole(bench)).bytes.equals(bench.blob));
  const part = rewrite('206', said => ({ ...said, status: 206, body: said.body?.subarray(1) ?? Buffer.alloc(0) }));
  bench.registry.script({ kind: 'blob', first: 1, fault: part });
  assert.ok((await fetchWhole(bench)).bytes.equals(bench.blob));
});

test('a warning that repeats a password is shown without it', async context => {
  const { engine, reference, registry, events } = await setUp(
    context,
    { auth: { kind: 'basic', user: 'u', password: 'planted-secret' } },
    { username: 'u', password: 'planted-secret' },
  );
  const echo: Fault = {
    name: 'echo',
    rewrite: (said, { request }) => {
      const given = request.headers.authorization ?? '';
      const plain = Buffer.from(given.slice(6), 'base64').toString();
      return { ...said, headers: { ...said.headers, warning: `299 - "saw ${given}, which is ${plain}"` } };
    },
  };
  registry.script({ fault: echo });
  await engine.fetchManifest(reference, SIGNAL);
  const told = JSON.stringify(events);
  assert.match(told, /saw Basic \*\*\*/);
  assert.doesNotMatch(told, /planted|dTpwbGFudGVk/);
});
