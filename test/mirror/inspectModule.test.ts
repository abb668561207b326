import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { inspectModule, type ModuleInspection, ModuleInvalid } from '../../mirror/extract/module/inspectModule.ts';
import { buildComponent, buildModule } from '../support/module.ts';
import { times } from '../support/slow.ts';

let dir = '';
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'inspect-module-'));
});
after(() => rm(dir, { recursive: true }));

async function inspect(bytes: Buffer): Promise<ModuleInspection> {
  const path = join(dir, 'plugin.wasm');
  await writeFile(path, bytes);
  return inspectModule(path, 'p 1.0.0');
}

async function refusalOf(bytes: Buffer): Promise<string> {
  try {
    await inspect(bytes);
  } catch (error) {
    assert.ok(error instanceof ModuleInvalid, String(error));
    assert.equal(error.code, 'MODULE_INVALID');
    assert.match(error.message, /^p 1\.0\.0: /);
    return error.message;
  }
  return assert.fail('it was accepted');
}

const PREAMBLE = Buffer.from('0061736d01000000', 'hex');
const moduleOf = (...sections: (Buffer | string)[]) =>
  Buffer.concat([
    PREAMBLE,
    ...sections.map(section => (typeof section === 'string' ? Buffer.from(section, 'hex') : section)),
  ]);
const exported = (name: string, kind = '00') =>
  `${name.length.toString(16).padStart(2, '0')}${Buffer.from(name).toString('hex')}${kind}00`;
const exportsOf = (...entries: string[]) => {
  const body = Buffer.from(`${entries.length.toString(16).padStart(2, '0')}${entries.join('')}`, 'hex');
  return Buffer.concat([Buffer.from([7, body.length]), body]);
};

for (const abi of ['0.1.0', '0.2.0', '0.2.1'] as const)
  test(`a module that exports Proxy-Wasm ABI ${abi}`, async () => {
    const bytes = buildModule({ abi, sizeBytes: 100_000 });
    assert.deepEqual(await inspect(bytes), { abi, warnings: [], sizeBytes: bytes.length });
  });

test('a missing ABI is a warning, an ABI unknown to Envoy is named, and a global is not an ABI export', async () => {
  for (const bytes of [
    buildModule({ abi: null }),
    PREAMBLE,
    moduleOf(exportsOf(exported('proxy_abi_version_0_2_1', '03'))),
  ]) {
    const { abi, warnings } = await inspect(bytes);
    assert.equal(abi, null);
    assert.match(warnings.join(), /exports no proxy_abi_version/);
  }
  const next = await inspect(moduleOf(exportsOf(exported('proxy_abi_version_0_3_0'))));
  assert.equal(next.abi, null);
  assert.match(next.warnings.join(), /proxy_abi_version_0_3_0/);
});

test('of several ABI exports the first is used, as by Envoy', async () => {
  const both = moduleOf(exportsOf(exported('proxy_abi_version_0_2_1'), exported('proxy_abi_version_0_1_0')));
  assert.equal((await inspect(both)).abi, '0.2.1');
});

test('a file that is not a module is named by its kind', async () => {
  const cases: [Buffer | string, RegExp][] = [
    ['', /an empty file/],
    ['<!DOCTYPE html><html>', /an HTML page/],
    ['\n <html><body>403</body>', /an HTML page/],
    ['<?xml version="1.0"?><Error/>', /an XML document/],
    ['{"errors":[]}', /a JSON document/],
    ['version https://git-lfs.github.com/spec/v1\n', /a Git LFS pointer/],
    ['(module)', /WAT/],
    ['#!/bin/sh\n', /a script/],
    [Buffer.from('1f8b0800', 'hex'), /gzip/],
    [Buffer.from('28b52ffd00', 'hex'), /zstd/],
    [Buffer.from('7f454c4602', 'hex'), /an ELF binary/],
    ['PK\x03\x04', /a zip archive/],
    ['070707', /a cpio archive/],
    [buildComponent(), /a Wasm component/],
    [Buffer.from('0061736d02000000', 'hex'), /version 2/],
    [Buffer.from('0061736d01', 'hex'), /truncated/],
    [Buffer.alloc(600), /zero bytes/],
    [Buffer.from('01ad02ef', 'hex'), /unknown \(starts 01 ad 02 ef\)/],
  ];
  for (const [bytes, expected] of cases) assert.match(await refusalOf(Buffer.from(bytes)), expected);
});

test('a damaged chain of sections is refused', async () => {
  const whole = buildModule({ sizeBytes: 5000 });
  const cases: [Buffer, RegExp][] = [
    [whole.subarray(0, whole.length - 1), /claims/],
    [Buffer.concat([whole, Buffer.from([0])]), /cut short/],
    [Buffer.concat([whole, Buffer.alloc(100)]), /no room for its name/],
    [moduleOf('000105'), /no room for its name/],
    [moduleOf('01'), /cut short/],
    [moduleOf('01ffffffff7f'), /32 bits/],
    [moduleOf('018080808080'), /32 bits/],
    [moduleOf('01ffffffff0f'), /claims 4294967295/],
    [moduleOf('0e00'), /unknown id 14/],
    [moduleOf('0100', '0100'), /out of order or repeated/],
    [moduleOf('0300', '0100'), /out of order/],
    [moduleOf('0700'), /export section is cut short/],
    [moduleOf('0705ffffffff0f'), /export section is cut short/],
    [moduleOf('070201ff'), /export section is cut short/],
    [moduleOf('070301ff01'), /runs past the end/],
    [moduleOf('07020000'), /too many/],
    [moduleOf(...Array.from({ length: 10_001 }, () => '00020161')), /more than 10000 sections/],
  ];
  for (const [bytes, expected] of cases) assert.match(await refusalOf(bytes), expected);
});

test('an export section that claims more than 16 MiB is refused unread', async () => {
  const bytes = Buffer.concat([PREAMBLE, Buffer.from('07a1808008', 'hex'), Buffer.alloc(16 * 1024 * 1024 + 33)]);
  assert.match(await refusalOf(bytes), /export section claims 16777249 bytes/);
});

test('any bytes give a result or MODULE_INVALID, and every cut of a module is refused', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, prefixed) => {
      const input = prefixed ? Buffer.concat([PREAMBLE, bytes]) : Buffer.from(bytes);
      await inspect(input).catch(error => assert.ok(error instanceof ModuleInvalid, String(error)));
    }),
    { numRuns: times(100, 300) },
  );
  const whole = buildModule();
  const sectionEnds = new Set([8]);
  for (let at = 8; at < whole.length; sectionEnds.add(at))
    at += 6 + (whole.readUIntLE(at + 1, 1) & 0x7f) + ((whole[at + 2] ?? 0) & 0x7f) * 128;
  for (let length = 0; length < whole.length; length++)
    if (!sectionEnds.has(length)) await refusalOf(whole.subarray(0, length));
});
