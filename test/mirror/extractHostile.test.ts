import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { crc32, createGzip } from 'node:zlib';
import fc from 'fast-check';
import { Refusal } from '../../base/refusal.ts';
import { gzip, type TarEntry, tarOf, zstd } from '../support/archive.ts';
import { imageOf, MEDIA, type TestImage, tarLayer } from '../support/image.ts';
import { imageFormA, imageFormC, imageFormD } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { sample, slow, times } from '../support/slow.ts';
import { extracts, refuses } from './extraction.ts';

const wasm = buildModule({ sizeBytes: 50_000 });
const plugin: TarEntry = { name: 'plugin.wasm', body: wasm };
const LIMIT = 268_435_456;
const of = (...entries: TarEntry[]) => imageFormD({ layers: [entries] });
const layer = (body: Buffer, mediaType: string = MEDIA.tarGzip) => imageOf({ layers: [{ mediaType, body }] });
const NAMES = Array.from({ length: 99_999 }, (_, index) => ({ name: `d/${index}` }));
/** 99 999 entries, then these. */
const manyThen = (...entries: TarEntry[]) =>
  layer(gzip(Buffer.concat([tarOf(NAMES, { end: false }), tarOf(entries)]), 1));

test('hostile archives are refused with the reason', async () => {
  const long = 'x'.repeat(5000);
  const cases: [string, TestImage, string, RegExp][] = [
    ['traversal', of({ ...plugin, name: '../plugin.wasm' }), 'LAYER_HOSTILE', /lead out of the layer/],
    [
      'traversal next to it',
      of(plugin, { name: 'a/../../../etc/cron.d/x', body: 'x' }),
      'LAYER_HOSTILE',
      /lead out of the layer/,
    ],
    ['absolute traversal', of({ ...plugin, name: '/../plugin.wasm' }), 'LAYER_HOSTILE', /lead out of the layer/],
    ['two spellings, one absolute', of(plugin, { ...plugin, name: '/plugin.wasm' }), 'LAYER_HOSTILE', /twice/],
    ['pax traversal', of({ ...plugin, pax: { path: '../../plugin.wasm' } }), 'LAYER_HOSTILE', /lead out of the layer/],
    [
      'GNU traversal',
      of({ ...plugin, name: `${'../'.repeat(50)}plugin.wasm`, longNames: 'gnu' }),
      'LAYER_HOSTILE',
      /lead out of the layer/,
    ],
    [
      'a symlink',
      of({ name: 'plugin.wasm', type: 'symlink', linkTo: '/etc/passwd' }),
      'LAYER_HOSTILE',
      /a symbolic link to \/etc\/passwd/,
    ],
    [
      'a hard link to a later file',
      of({ name: 'plugin.wasm', type: 'link', linkTo: 'a' }, { name: 'a', body: wasm }),
      'LAYER_HOSTILE',
      /a hard link to a, which is not a regular file earlier/,
    ],
    [
      'a hard link to itself',
      of({ name: 'plugin.wasm', type: 'link', linkTo: './plugin.wasm' }),
      'LAYER_HOSTILE',
      /a hard link to plugin\.wasm, which is not a regular file/,
    ],
    [
      'a hard link to a symbolic link',
      of(
        { name: 'a', body: wasm },
        { name: 'b', type: 'symlink', linkTo: 'a' },
        { name: 'plugin.wasm', type: 'link', linkTo: 'b' },
      ),
      'LAYER_HOSTILE',
      /a hard link to b, which is not a regular file/,
    ],
    [
      'a hard link out of the layer',
      of({ name: 'plugin.wasm', type: 'link', linkTo: '../etc/passwd' }),
      'LAYER_HOSTILE',
      /lead out of the layer/,
    ],
    ['a device', of({ name: 'plugin.wasm', type: 'character' }), 'LAYER_HOSTILE', /a device/],
    ['a block device', of({ name: 'plugin.wasm', type: 'block' }), 'LAYER_HOSTILE', /a device/],
    ['a FIFO', of({ name: './plugin.wasm', type: 'fifo' }), 'LAYER_HOSTILE', /a FIFO/],
    [
      'a sparse file of no GNU tar',
      of({ ...plugin, type: 'S' }),
      'LAYER_CORRUPT',
      /plugin\.wasm is a damaged sparse file/,
    ],
    [
      'a pax sparse file without a map',
      of({ ...plugin, pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0' } }),
      'LAYER_CORRUPT',
      /plugin\.wasm is a damaged sparse file/,
    ],
    ['a type of its own', of({ ...plugin, type: 'Z' }), 'LAYER_HOSTILE', /type Unsupported/],
    ['two plugin.wasm', of(plugin, { ...plugin, body: 'other' }), 'LAYER_HOSTILE', /it has plugin\.wasm twice/],
    ['two spellings', of(plugin, { ...plugin, name: './/plugin.wasm' }), 'LAYER_HOSTILE', /it has \S+ twice/],
    [
      'a file, then a link',
      of(plugin, { name: 'plugin.wasm', type: 'symlink', linkTo: 'x' }),
      'LAYER_HOSTILE',
      /it has \S+ twice/,
    ],
    [
      'two other modules',
      of({ ...plugin, name: 'a.wasm' }, { ...plugin, name: 'a.wasm' }),
      'LAYER_HOSTILE',
      /it has \S+ twice/,
    ],
    ['a name of 5000 characters', of({ ...plugin, name: long, longNames: 'gnu' }), 'LAYER_HOSTILE', /longer than 4096/],
    ['a NUL in a pax name', of({ ...plugin, pax: { path: 'plugin.wasm\0.txt' } }, plugin), 'LAYER_HOSTILE', /twice/],
    [
      'a header of 2 MiB',
      of({ ...plugin, pax: { comment: 'x'.repeat(2 * 1024 * 1024) } }),
      'LAYER_HOSTILE',
      /extended header of/,
    ],
    ['a fractional size', of({ ...plugin, pax: { size: '1.5' } }), 'LAYER_HOSTILE', /not a number of bytes/],
    ['an infinite size', of({ ...plugin, pax: { size: 'Infinity' } }), 'LAYER_HOSTILE', /not a number of bytes/],
    [
      'a size past the end',
      of({ ...plugin, sizeBytes: 200_000 }),
      'LAYER_CORRUPT',
      /it is truncated: \d+ more bytes of plugin\.wasm should follow/,
    ],
    ['a size of 8 GiB', of({ ...plugin, sizeBytes: 8 * 2 ** 30 }), 'LAYER_TOO_LARGE', /256 MiB.*truncate/],
    [
      'a size of 8 GiB in base-256',
      of({ ...plugin, sizeBytes: 8 * 2 ** 30, binarySize: true }),
      'LAYER_TOO_LARGE',
      /256 MiB/,
    ],
    ['a size too small', of({ ...plugin, sizeBytes: 512 }), 'LAYER_CORRUPT', /checksum|TAR_ENTRY_INVALID/],
    ['a bad checksum', of({ ...plugin, badChecksum: true }), 'LAYER_CORRUPT', /neither a tar archive nor/],
    [
      'a bad checksum later',
      of({ name: 'a', body: 'a' }, { ...plugin, badChecksum: true }),
      'LAYER_CORRUPT',
      /checksum/,
    ],
    [
      'a truncated header',
      layer(gzip(tarOf([plugin], { end: false }).subarray(0, 600))),
      'LAYER_CORRUPT',
      /ends within|truncated/,
    ],
    ['truncated gzip', layer(gzip(tarOf([plugin])).subarray(0, 5000)), 'LAYER_CORRUPT', /damaged gzip data/],
    ['two bytes of gzip', layer(gzip(tarOf([plugin])).subarray(0, 4)), 'LAYER_CORRUPT', /damaged gzip data/],
    [
      'garbage after gzip',
      layer(Buffer.concat([gzip(tarOf([plugin])), Buffer.from('garbage')])),
      'LAYER_CORRUPT',
      /gzip/,
    ],
    ['a flipped bit in gzip', layer(flip(gzip(tarOf([plugin])), 3000)), 'LAYER_CORRUPT', /gzip/],
    ['a wrong CRC', layer(flip(gzip(tarOf([plugin])), -8)), 'LAYER_CORRUPT', /gzip/],
    ['truncated zstd', layer(zstd(tarOf([plugin])).subarray(0, 5000)), 'LAYER_CORRUPT', /damaged zstd data/],
    ['zstd magic only', layer(zstd(Buffer.alloc(0)).subarray(0, 4)), 'LAYER_CORRUPT', /zstd/],
    [
      '201 layers',
      imageFormD({ layers: Array.from({ length: 201 }, () => []) }),
      'LAYER_HOSTILE',
      /201 archive layers/,
    ],
  ];
  for (const [name, image, code, expected] of cases)
    for (const chunkBytes of sample([65_536, 997]))
      if (chunkBytes === 65_536 || image.blobs.size < 5)
        await refuses(image, code, expected, `${name} (${chunkBytes})`, { chunkBytes });
});

test('a valid number in base-256 is accepted, an invalid one is described', async () => {
  const at = { size: 124, mtime: 136 };
  const forged = (field: keyof typeof at, hex: string): TestImage => {
    const tar = tarOf([{ name: 'README.md', body: 'read' }, plugin]);
    const header = tar.subarray(1024, 1536);
    header.write(hex, at[field], 'hex');
    header.fill(' ', 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    return layer(tar, MEDIA.tar);
  };
  const size = wasm.length.toString(16);
  await extracts(forged('size', `80${size.padStart(22, '0')}`));
  await extracts(forged('mtime', 'ff'.repeat(12)));
  const negative = /the size of plugin\.wasm is negative or damaged: not a number of bytes, in octal or in base-256/;
  const absurd = /a number in the header after README\.md, in base-256, is out of range: beyond 2\^53/;
  const damaged = /a number in the header after README\.md is damaged: it begins like one in base-256/;
  await refuses(forged('size', 'ff'.repeat(12)), 'LAYER_HOSTILE', negative);
  await refuses(forged('size', `${'ff'.repeat(10)}fe00`), 'LAYER_HOSTILE', negative);
  await refuses(forged('size', `8000000010${'00'.repeat(7)}`), 'LAYER_CORRUPT', absurd);
  await refuses(forged('size', `ff00000010${'00'.repeat(7)}`), 'LAYER_CORRUPT', absurd);
  await refuses(forged('size', `81${size.padStart(22, '0')}`), 'LAYER_CORRUPT', damaged);
  await refuses(forged('mtime', `c0${size.padStart(22, '0')}`), 'LAYER_CORRUPT', damaged);
});

test('100,000 entries are accepted and no more', slow, async () => {
  await extracts(manyThen(plugin));
  await refuses(manyThen({ name: 'one' }, { name: 'more' }), 'LAYER_HOSTILE', /more than 100000 entries/);
});

/** gzip of a tar whose plugin.wasm is a module of exactly this size, made of few bytes. */
async function gzipOfSize(sizeBytes: number): Promise<Buffer> {
  const head = tarOf([{ name: 'plugin.wasm', sizeBytes }], { end: false }).subarray(0, 512);
  return packed(Readable.from(pieces([head, moduleStart(sizeBytes)], 512 + Math.ceil(sizeBytes / 512) * 512 + 1024)));
}

/** A module of one custom section that fills the size. */
function moduleStart(sizeBytes: number): Buffer {
  const start = Buffer.from('0061736d01000000008080808000', 'hex');
  for (let index = 0, left = sizeBytes - 14; index < 5; index++, left = Math.floor(left / 128))
    start[9 + index] = (left & 0x7f) | (index < 4 ? 0x80 : 0);
  return start;
}

function* pieces(first: Buffer[], totalBytes: number): Generator<Buffer> {
  const zeros = Buffer.alloc(1024 * 1024);
  let left = totalBytes;
  for (const piece of first) {
    yield piece;
    left -= piece.length;
  }
  for (; left > 0; left -= zeros.length) yield zeros.subarray(0, Math.min(left, zeros.length));
}

async function packed(plain: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of plain.pipe(createGzip({ level: 1 }))) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

test('exactly 256 MiB are accepted with a warning, one byte more is refused', slow, async () => {
  const most = layer(await gzipOfSize(LIMIT));
  await extracts(most, async (extracted, dir) => {
    assert.equal(extracted.sizeBytes, LIMIT);
    assert.match(extracted.warnings.join('\n'), /managed gateway accepts at most 50 MB/);
    assert.equal((await readFile(join(dir, 'plugin.wasm'))).length, LIMIT);
  });
  await refuses(
    layer(await gzipOfSize(LIMIT + 1)),
    'LAYER_TOO_LARGE',
    /268435456 bytes \(256 MiB\): gateways truncate/,
  );
});

test('a raw module of 256 MiB and one byte is refused', slow, async () => {
  const image = imageOf({ layers: [{ mediaType: MEDIA.wasm, body: Buffer.from('\0asm'), size: LIMIT + 1 }] });
  const open = () => Readable.from(pieces([moduleStart(LIMIT + 1)], LIMIT + 1));
  await refuses(image, 'LAYER_TOO_LARGE', /256 MiB/, '', { open });
});

test('decompression bombs are refused at 1 GiB, in a file or after the archive', slow, async () => {
  const end = 1024 * 1024 * 1024 + 1;
  const head = tarOf([plugin]);
  const padded = await packed(Readable.from(pieces([head], end)));
  await refuses(layer(padded), 'LAYER_TOO_LARGE', /1 GiB/, 'after the end mark');
  // 3 bytes of block header and one of content are 128 KiB of output each (RFC 8878, 3.1.1.2.2).
  const block = Buffer.from([0x02, 0x00, 0x10, 0x00]);
  const blocks = Buffer.concat([Buffer.from('28b52ffd0038', 'hex'), ...Array.from({ length: 8200 }, () => block)]);
  await refuses(layer(blocks), 'LAYER_TOO_LARGE', /1 GiB/, 'zstd');
});

test('zstd data with too many tiny blocks is refused', slow, async () => {
  const block = Buffer.from([0x0a, 0x00, 0x00, 0x00]);
  const body = Buffer.concat([Buffer.from('28b52ffd0038', 'hex'), ...Array.from({ length: 300_000 }, () => block)]);
  await refuses(layer(body), 'LAYER_HOSTILE', /takes too long to inflate/);
});

test('a wrong digest is reported rather than what the bytes look like', async () => {
  const wrong = new Error('the digest is wrong');
  const failing = (body: Buffer) =>
    Readable.from(
      (function* () {
        for (let at = 0; at < body.length; at += 1000) yield body.subarray(at, at + 1000);
        throw wrong;
      })(),
    );
  const bodies = [
    gzip(tarOf([plugin])),
    gzip(tarOf([plugin])).subarray(0, 3000),
    flip(gzip(tarOf([plugin])), 2000),
    tarOf([plugin]),
    tarOf([{ name: 'a', body: wasm, sizeBytes: 1 }]),
    zstd(tarOf([plugin])),
    flip(zstd(tarOf([plugin])), 15),
    Buffer.from('<html>busy</html>'),
    Buffer.alloc(0),
    wasm,
    wasm.subarray(0, 100),
  ];
  for (const [index, body] of bodies.entries())
    for (const image of [imageFormA({ wasm }), imageFormC({ wasm })])
      await assert.rejects(
        extracts(image, undefined, { open: () => failing(body) }),
        error => error === wrong,
        `body ${index}`,
      );
});

test('an error of opening a layer or a document is passed on', async () => {
  const refused = new Error('404');
  const image = imageFormA({ wasm, spec: 'info: {}' });
  for (const mediaType of [MEDIA.spec, MEDIA.tarGzip])
    await assert.rejects(
      extracts(image, undefined, {
        open: ({ mediaType: asked, digest }) => {
          if (asked === mediaType) throw refused;
          return Readable.from([image.blobs.get(digest)]);
        },
      }),
      error => error === refused,
    );
});

test('an abort ends a hanging layer with the reason of the signal', async () => {
  for (const start of [
    Buffer.alloc(0),
    gzip(tarOf([plugin])).subarray(0, 2000),
    wasm.subarray(0, 2000),
    zstd(tarOf([plugin])).subarray(0, 2000),
  ]) {
    const aborting = new AbortController();
    const reason = new Error('Ctrl-C');
    const hanging = new Readable({ read() {} });
    if (start.length > 0) hanging.push(start);
    const open = () => {
      setImmediate(() => aborting.abort(reason));
      return hanging;
    };
    const running = extracts(imageFormA({ wasm }), undefined, { open, signal: aborting.signal });
    await assert.rejects(running, error => error === reason);
    assert.ok(hanging.destroyed);
  }
  await assert.rejects(
    extracts(imageFormA({ wasm }), undefined, { signal: AbortSignal.abort(new Error('before')) }),
    /before/,
  );
});

test('any bytes, complete or damaged, give the right plugin or a refusal', async () => {
  const bases = [gzip(tarOf([plugin])), tarOf([{ name: 'a', body: 'a' }, plugin]), zstd(tarOf([plugin])), gzip(wasm)];
  const spoiled = fc
    .tuple(fc.constantFrom(...bases), fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean())
    .map(([base, at, change, cut]) => {
      const body = Buffer.from(base);
      const place = at % Math.min(body.length, 1500);
      body[place] = (body[place] ?? 0) ^ change;
      return cut ? body.subarray(0, at % body.length) : body;
    });
  const anything = fc.oneof(
    spoiled,
    fc.uint8Array({ maxLength: 2000 }).map(bytes => Buffer.from(bytes)),
  );
  const types = fc.constantFrom(MEDIA.tarGzip, MEDIA.wasm, MEDIA.tar, MEDIA.dockerTarGzip, 'application/octet-stream');
  await fc.assert(
    fc.asyncProperty(anything, types, fc.integer({ min: 50, max: 70_000 }), async (body, mediaType, chunkBytes) => {
      try {
        // gzip has a checksum; a plain tar and these zstd frames have none, and an export's name may be what was spoiled.
        const checked = body[0] === 0x1f;
        const right = async ({ abi }: { abi: string | null }) =>
          assert.ok(abi === '0.2.1' || (!checked && abi === null));
        await extracts(layer(body, mediaType), right, { chunkBytes });
      } catch (error) {
        assert.ok(error instanceof Refusal, error instanceof Error ? error.stack : String(error));
      }
    }),
    { numRuns: times(25, 250) },
  );
});

test('gzip with any number of members, any header and any chunks gives the same plugin', async () => {
  const text = fc.stringMatching(/^[a-zA-Z0-9 ._-]{0,40}$/);
  const header = fc.record({
    extra: fc.uint8Array({ maxLength: 60 }),
    name: text,
    comment: text,
    checked: fc.boolean(),
  });
  const small = buildModule({ sizeBytes: 8000 });
  const tar = tarOf([
    { name: 'README.md', body: 'read me' },
    { ...plugin, body: small },
  ]);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat({ max: tar.length }), header, fc.nat({ max: 9 })), { minLength: 1, maxLength: 5 }),
      fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1000, max: 70_000 })),
      async (cuts, pieceBytes) => {
        const starts = [0, ...cuts.slice(1).map(([at]) => at)].sort((a, b) => a - b);
        const members = cuts.map(([, about, level], index) =>
          memberOf(tar.subarray(starts[index], starts[index + 1] ?? tar.length), about, level),
        );
        const image = layer(Buffer.concat(members));
        const look = async (_: unknown, dir: string) =>
          assert.ok((await readFile(join(dir, 'plugin.wasm'))).equals(small));
        await extracts(image, look, { chunkBytes: Math.max(pieceBytes, 7) });
      },
    ),
    { numRuns: times(8, 60) },
  );
});

