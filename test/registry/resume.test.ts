import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Refusal } from '../../base/refusal.ts';
import { cleanCache, listCache } from '../../registry/blobs/cache.ts';
import type { Descriptor } from '../../registry/image.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import { parseReference, type Reference } from '../../registry/reference.ts';
import type { Registry, RegistryEvent, RegistryOptions } from '../../registry/registry.ts';
import {
  captivePortal,
  closeDelimited,
  corrupt,
  drip,
  finish,
  hang,
  rangeIgnored,
  rangeRefused,
  redirectLoop,
  reset,
  shiftedRange,
  status,
  wrongContentRange,
} from '../support/faults.ts';
import { digestOf, imageOf } from '../support/images.ts';
import { refused } from '../support/refused.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { slowUnless } from '../support/slow.ts';

const WASM = 'application/vnd.module.wasm.content.layer.v1+wasm';
const large = randomBytes(3_000_000);
const small = randomBytes(20_000);
const tiny = randomBytes(1000);
const image = imageOf({
  layers: [
    { mediaType: WASM, body: large },
    { mediaType: WASM, body: small },
    { mediaType: WASM, body: tiny },
  ],
});
const LARGE: Descriptor = { mediaType: WASM, digest: digestOf(large), size: large.length };
const SMALL: Descriptor = { mediaType: WASM, digest: digestOf(small), size: small.length };
const TINY: Descriptor = { mediaType: WASM, digest: digestOf(tiny), size: tiny.length };
const GET = { kind: 'blob', method: 'GET' } as const;

let dir: string;
let server: TestRegistry;
let reference: Reference;
let open: Registry[];

const registryWith = async (options: RegistryOptions = {}) => {
  const registry = await openRegistry({ timeoutMs: 5000, ...options });
  open.push(registry);
  return registry;
};
const read = async (registry: Registry, descriptor: Descriptor, at = reference) =>
  buffer(await registry.openBlob(at, descriptor));
const cacheDir = () => join(dir, 'cache');
const blobFile = ({ digest }: Descriptor) => join(cacheDir(), 'blobs', ...digest.split(':'));
const partsLeft = async () => (await listCache(cacheDir())).filter(({ kind }) => kind === 'partial');

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-test-'));
  open = [];
  server = await startRegistry();
  server.push('plugins/a', '1', image);
  server.push('plugins/b', '1', image);
  reference = parseReference(`${server.host}/plugins/a:1`);
});

