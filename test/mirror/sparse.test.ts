import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzip, type TarEntry, tarOf } from '../support/archive.ts';
import { imageOf, MEDIA } from '../support/image.ts';
import { buildModule } from '../support/module.ts';
import { extracts, refuses, takes } from './extraction.ts';

const BLOCK = 4096;

/** A module with `holes` regions of zeros in a custom section. */
function holed(holes: number, { tail = false } = {}): Buffer {
  const module = buildModule({ sizeBytes: (2 * holes + 3) * BLOCK });
  for (let hole = 0; hole < holes; hole++) module.fill(0, (2 * hole + 1) * BLOCK, (2 * hole + 2) * BLOCK);
  if (tail) module.fill(0, 2 * holes * BLOCK);
  return module;
}

const image = (tar: Buffer) => imageOf({ layers: [{ mediaType: MEDIA.tarGzip, body: gzip(tar) }] });

test('sparse files that GNU tar writes are read whole, in each of its forms', async t => {
  if (!isGnuTar(t)) return;
  const dir = mkdtempSync(join(tmpdir(), 'sparse-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, 'other.txt'), Buffer.alloc(3 * BLOCK));
  for (const module of [holed(1), holed(2, { tail: true }), holed(60)]) {
    writeFileSync(join(dir, 'plugin.wasm'), module);
    for (const form of [['gnu'], ['posix', '0.0'], ['posix', '0.1'], ['posix', '1.0']]) {
      const [format, version] = form;
      const options = version === undefined ? [] : [`--sparse-version=${version}`];
      const tar = execFileSync(
        'tar',
        ['-cf', '-', '--sparse', '--hole-detection=raw', `--format=${format}`, ...options, 'other.txt', 'plugin.wasm'],
        { cwd: dir, maxBuffer: 64 * 1024 * 1024 },
      );
      assert.ok(tar.length < module.length + 40_000);
      await takes(image(tar), module, form.join(' '));
    }
  }
});

test('sparse files are read without GNU tar, a hole at either end included', async () => {
  const module = holed(3, { tail: true });
  await takes(image(tarOf([pax10(module)])), module, '1.0');
  await takes(image(tarOf([pax01(module)])), module, '0.1');
  await takes(image(gnuSparse(module)), module, 'type S');
  const readme = Buffer.alloc(BLOCK * 3, '#');
  readme.fill(0, 0, BLOCK);
  await extracts(
    image(tarOf([pax10(readme, 'README.md'), { name: 'plugin.wasm', body: module }])),
    async (plugin, dir) => {
      assert.ok(readme.equals(readFileSync(join(dir, 'README.md'))));
      assert.ok(plugin.sizeBytes === module.length);
    },
  );
});

test('a sparse file with an inconsistent map is damaged, with what to do', async () => {
  const module = holed(2);
  const map = (numbers: readonly (number | string)[], size: number | string = module.length): TarEntry => ({
    name: 'GNUSparseFile.0/plugin.wasm',
    body: Buffer.alloc(BLOCK, 'x'),
    pax: { 'GNU.sparse.name': 'plugin.wasm', 'GNU.sparse.size': String(size), 'GNU.sparse.map': numbers.join(',') },
  });
  const inData = (text: string): TarEntry => ({
    ...pax10(module),
    body: Buffer.concat([Buffer.from(text.padEnd(512, '\0')), Buffer.alloc(BLOCK)]),
  });
  const cases: Record<string, TarEntry> = {
    overlap: map([0, 2048, 1024, 2048]),
    'out of order': map([4096, 2048, 0, 2048]),
    'beyond the size': map([0, BLOCK], 100),
    'less data': map([0, 100]),
    'more data': map([0, BLOCK * 2]),
    'an odd map': map([0, BLOCK, 5]),
    'a negative number': map([-1, BLOCK]),
    'a huge number': map(['99999999999999999999', BLOCK]),
    'no number': map(['x', BLOCK]),
    'a map that never ends': inData('9\n0\n4096\n'),
    'a map of other things': inData('hello'),
    'many regions': inData('100001\n'),
    'two offsets': {
      ...map([]),
      pax: { 'GNU.sparse.size': '9', 'GNU.sparse.numbytes': '1', 'GNU.sparse.offset': '0' },
    },
  };
  for (const [what, entry] of Object.entries(cases)) {
    const { hint } = await refuses(image(tarOf([entry])), 'LAYER_CORRUPT', /damaged sparse file/, what);
    assert.match(hint, /--sparse/);
  }
  const cut = gnuSparse(holed(60));
  await refuses(image(cut.subarray(0, 1024)), 'LAYER_CORRUPT', /within a sparse map/);
});

test('the size limit counts the zeros', async () => {
  const size = 268_435_457;
  const entry: TarEntry = {
    name: 'plugin.wasm',
    body: Buffer.from('\0asm'),
    pax: { 'GNU.sparse.size': String(size), 'GNU.sparse.map': '0,4' },
  };
  await refuses(image(tarOf([entry])), 'LAYER_TOO_LARGE', /larger than 268435456 bytes/);
});

/** The regions of a file that are not zeros, in blocks. */
function regionsOf(file: Buffer): [offset: number, length: number][] {
  const regions: [number, number][] = [];
  for (let at = 0; at < file.length; at += BLOCK) {
    const block = file.subarray(at, at + BLOCK);
    if (block.some(byte => byte !== 0)) regions.push([at, block.length]);
  }
  return regions;
}

const dataOf = (file: Buffer) => regionsOf(file).map(([at, length]) => file.subarray(at, at + length));

function pax10(file: Buffer, name = 'plugin.wasm'): TarEntry {
  const regions = regionsOf(file);
  const map = Buffer.from(`${[regions.length, ...regions.flat()].join('\n')}\n`);
  return {
    name: `GNUSparseFile.0/${name}`,
    body: Buffer.concat([map, Buffer.alloc((512 - (map.length % 512)) % 512), ...dataOf(file)]),
    pax: {
      'GNU.sparse.major': '1',
      'GNU.sparse.minor': '0',
      'GNU.sparse.name': name,
      'GNU.sparse.realsize': String(file.length),
    },
  };
}

function pax01(file: Buffer): TarEntry {
  const regions = regionsOf(file);
  return {
    name: 'GNUSparseFile.0/plugin.wasm',
    body: Buffer.concat(dataOf(file)),
    pax: {
      'GNU.sparse.size': String(file.length),
      'GNU.sparse.numblocks': String(regions.length),
      'GNU.sparse.name': 'plugin.wasm',
      'GNU.sparse.map': regions.flat().join(','),
    },
  };
}

function gnuSparse(file: Buffer): Buffer {
  const regions = regionsOf(file);
  const tar = tarOf([{ name: 'plugin.wasm', type: 'S', body: Buffer.concat(dataOf(file)) }]);
  const header = tar.subarray(0, 512);
  const octal = (block: Buffer, value: number, at: number) =>
    block.write(`${value.toString(8).padStart(11, '0')}\0`, at, 'latin1');
  const put = (block: Buffer, at: number, some: typeof regions) => {
    for (const [index, [offset, length]] of some.entries()) {
      octal(block, offset, at + index * 24);
      octal(block, length, at + index * 24 + 12);
    }
  };
  header.write('ustar  \0', 257, 'latin1');
  put(header, 386, regions.slice(0, 4));
  header[482] = regions.length > 4 ? 1 : 0;
  octal(header, file.length, 483);
  const more: Buffer[] = [];
  for (let from = 4; from < regions.length; from += 21) {
    const block = Buffer.alloc(512);
    put(block, 0, regions.slice(from, from + 21));
    block[504] = from + 21 < regions.length ? 1 : 0;
    more.push(block);
  }
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return Buffer.concat([header, ...more, tar.subarray(512)]);
}

function isGnuTar(t: TestContext): boolean {
  try {
    if (execFileSync('tar', ['--version'], { encoding: 'utf8' }).includes('GNU tar')) return true;
  } catch {
    // no tar at all
  }
  t.skip('needs GNU tar');
  return false;
}
