import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { gzip, tarOf } from '../support/archive.ts';
import { imageOf } from '../support/image.ts';
import { LONGEST_TURN_MS, longestTurn } from '../support/longestTurn.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';
import { extracts, refuses } from './extraction.ts';

const MIB = 1024 * 1024;
const wasm = buildModule();
const tar = tarOf([{ name: 'plugin.wasm', body: wasm }]);
const layer = (body: Buffer) =>
  imageOf({ layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd', body }] });

/** A frame with a window descriptor (RFC 8878, 3.1.1.1.2) and these blocks. */
function frame(windowLog: number, blocks: readonly Buffer[], mantissa = 0): Buffer {
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, ((windowLog - 10) << 3) | mantissa]), ...blocks]);
}

function block(type: 0 | 1, size: number, body: Buffer, isLast = false): Buffer {
  const head = Buffer.alloc(3);
  head.writeUIntLE((isLast ? 1 : 0) | (type << 1) | (size << 3), 0, 3);
  return Buffer.concat([head, body]);
}

const raw = (body: Buffer, isLast = true) => block(0, body.length, body, isLast);
const run = (size: number, isLast = false) => block(1, size, Buffer.alloc(1), isLast);
const takes = (body: Buffer) =>
  extracts(layer(body), async (_plugin, dir) => assert.ok(wasm.equals(await readFile(join(dir, 'plugin.wasm')))));

test('windows up to 128 MiB are read, larger ones are refused from the header', async () => {
  for (const log of [12, 20, 23, 27]) await takes(frame(log, [raw(tar)]));
  await refuses(layer(frame(10, [raw(tar)])), 'LAYER_CORRUPT', /it has a block of 2048 bytes/);
  const before = process.memoryUsage().rss;
  for (const [log, mantissa, size] of [
    [27, 1, '144 MiB'],
    [30, 0, '1 GiB'],
    [31, 0, '2 GiB'],
    [41, 7, '3840 GiB'],
  ] as const) {
    const { hint } = await refuses(
      layer(frame(log, [raw(tar)], mantissa)),
      'LAYER_TOO_LARGE',
      new RegExp(`needs ${size} of`),
    );
    assert.match(hint, /--long/);
  }
  // One segment: the content's size, here in eight bytes, is the window.
  const segment = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
  await refuses(layer(Buffer.concat([segment, raw(tar)])), 'LAYER_TOO_LARGE', /needs more than 4096 GiB of memory/);
  assert.ok(process.memoryUsage().rss - before < 400 * MIB);
});

test('frames of large windows wait for each other, also where one of them is damaged', slow, async () => {
  const good = frame(26, [raw(tar)]);
  const bad = frame(26, [raw(tar, false), Buffer.from([6, 0, 0])]);
  await Promise.all(
    Array.from({ length: 12 }, (_, index) =>
      index % 3 === 0 ? refuses(layer(bad), 'LAYER_CORRUPT', /damaged zstd data: .*reserved type/) : takes(good),
    ),
  );
});

test('thousands of small frames, skippable frames and long frames are read', async () => {
  const small: Buffer[] = [];
  for (let at = 0; at < tar.length; at += 5) {
    small.push(frame(17, [raw(tar.subarray(at, at + 5))]), Buffer.from('502a4d1803000000aabbcc', 'hex'));
    if (at % 50 === 0) small.push(frame(17, [raw(Buffer.alloc(0))]));
  }
  await takes(Buffer.concat(small));
  const blocks = Array.from({ length: tar.length / 64 }, (_, index) =>
    raw(tar.subarray(index * 64, index * 64 + 64), false),
  );
  await takes(frame(17, [...blocks, raw(Buffer.alloc(0))]));
});

test('short frames of any window cost only what they hold, long ones their windows', async () => {
  const pieces = Array.from({ length: tar.length / 512 }, (_, index) => tar.subarray(index * 512, index * 512 + 512));
  for (const log of [18, 23, 27]) {
    await takes(Buffer.concat(pieces.map(piece => frame(log, [raw(piece)]))));
    for (const empty of [7, 8]) {
      const blocks = Array<Buffer>(empty).fill(raw(Buffer.alloc(0), false));
      await takes(frame(log, [...blocks, raw(tar)]));
    }
  }
  // Two thousand windows of 128 MiB would take a minute.
  const began = performance.now();
  const short = Array<Buffer>(2000).fill(frame(27, [raw(Buffer.alloc(0))]));
  await takes(Buffer.concat([...short, frame(17, [raw(tar)])]));
  assert.ok(performance.now() - began < 20_000);
});