interface MemberHeader {
  readonly extra: Uint8Array;
  readonly name: string;
  readonly comment: string;
  readonly checked: boolean;
}

/** A gzip member with every optional part of its header (RFC 1952, 2.3). */
function memberOf(body: Buffer, { extra, name, comment, checked }: MemberHeader, level: number): Buffer {
  const plain = gzip(body, level);
  const flags = 0x04 | 0x08 | 0x10 | (checked ? 0x02 : 0);
  const fixed = Buffer.from([0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3]);
  const length = Buffer.from([extra.length & 0xff, extra.length >> 8]);
  const head = Buffer.concat([fixed, length, extra, Buffer.from(`${name}\0${comment}\0`, 'latin1')]);
  const sum = Buffer.alloc(checked ? 2 : 0);
  if (checked) sum.writeUInt16LE(crc32(head) & 0xffff);
  return Buffer.concat([head, sum, plain.subarray(10)]);
}

test('tars of random entries give the file that a lookup by name finds', async () => {
  const names = fc.constantFrom(
    'plugin.wasm',
    './plugin.wasm',
    'main.wasm',
    'a/b.wasm',
    'README.md',
    'a/x',
    '._main.wasm',
  );
  const entries = fc.uniqueArray(
    fc.record({ name: names, seed: fc.constantFrom('1', '2', '3'), sizeBytes: fc.integer({ min: 200, max: 3000 }) }),
    { selector: ({ name }) => name.replace('./', ''), maxLength: 5 },
  );
  await fc.assert(
    fc.asyncProperty(
      entries,
      fc.constantFrom('gzip' as const, 'zstd' as const, 'none' as const),
      async (list, compression) => {
        const files = list.map(({ name, ...options }) => ({ name, body: buildModule(options) }));
        const modules = files.filter(({ name }) => name.endsWith('.wasm') && !name.startsWith('._'));
        const root = modules.find(({ name }) => name.replace('./', '') === 'plugin.wasm');
        const expected = root ?? (modules.length === 1 ? modules[0] : undefined);
        const image = imageOf({ layers: [tarLayer(files, compression)] });
        if (expected === undefined)
          await refuses(image, modules.length === 0 ? 'LAYER_NO_PLUGIN' : 'LAYER_AMBIGUOUS', /./);
        else
          await extracts(image, async (_, dir) => {
            assert.ok((await readFile(join(dir, 'plugin.wasm'))).equals(expected.body));
          });
      },
    ),
    { numRuns: times(24, 120) },
  );
});

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  const place = at < 0 ? copy.length + at : at;
  copy[place] = (copy[place] ?? 0) ^ 0xff;
  return copy;
}
