import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { RegistryDigestMismatch, RegistryProtocol, RegistryRedirect, RegistryRefusal } from '../../registry/errors.ts';
import { openPusher, type PushBlob, type Pusher } from '../../registry/push/openPusher.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { headers, wrongDigest } from '../support/faults.ts';
import { digestOf, imageOf } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import { everythingOf, SIGNAL } from './engineBench.ts';
import { slowNetwork } from './slowNetwork.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** Starts a server that reads each request to its end before it answers; returns its port. */
async function serve(context: TestContext, answer: Answer): Promise<number> {
  const server = createServer((request, response) => {
    request.resume().once('end', () => answer(request, response));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A registry without blobs whose uploads go to `location`. */
function sending(context: TestContext, location: string): Promise<number> {
  return serve(context, ({ method }, response) =>
    method === 'POST' ? response.writeHead(202, { location }).end() : response.writeHead(404).end(),
  );
}

function pusherOf(context: TestContext, options: RegistryOptions = {}): Pusher {
  const pusher = openPusher({ retries: 0, plainHttp: true, certsDir: '/nowhere', ...options });
  context.after(() => pusher.close());
  return pusher;
}

function blobOf(bytes: Buffer): PushBlob {
  return { digest: digestOf(bytes), size: bytes.length, open: async () => bytes };
}

const SMALL = blobOf(Buffer.from('abc'));

test('an upload goes to a private address only from a registry with such an address, or to a host that the user allows', async context => {
  let puts = 0;
  const inside = await serve(context, ({ method }, response) => {
    puts += method === 'PUT' ? 1 : 0;
    response.writeHead(201).end();
  });
  slowNetwork(context, {
    'registry.test': { '192.0.2.1': 0 },
    'inner.test': { '10.1.1.1': 0 },
    'secret.test': { '10.1.1.2': 0 },
    'metadata.test': { '169.254.169.254': 0 },
  });
  const pushBy = async (registry: string, host: string, options: RegistryOptions = {}): Promise<unknown> => {
    const port = await sending(context, `http://${host}/u?sig=PLANTED`);
    const at = { registry: `${registry}:${port}`, repository: 'a/b' };
    return pusherOf(context, options)
      .pushBlob(at, SMALL, undefined, SIGNAL)
      .catch((error: unknown) => error);
  };
  for (const host of [`secret.test:${inside}`, `metadata.test:${inside}`, `127.0.0.1:${inside}`, '10.9.9.9:1']) {
    const error = await pushBy('registry.test', host);
    assert.ok(error instanceof RegistryRedirect, `${host} ${error}`);
    assert.match(error.message, /^registry\.test:\d+ sends uploads to /);
    assert.ok(error.message.includes(host) && !everythingOf(error).includes('PLANTED'), error.message);
  }
  assert.equal(puts, 0);
  const allowHost = [`secret.test:${inside}`];
  assert.equal(await pushBy('registry.test', `secret.test:${inside}`, { allowHost }), 'uploaded');
  assert.equal(await pushBy('inner.test', `secret.test:${inside}`), 'uploaded');
  assert.equal(puts, 2);
});

test('a host of uploads that fails is named together with the registry that named it', async context => {
  const broken = await serve(context, (_, response) => void response.writeHead(400).end());
  const port = await sending(context, `http://127.0.0.1:${broken}/u`);
  const at = { registry: `127.0.0.1:${port}`, repository: 'a/b' };
  await assert.rejects(pusherOf(context).pushBlob(at, SMALL, undefined, SIGNAL), (error: unknown) => {
    assert.ok(error instanceof RegistryRefusal);
    assert.ok(error.message.startsWith(`127.0.0.1:${port} sends uploads to the upload host 127.0.0.1:${broken}`));
    return true;
  });
});

test('a Location that is no web address is refused, without its secrets', async context => {
  for (const location of ['ftp://u:PLANTED@h/x?PLANTED', 'http://[', 'mailto:x']) {
    const at = { registry: `127.0.0.1:${await sending(context, location)}`, repository: 'a/b' };
    await assert.rejects(pusherOf(context).pushBlob(at, SMALL, undefined, SIGNAL), (error: unknown) => {
      assert.ok(error instanceof RegistryProtocol, `${location} ${error}`);
      assert.ok(!everythingOf(error).includes('PLANTED'));
      return true;
    });
  }
});

test('an upload in chunks goes on at the last Location, with the bytes that the registry lacks', async context => {
  const bytes = randomBytes(9 * 1024 * 1024);
  const seen: string[] = [];
  let [received, state, failures] = [0, 0, 0];
  const port = await serve(context, ({ method, url = '', headers: sent }, response) => {
    const length = Number(sent['content-length'] ?? 0);
    seen.push(`${method} ${length}`);
    const location = () => ({ location: `/u?state=${state}` });
    if (method === 'HEAD') return response.writeHead(404).end();
    if (method === 'POST') return response.writeHead(202, location()).end();
    if (!url.includes(`state=${state}`)) return response.writeHead(404).end();
    if (method === 'GET') return response.writeHead(204, { ...location(), range: `0-${received - 1}` }).end();
    if (method === 'PUT') return response.writeHead(length > 0 ? 413 : received === bytes.length ? 201 : 400).end();
    if (received > 0 && failures++ === 0) return response.writeHead(503).end();
    received += length;
    state += 1;
    return response.writeHead(202, location()).end();
  });
  const at = { registry: `127.0.0.1:${port}`, repository: 'a/b' };
  assert.equal(await pusherOf(context).pushBlob(at, blobOf(bytes), undefined, SIGNAL), 'uploaded');
  const count = (start: string): number => seen.filter(it => it.startsWith(start)).length;
  assert.deepEqual([count('POST'), count('GET'), count('PATCH 8388608'), count('PATCH 1048576')], [1, 2, 1, 2]);
});

/** A registry that takes uploads in chunks only: it answers `whole` to others, and 413 to bodies of more than `most` bytes. */
async function inChunks(
  context: TestContext,
  whole: number,
  most = Number.POSITIVE_INFINITY,
  more: Readonly<Record<string, string>> = {},
) {
  const seen: string[] = [];
  const stored: Buffer[] = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    const { method } = request;
    const received = stored.reduce((sum, { length }) => sum + length, 0);
    seen.push(`${method} ${body.length}`);
    if (method === 'HEAD') return response.writeHead(404).end();
    if (method === 'POST') {
      stored.length = 0;
      return response.writeHead(202, { location: '/u', ...more }).end();
    }
    if (method === 'GET') return response.writeHead(204, { location: '/u', range: `0-${received - 1}` }).end();
    if (body.length > most) return response.writeHead(413).end();
    if (method === 'PUT') return response.writeHead(body.length > 0 ? whole : 201).end();
    stored.push(body);
    return response.writeHead(202, { location: '/u' }).end();
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const at = { registry: `127.0.0.1:${(server.address() as AddressInfo).port}`, repository: 'a/b' };
  const patches = (): string[] => seen.filter(it => it.startsWith('PATCH'));
  return { at, patches, content: () => Buffer.concat(stored) };
}

test('a registry that refuses a blob as a whole gets chunks', async context => {
  for (const status of [400, 405]) {
    const { at, patches, content } = await inChunks(context, status);
    assert.equal(await pusherOf(context).pushBlob(at, SMALL, undefined, SIGNAL), 'uploaded');
    assert.deepEqual([patches(), String(content())], [['PATCH 3'], 'abc']);
  }
});

test('chunks are not smaller than the registry says', async context => {
  const MiB = 1024 * 1024;
  const bytes = randomBytes(12 * MiB);
  const least = { 'oci-chunk-min-length': String(10 * MiB) };
  const { at, patches, content } = await inChunks(context, 400, Number.POSITIVE_INFINITY, least);
  assert.equal(await pusherOf(context).pushBlob(at, blobOf(bytes), undefined, SIGNAL), 'uploaded');
  assert.deepEqual(patches(), [`PATCH ${10 * MiB}`, `PATCH ${2 * MiB}`]);
  assert.ok(content().equals(bytes));
  const strict = await inChunks(context, 400, 1 * MiB, least);
  await assert.rejects(pusherOf(context).pushBlob(strict.at, blobOf(bytes), undefined, SIGNAL), { status: 413 });
  assert.deepEqual(strict.patches(), [`PATCH ${10 * MiB}`]);
});

test('the digest is added to the query of a Location, which may be empty or signed', async context => {
  for (const [location, path] of [
    ['/u', '/u?'],
    ['/u?', '/u?'],
    ['/u?state=a%2Bb', '/u?state=a%2Bb&'],
    ['/u?state=x&', '/u?state=x&'],
    ['/u?state=x#part', '/u?state=x&'],
  ] as const) {
    let put: string | undefined;
    const port = await serve(context, ({ method, url }, response) => {
      if (method === 'PUT') put = url;
      response.writeHead(method === 'PUT' ? 201 : method === 'POST' ? 202 : 404, { location }).end();
    });
    const at = { registry: `127.0.0.1:${port}`, repository: 'a/b' };
    assert.equal(await pusherOf(context).pushBlob(at, SMALL, undefined, SIGNAL), 'uploaded');
    assert.equal(put, `${path}digest=${encodeURIComponent(SMALL.digest)}`, location);
  }
});

test('a registry without HEAD is asked by GET, and gets blobs again', async context => {
  const image = imageOf({ layers: [] });
  let uploads = 0;
  const port = await serve(context, ({ method, url }, response) => {
    if (method === 'HEAD') return response.writeHead(405).end();
    if (method === 'POST') return response.writeHead(202, { location: '/u' }).end();
    if (method === 'PUT') return response.writeHead(201).end(String(uploads++));
    if (url !== '/v2/a/b/manifests/1') return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': image.mediaType }).end(image.manifest);
  });
  const at = { registry: `127.0.0.1:${port}`, repository: 'a/b' };
  const pusher = pusherOf(context);
  assert.equal(await pusher.digestAt({ ...at, tag: '1' }, SIGNAL), image.digest);
  assert.equal(await pusher.digestAt({ ...at, tag: '2' }, SIGNAL), undefined);
  assert.equal(await pusher.pushBlob(at, SMALL, undefined, SIGNAL), 'uploaded');
  assert.equal(uploads, 1);
});

test('a registry that refuses chunks as well is reported by its first reply', async context => {
  const seen: string[] = [];
  const port = await serve(context, ({ method }, response) => {
    seen.push(method ?? '');
    if (method === 'POST') return response.writeHead(202, { location: '/u' }).end();
    return response.writeHead(method === 'PUT' ? 400 : 404).end();
  });
  const at = { registry: `127.0.0.1:${port}`, repository: 'a/b' };
  await assert.rejects(
    pusherOf(context).pushBlob(at, SMALL, undefined, SIGNAL),
    (error: unknown) => error instanceof RegistryProtocol && error.status === 400,
  );
  assert.equal(seen.filter(it => it === 'PATCH').length, 1);
});

test('chunks that are too large are halved, down to 256 KiB', async context => {
  const KiB = 1024;
  const bytes = randomBytes(1500 * KiB);
  const { at, patches, content } = await inChunks(context, 201, 300 * KiB);
  assert.equal(await pusherOf(context).pushBlob(at, blobOf(bytes), undefined, SIGNAL), 'uploaded');
  assert.ok(content().equals(bytes));
  const sizes = [1024, 512, 256, 256, 256, 256, 256, 220].map(size => `PATCH ${size * KiB}`);
  assert.deepEqual(patches(), sizes);

  const strict = await inChunks(context, 201, 100 * KiB);
  await assert.rejects(
    pusherOf(context).pushBlob(strict.at, blobOf(bytes), undefined, SIGNAL),
    (error: unknown) => error instanceof RegistryProtocol && error.status === 413,
  );
  assert.deepEqual(strict.patches(), sizes.slice(0, 3), 'no chunk is sent again in the same size');
});

test('the digest of a tag is read from the manifest where the reply to HEAD has none', async context => {
  const registry = await startRegistry();
  context.after(() => registry.close());
  const image = imageOf({ layers: [] });
  registry.push('a/b', '1', image);
  registry.script({ method: 'HEAD', fault: headers({ 'docker-content-digest': null }) });
  const at = { registry: registry.host, repository: 'a/b' };
  assert.equal(await pusherOf(context).digestAt({ ...at, tag: '1' }, SIGNAL), image.digest);
  assert.equal(await pusherOf(context).digestAt({ ...at, tag: '2' }, SIGNAL), undefined);
});

test('a registry that stores other bytes than the pushed manifest is reported', async context => {
  const registry = await startRegistry();
  context.after(() => registry.close());
  const image = imageOf({ layers: [] });
  registry.push('a/b', null, image);
  const { manifest: bytes, digest, mediaType } = image;
  const at = { registry: registry.host, repository: 'a/b', tag: '1' };
  const push = () => pusherOf(context).pushManifest(at, { bytes, digest, mediaType }, SIGNAL);
  const sha512 = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
  for (const said of [digest, sha512, 'sha256:abc', null]) {
    registry.script({ method: 'PUT', fault: headers({ 'docker-content-digest': said }) });
    await push();
  }
  for (const other of [`sha256:${'0'.repeat(64)}`, `sha512:${'0'.repeat(128)}`]) {
    registry.reset();
    registry.script({ method: 'PUT', fault: wrongDigest(other) });
    await assert.rejects(push(), (error: unknown) => {
      assert.ok(error instanceof RegistryDigestMismatch);
      assert.deepEqual([error.expected, error.found], [other.startsWith('sha512') ? sha512 : digest, other]);
      return true;
    });
    assert.equal(registry.count({ method: 'PUT' }), 1, 'it is not repeated');
  }
});