afterEach(async () => {
  await Promise.all(open.map(registry => registry.close()));
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

describe('a body that breaks', () => {
  const breaks = { reset, finish, hang };
  for (const [how, fault] of Object.entries(breaks))
    it(`continues at the byte where it broke (${how})`, slowUnless(how === 'reset'), async () => {
      server.script({ ...GET, first: 3, fault: fault({ afterBytes: 700_000 }) });
      const registry = await registryWith({ timeoutMs: how === 'hang' ? 1000 : 20_000 });
      assert.ok((await read(registry, LARGE)).equals(large));
      assert.equal(server.count(GET), 4);
      const sent = server.bytesServed(GET);
      // Only the bytes that were in the sockets at the break may be sent twice.
      assert.ok(sent >= large.length && sent <= large.length + 3 * 700_000, `${sent} bytes`);
      const asked = server.requests.filter(({ kind }) => kind === 'blob').map(({ headers }) => headers.range);
      assert.equal(asked[0], undefined);
      for (const range of asked.slice(1)) assert.match(range ?? '', /^bytes=[1-9]\d*-/);
    });

  it('fails if every connection delivers one byte, after the retries and one request for all of it', async () => {
    server.script({ ...GET, fault: finish({ afterBytes: 1 }) });
    const registry = await registryWith({ retries: 2 });
    await assert.rejects(registry.openBlob(reference, LARGE), refused('REGISTRY_UNAVAILABLE'));
    assert.equal(server.count(GET), 4);
  });

  for (const retries of [0, 1])
    it(
      `is waited for as long as bytes arrive within the timeout (${retries} retries)`,
      slowUnless(retries === 0),
      async () => {
        server.script({ ...GET, fault: drip({ bytes: 60, everyMs: 40 }) });
        const registry = await registryWith({ timeoutMs: 250, retries });
        assert.ok((await read(registry, TINY)).equals(tiny));
        assert.equal(server.count(GET), 1 + retries, 'a new connection may be faster: once');
      },
    );

  it('is requested again over a faster connection', async () => {
    server.script({ ...GET, first: 1, fault: drip({ bytes: 1, everyMs: 50 }) });
    assert.ok((await read(await registryWith({ timeoutMs: 250 }), LARGE)).equals(large));
    assert.equal(server.count(GET), 2);
  });

  for (const code of [400, 403, 405, 500, 501])
    it(`is completed by a registry that answers a Range with ${code}`, slowUnless(code === 403), async () => {
      server.script([
        { ...GET, first: 1, fault: finish({ afterBytes: 700_000 }) },
        { ...GET, ranged: true, fault: status(code) },
      ]);
      assert.ok((await read(await registryWith({ retries: 1 }), LARGE)).equals(large));
    });

  for (const [name, fault] of Object.entries({
    'a reset': reset(),
    'a body that ends at once': finish({ afterBytes: 0 }),
    'a page in HTML': captivePortal(),
    'a redirect in a circle': redirectLoop(),
    401: status(401),
    404: status(404),
    502: status(502),
    503: status(503),
  }))
    it(
      `is completed by a registry that answers every Range with ${name}, in this run and in a later one`,
      slowUnless(name === '404'),
      async () => {
        const cut = { ...GET, first: 1, fault: finish({ afterBytes: 700_000 }) };
        server.script([cut, { ...GET, ranged: true, fault }]);
        assert.ok((await read(await registryWith({ retries: 1 }), LARGE)).equals(large));
        assert.ok(server.bytesServed(GET) <= large.length + 701_000);
        server.script([cut, { ...GET, fault: status(500) }]);
        await assert.rejects((await registryWith({ retries: 0, cacheDir: cacheDir() })).openBlob(reference, LARGE));
        server.script({ ...GET, ranged: true, fault });
        const later = await registryWith({ retries: 0, cacheDir: cacheDir() });
        assert.ok((await read(later, LARGE)).equals(large), 'what was left in the cache is in nobody’s way');
      },
    );

  it('continues if the registry begins a little earlier than requested', async () => {
    server.script([
      { ...GET, first: 1, fault: finish({ afterBytes: 700_000 }) },
      { ...GET, ranged: true, fault: shiftedRange(-1000) },
    ]);
    assert.ok((await read(await registryWith(), LARGE)).equals(large));
    assert.equal(server.count(GET), 2);
    assert.ok(server.bytesServed(GET) <= large.length + 701_000);
  });

  it('with wrong bytes is downloaded again, at most three times', async () => {
    server.script({ ...GET, first: 3, fault: corrupt() });
    assert.ok((await read(await registryWith(), LARGE)).equals(large));
    assert.equal(server.count(GET), 4);
    server.reset();
    server.script({ ...GET, fault: corrupt() });
    await assert.rejects(
      (await registryWith({ retries: 0 })).openBlob(reference, LARGE),
      refused('REGISTRY_DIGEST_MISMATCH'),
    );
    assert.equal(server.count(GET), 2, 'once in any case: a part on disk may have been the culprit');
  });

  it('does not fail while every connection delivers a little, even with few retries', async () => {
    server.script({ ...GET, fault: finish({ afterBytes: 250_000 }) });
    assert.ok((await read(await registryWith({ retries: 1 }), LARGE)).equals(large));
  });

  for (const brought of [250_000, 0])
    it(`fails after the allowed retries without progress beyond ${brought} bytes`, async () => {
      server.script([
        { ...GET, first: 1, fault: finish({ afterBytes: brought }) },
        { ...GET, fault: reset({ afterBytes: 0 }) },
      ]);
      const heard: number[] = [];
      const onEvent = (event: RegistryEvent) => void (event.type === 'retry' && heard.push(event.attempt));
      const registry = await registryWith({ retries: 2, onEvent });
      await assert.rejects(registry.openBlob(reference, LARGE), refused('REGISTRY_UNAVAILABLE'));
      // If bytes have arrived, all of the blob is requested at the end.
      const whole = brought === 0 ? [] : [3];
      assert.deepEqual(heard, [1, 2, ...whole]);
      assert.equal(server.count(GET), 3 + whole.length);
    });

  it('counts its retries from zero after progress', async () => {
    const fault = (nth: number, afterBytes: number) => ({ ...GET, nth, fault: finish({ afterBytes }) });
    server.script([fault(1, 250_000), fault(2, 0), fault(3, 250_000)]);
    const heard: number[] = [];
    const onEvent = (event: RegistryEvent) => void (event.type === 'retry' && heard.push(event.attempt));
    assert.ok((await read(await registryWith({ retries: 2, onEvent }), LARGE)).equals(large));
    assert.deepEqual(heard, [1, 2, 1]);
  });

  it('is not retried with zero retries', async () => {
    server.script({ ...GET, fault: finish({ afterBytes: 250_000 }) });
    await assert.rejects(
      (await registryWith({ retries: 0 })).openBlob(reference, LARGE),
      refused('REGISTRY_UNAVAILABLE'),
    );
    assert.equal(server.count(GET), 1);
  });

  for (const [name, fault] of Object.entries({
    'ignores Range': rangeIgnored(),
    'refuses Range with 416': rangeRefused(),
    'answers another range': wrongContentRange(),
    'answers 206 without Content-Range': wrongContentRange(null),
  }))
    it(`is completed by a registry that ${name}`, async () => {
      server.script([
        { ...GET, first: 1, fault: finish({ afterBytes: 700_000 }) },
        { ...GET, ranged: true, fault },
      ]);
      assert.ok((await read(await registryWith(), LARGE)).equals(large));
    });

  it('is complete without a length and without chunks', async () => {
    server.script([
      { ...GET, first: 1, fault: [closeDelimited(), finish({ afterBytes: 700_000 })] },
      { ...GET, fault: closeDelimited() },
    ]);
    assert.ok((await read(await registryWith(), LARGE)).equals(large));
  });

  it('with wrong bytes before the break is downloaded again once', async () => {
    server.script([{ ...GET, first: 1, fault: [corrupt({ atByte: 5 }), finish({ afterBytes: 700_000 })] }]);
    assert.ok((await read(await registryWith(), LARGE)).equals(large));
    assert.equal(server.count(GET), 3);
  });

  it('that is a login page is refused and not kept', async () => {
    server.script({ ...GET, fault: captivePortal() });
    const registry = await registryWith({ cacheDir: cacheDir(), retries: 1 });
    await assert.rejects(registry.openBlob(reference, LARGE), Refusal);
    server.script([]);
    assert.ok((await read(registry, LARGE)).equals(large));
  });
});

describe('the cache folder', () => {
  it('serves a later run without a request', async () => {
    const first = await registryWith({ cacheDir: cacheDir() });
    assert.ok((await read(first, LARGE)).equals(large) && (await read(first, SMALL)).equals(small));
    await first.close();
    server.reset();
    const second = await registryWith({ cacheDir: cacheDir() });
    assert.ok((await read(second, LARGE)).equals(large) && (await read(second, SMALL)).equals(small));
    assert.equal(server.requests.length, 0);
    assert.deepEqual(await partsLeft(), []);
  });

  it('keeps the part of an unfinished run, and the next run downloads the rest', async () => {
    server.script({ ...GET, fault: finish({ afterBytes: 1_000_000 }) });
    const first = await registryWith({ cacheDir: cacheDir(), retries: 0 });
    await assert.rejects(first.openBlob(reference, LARGE));
    await first.close();
    server.script([]);
    server.reset();
    const second = await registryWith({ cacheDir: cacheDir() });
    assert.ok((await read(second, LARGE)).equals(large));
    assert.equal(server.bytesServed(GET), large.length - 1_000_000);
    assert.deepEqual(await partsLeft(), []);
  });

  it('keeps the part of an aborted download', async () => {
    server.script({ ...GET, fault: hang({ afterBytes: 1_000_000 }) });
    const controller = new AbortController();
    const registry = await registryWith({
      cacheDir: cacheDir(),
      onEvent: event => {
        if (event.type === 'bytes' && event.receivedBytes >= 900_000) controller.abort(new Error('left'));
      },
    });
    await assert.rejects(registry.openBlob(reference, LARGE, controller.signal), /left/);
    server.script([]);
    server.reset();
    assert.ok((await read(registry, LARGE)).equals(large));
    assert.ok(server.bytesServed(GET) <= large.length - 900_000 + 200_000, String(server.bytesServed(GET)));
  });

  for (const [what, spoil] of Object.entries({
    'flipped byte': async (path: string) => {
      const bytes = await readFile(path);
      bytes[10] = (bytes[10] ?? 0) ^ 1;
      await writeFile(path, bytes);
    },
    'lost end': (path: string) => truncate(path, 100),
    'longer end': (path: string) => writeFile(path, 'x', { flag: 'a' }),
    emptiness: (path: string) => truncate(path, 0),
  })) {
    it(`never serves a whole blob with a ${what}`, async () => {
      const first = await registryWith({ cacheDir: cacheDir() });
      await read(first, LARGE);
      await read(first, SMALL);
      await first.close();
      for (const descriptor of [LARGE, SMALL]) await spoil(blobFile(descriptor));
      const second = await registryWith({ cacheDir: cacheDir() });
      assert.ok((await read(second, LARGE)).equals(large) && (await read(second, SMALL)).equals(small));
      assert.ok((await readFile(blobFile(LARGE))).equals(large));
    });

    it(`never serves a part with a ${what}`, async () => {
      server.script({ ...GET, fault: finish({ afterBytes: 2_999_999 }) });
      const first = await registryWith({ cacheDir: cacheDir(), retries: 0 });
      await assert.rejects(first.openBlob(reference, LARGE));
      await first.close();
      server.script([]);
      const [part] = await partsLeft();
      assert.ok(part);
      await spoil(part.path);
      assert.ok((await read(await registryWith({ cacheDir: cacheDir() }), LARGE)).equals(large));
    });
  }

  it('takes over a part that is complete without a request', async () => {
    await mkdir(join(cacheDir(), 'parts'), { recursive: true, mode: 0o700 });
    await writeFile(join(cacheDir(), 'parts', `${LARGE.digest.replace(':', '-')}.bm9ib2R5.1.a.part`), large);
    assert.ok((await read(await registryWith({ cacheDir: cacheDir() }), LARGE)).equals(large));
    assert.equal(server.requests.length, 0);
  });

  it('discards a part that is longer than the blob', async () => {
    await mkdir(join(cacheDir(), 'parts'), { recursive: true, mode: 0o700 });
    const path = join(cacheDir(), 'parts', `${LARGE.digest.replace(':', '-')}.bm9ib2R5.1.a.part`);
    await writeFile(path, Buffer.concat([large, large]));
    assert.ok((await read(await registryWith({ cacheDir: cacheDir() }), LARGE)).equals(large));
  });

  it('ignores other files', async () => {
    await mkdir(join(cacheDir(), 'parts', 'folder'), { recursive: true, mode: 0o700 });
    await writeFile(join(cacheDir(), 'parts', 'README'), 'mine');
    const registry = await registryWith({ cacheDir: cacheDir(), cacheSizeBytes: 0 });
    await read(registry, SMALL);
    await registry.close();
    assert.equal(await readFile(join(cacheDir(), 'parts', 'README'), 'utf8'), 'mine');
  });

  it('is trimmed to its size on close, the least recently used first', async () => {
    const first = await registryWith({ cacheDir: cacheDir() });
    await read(first, LARGE);
    await read(first, SMALL);
    await first.close();
    await utimes(blobFile(SMALL), new Date(1000), new Date(1000));
    const second = await registryWith({ cacheDir: cacheDir(), cacheSizeBytes: large.length });
    await read(second, LARGE);
    await second.close();
    assert.deepEqual(
      (await listCache(cacheDir())).map(({ digest }) => digest),
      [LARGE.digest],
    );
    const cleaned = await cleanCache(cacheDir(), { keepBytes: 0 });
    assert.deepEqual(cleaned, { removed: 1, freedBytes: large.length, keptBytes: 0 });
    assert.deepEqual(await listCache(cacheDir()), []);
  });

  it('can be cleaned while a blob is open, which is read to its end', async () => {
    const registry = await registryWith({ cacheDir: cacheDir() });
    const stream = await registry.openBlob(reference, LARGE);
    await cleanCache(cacheDir());
    assert.ok((await buffer(stream)).equals(large));
    assert.ok((await read(registry, LARGE)).equals(large));
  });

  it('that cannot be used is not needed', async () => {
    await writeFile(join(dir, 'file'), '');
    const heard: RegistryEvent[] = [];
    const registry = await registryWith({ cacheDir: join(dir, 'file', 'cache'), onEvent: event => heard.push(event) });
    const [first, second] = await Promise.all([read(registry, LARGE), read(registry, SMALL)]);
    assert.ok(first.equals(large) && second.equals(small));
    assert.equal(heard.filter(({ type }) => type === 'warning').length, 1);
    assert.equal(server.count(GET), 2);
  });

  it('can only be read by its user', { skip: process.platform === 'win32' }, async () => {
    await read(await registryWith({ cacheDir: cacheDir() }), SMALL);
    assert.equal((await stat(cacheDir())).mode & 0o077, 0);
    assert.equal((await stat(blobFile(SMALL))).mode & 0o077, 0);
    await chmod(cacheDir(), 0o700);
  });

  it('is not created unless it was requested', async () => {
    const before = new Set(await readdir(tmpdir()));
    const registry = await registryWith();
    await read(registry, LARGE);
    await registry.close();
    const after = (await readdir(tmpdir())).filter(name => !before.has(name) && /^plugin-mirror-[^t]/.test(name));
    for (const name of after) await assert.rejects(stat(join(tmpdir(), name, 'blobs', ...LARGE.digest.split(':'))));
  });
});

describe('a blob with several callers', () => {
  it('is downloaded once, even if the first caller aborts', async () => {
    server.script({ ...GET, first: 1, fault: { name: 'late', delivery: { delayMs: 200 } } });
    const registry = await registryWith();
    const controller = new AbortController();
    const first = registry.openBlob(reference, LARGE, controller.signal);
    const second = read(registry, LARGE);
    controller.abort(new Error('left'));
    await assert.rejects(first, /left/);
    assert.ok((await second).equals(large));
    assert.equal(server.count(GET), 1);
  });

  it('is requested from the second repository if the first lost it', async () => {
    server.remove('plugins/a', LARGE.digest);
    const registry = await registryWith();
    const [first, second] = await Promise.allSettled([
      registry.openBlob(reference, LARGE),
      read(registry, LARGE, { ...reference, repository: 'plugins/b' }),
    ]);
    assert.equal(first.status, 'rejected');
    assert.ok(second.status === 'fulfilled' && second.value.equals(large));
  });

  it('can be read in any order, by more callers than simultaneous downloads', async () => {
    const bodies = Array.from({ length: 6 }, (_, index) => Buffer.alloc(2_000_000, index + 1));
    server.push('plugins/m', '1', imageOf({ layers: bodies.map(body => ({ mediaType: WASM, body })) }));
    const registry = await registryWith({ concurrency: 2 });
    const at = { ...reference, repository: 'plugins/m' };
    const streams = await Promise.all(
      bodies.map(body => registry.openBlob(at, { mediaType: WASM, digest: digestOf(body), size: body.length })),
    );
    for (const [index, stream] of [...streams.entries()].reverse())
      assert.ok((await buffer(stream)).equals(bodies[index] ?? Buffer.alloc(0)));
    assert.ok(server.peakInFlight <= 2, String(server.peakInFlight));
  });

  it('with a wrong size in its manifest is refused, without effect on the right one', async () => {
    const registry = await registryWith({ cacheDir: cacheDir(), retries: 1 });
    const lies = [LARGE.size - 1, LARGE.size + 1];
    const [truth, ...rest] = await Promise.allSettled([
      read(registry, LARGE),
      ...lies.map(size => registry.openBlob(reference, { ...LARGE, size })),
    ]);
    assert.ok(truth?.status === 'fulfilled' && truth.value.equals(large));
    assert.deepEqual(
      rest.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
  });
});

describe('a descriptor', () => {
  it('with embedded content needs no request', async () => {
    const data = small.toString('base64');
    assert.ok((await read(await registryWith(), { ...SMALL, data })).equals(small));
    assert.equal(server.requests.length, 0);
  });

  it('with wrong embedded content is downloaded', async () => {
    const data = Buffer.from('other').toString('base64');
    assert.ok((await read(await registryWith(), { ...SMALL, data })).equals(small));
    assert.equal(server.count(GET), 1);
  });

  it('of an empty blob needs no request, but the right digest', async () => {
    const registry = await registryWith();
    const nothing = { mediaType: WASM, digest: digestOf(Buffer.alloc(0)), size: 0 };
    assert.equal((await read(registry, nothing)).length, 0);
    await assert.rejects(registry.openBlob(reference, { ...SMALL, size: 0 }), refused('REGISTRY_DIGEST_MISMATCH'));
    assert.equal(server.requests.length, 0);
  });

  it('with sha512 is verified with it', async () => {
    const digest = digestOf(large, 'sha512');
    const odd = imageOf({ layers: [{ mediaType: WASM, body: large, digest }] });
    odd.blobs.set(digest, large);
    server.push('plugins/a', '2', odd);
    assert.ok((await read(await registryWith({ cacheDir: cacheDir() }), { ...LARGE, digest })).equals(large));
  });
});

describe('a registry that is closed', () => {
  it('ends pending downloads', async () => {
    server.script({ ...GET, fault: hang({ afterBytes: 10 }) });
    const registry = await registryWith({ cacheDir: cacheDir() });
    const asked = registry.openBlob(reference, LARGE);
    asked.catch(() => {});
    while (server.count(GET) === 0) await new Promise(resolve => setTimeout(resolve, 5));
    await registry.close();
    await assert.rejects(asked, /closed/);
    await assert.rejects(registry.openBlob(reference, LARGE), /closed/);
  });

  it('ends unread streams', async () => {
    const registry = await registryWith();
    const stream = await registry.openBlob(reference, LARGE);
    await registry.close();
    assert.ok(stream.destroyed);
  });
});

describe('a registry that is busy', () => {
  it('is asked again after 503 while a blob resumes', async () => {
    server.script([
      { ...GET, nth: 1, fault: finish({ afterBytes: 700_000 }) },
      { ...GET, nth: [2, 3], fault: status(503) },
    ]);
    assert.ok((await read(await registryWith(), LARGE)).equals(large));
  });
});

it('a folder with the name of a cached blob is ignored, and all other blobs are kept', async () => {
  await mkdir(join(blobFile(LARGE), 'within'), { recursive: true });
  const warnings: RegistryEvent[] = [];
  const onEvent = (event: RegistryEvent) => void (event.type === 'warning' && warnings.push(event));
  const registry = await registryWith({ cacheDir: cacheDir(), onEvent });
  assert.ok((await read(registry, LARGE)).equals(large));
  assert.ok((await read(registry, SMALL)).equals(small));
  await registry.close();
  assert.deepEqual(warnings, []);
  assert.deepEqual(
    (await listCache(cacheDir())).map(({ digest }) => digest),
    [SMALL.digest],
  );
  assert.equal((await cleanCache(cacheDir())).removed, 1);
});