test('a layer that is in memory as a whole hears an abort', async () => {
  for (const body of [
    frame(27, Array<Buffer>(100_000).fill(run(1))),
    Buffer.concat(Array<Buffer>(30_000).fill(frame(23, [run(1, true)]))),
    gzip(Buffer.alloc(900 * MIB), 1),
  ]) {
    const reason = new Error('over');
    const controller = new AbortController();
    const began = performance.now();
    let aborted = Number.POSITIVE_INFINITY;
    setTimeout(() => {
      aborted = performance.now();
      controller.abort(reason);
    }, 30);
    await assert.rejects(
      extracts(layer(body), undefined, { signal: controller.signal, chunkBytes: body.length }),
      error => error === reason || aborted === Number.POSITIVE_INFINITY,
    );
    assert.ok(performance.now() - Math.min(aborted, began + 30) < 1500);
  }
});

test('damaged zstd data is described without words of a decoder', async () => {
  const whole = frame(20, [raw(tar)]);
  for (const [what, body] of [
    ['cut in a block', whole.subarray(0, 600)],
    ['cut in the header', whole.subarray(0, 5)],
    ['cut before a block', frame(20, [raw(tar, false)])],
    ['a block that is too large', frame(20, [run(200_000, true)])],
    ['a reserved bit', Buffer.from(whole).fill(8, 4, 5)],
    ['other data after it', Buffer.concat([whole, Buffer.from('hello')])],
    ['cut in a skippable frame', Buffer.concat([whole, Buffer.from('502a4d18ffffffff', 'hex')])],
  ] as const)
    await refuses(layer(body), 'LAYER_CORRUPT', /damaged zstd data: it (?:ends|has)|its frame header/, what);
});

const exportsOf = (count: number): Buffer => {
  const one = Buffer.from([1, 0x61, 0, 0]);
  const body = Buffer.concat([leb(count), ...Array<Buffer>(count).fill(one)]);
  return Buffer.concat([Buffer.from('\0asm\x01\0\0\0', 'latin1'), Buffer.from([7]), leb(body.length), body]);
};

function leb(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) + (rest >= 128 ? 128 : 0));
    if (rest < 128) return Buffer.from(bytes);
  }
}

const WORST: Record<string, () => ReturnType<typeof layer>> = {
  'tiny blocks in a window of 32 MiB': () => layer(frame(25, Array<Buffer>(19_000).fill(run(1)))),
  'tiny blocks in a window of 64 MiB': () => layer(frame(26, Array<Buffer>(2000).fill(run(1)))),
  'blocks without content': () => layer(frame(27, Array<Buffer>(300_000).fill(raw(Buffer.alloc(0), false)))),
  'frames without content': () => layer(Buffer.concat(Array<Buffer>(150_000).fill(frame(17, [raw(Buffer.alloc(0))])))),
  'skippable frames': () => layer(Buffer.concat([Buffer.alloc(0), ...Array<Buffer>(120_000).fill(SKIPPABLE)])),
  'long runs': () => layer(frame(20, Array<Buffer>(10_000).fill(run(131_072)))),
  'a gzip bomb': () => layer(gzip(Buffer.alloc(200 * MIB), 1)),
  'many exports': () => layer(gzip(tarOf([{ name: 'plugin.wasm', body: exportsOf(4_000_000) }]), 1)),
  'long names in deep folders': () =>
    layer(
      gzip(
        tarOf([
          { name: '.wh.x', body: '' },
          ...Array.from({ length: 8000 }, (_, index) => ({ name: `${'d/'.repeat(2000)}${index}.wasm`, body: '' })),
        ]),
        1,
      ),
    ),
};

const SKIPPABLE = Buffer.from('502a4d1800000000', 'hex');

for (const [what, image] of Object.entries(WORST))
  test(`timers and signals are served while a layer is read: ${what}`, slow, async () => {
    const made = image();
    const turn = await longestTurn(() => extracts(made).catch(() => undefined));
    assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
  });
