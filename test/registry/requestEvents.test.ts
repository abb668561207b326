import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { openRegistry } from '../../registry/openRegistry.ts';
import type { RequestEvent } from '../../registry/registry.ts';
import { redirect, reset, status } from '../support/faults.ts';
import { startRegistry } from '../support/registry.ts';
import { sampleImage } from './engineBench.ts';

test('every request is reported once, with its size and attempt, and without secrets', async context => {
  const server = await startRegistry({ auth: { kind: 'bearer', user: 'u', password: 'secret' } });
  context.after(() => server.close());
  const { image, descriptor, blob } = sampleImage();
  server.push('team/plugin', '1.0.0', image);
  const storage = await startRegistry();
  context.after(() => storage.close());
  storage.push('team/plugin', '1.0.0', image);
  const signed = `${storage.url}/v2/team/plugin/blobs/${descriptor.digest}?Signature=verysecret`;
  server.script([
    { kind: 'manifest', nth: 2, fault: status(503, { retryAfter: 0 }) },
    { kind: 'blob', fault: redirect(signed) },
  ]);
  const events: RequestEvent[] = [];
  const registry = await openRegistry({
    username: 'u',
    password: 'secret',
    certsDir: '/nowhere',
    onRequest: event => events.push(event),
  });
  const reference = { registry: server.host, repository: 'team/plugin', tag: '1.0.0' };
  await registry.fetchImage(reference);
  assert.ok((await buffer(await registry.openBlob(reference, descriptor))).equals(blob));
  await registry.close();
  assert.equal(events.length, registry.traffic.requests);
  assert.deepEqual(
    events.map(({ method, host, path, status: code, attempt }) => [method, host, path.split('/')[1], code, attempt]),
    [
      ['GET', server.host, 'v2', 401, 1],
      ['GET', server.host, 'token', 200, 1],
      ['GET', server.host, 'v2', 503, 1],
      ['GET', server.host, 'v2', 200, 2],
      ['GET', server.host, 'v2', 307, 1],
      ['GET', storage.host, 'v2', 200, 1],
    ],
  );
  assert.equal(events.at(-1)?.bytes, blob.length);
  assert.ok(events.every(({ ms, bytes }) => ms >= 0 && bytes >= 0));
  assert.doesNotMatch(JSON.stringify(events), /secret|Signature|\?/);
});

test('a request without a reply is reported with its error', async context => {
  const server = await startRegistry();
  context.after(() => server.close());
  server.script({ fault: reset() });
  const events: RequestEvent[] = [];
  const registry = await openRegistry({ retries: 1, onRequest: event => events.push(event) });
  context.after(() => registry.close());
  const reference = { registry: server.host, repository: 'team/plugin', tag: '1.0.0' };
  await assert.rejects(registry.resolve(reference));
  assert.deepEqual(
    events.map(({ method, status: code, attempt }) => [method, code, attempt]),
    [
      ['HEAD', undefined, 1],
      ['HEAD', undefined, 2],
    ],
  );
  assert.match(events[0]?.error ?? '', /broke: it was reset/);
});
