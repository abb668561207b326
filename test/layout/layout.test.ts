import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { create } from 'tar';
import type { Digest } from '../../base/digest.ts';
import { Refusal } from '../../base/refusal.ts';
import { LayoutPartWrong } from '../../layout/errors.ts';
import { IMAGE_NAME, type LayoutEntry, parseIndex, REF_NAME } from '../../layout/layoutIndex.ts';
import { openLayout } from '../../layout/openLayout.ts';
import { partName, partPatterns } from '../../layout/partFiles.ts';
import { openFileSink, openPipeSink } from '../../layout/partWriter.ts';
import { type BlobSource, type LayoutContent, writeFolderLayout, writeTarLayout } from '../../layout/writeLayout.ts';
import { tarOf as archiveOf } from '../support/archive.ts';
import { refused } from '../support/refused.ts';

const run = promisify(execFile);
const { signal } = new AbortController();
let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'layout-'));
});
after(() => rm(dir, { recursive: true, force: true }));

function digestOf(bytes: Buffer, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

function blob(bytes: Buffer, algorithm?: 'sha512'): BlobSource & { readonly bytes: Buffer } {
  return { digest: digestOf(bytes, algorithm), size: bytes.length, bytes, open: async () => bytes };
}

function entry(name: string, { digest, size }: BlobSource): LayoutEntry {
  return {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest,
    size,
    annotations: { [REF_NAME]: name, [IMAGE_NAME]: name },
  };
}

const small = blob(Buffer.from('{"schemaVersion":2}'));
const long = blob(Buffer.from('a manifest under a long digest'), 'sha512');
const large = blob(Buffer.from(Array.from({ length: 3 * 1024 * 1024 + 17 }, (_, at) => (at * 31 + (at >> 9)) & 255)));
const content: LayoutContent = {
  index: {
    entries: [entry('example.com/plugins/b:1', long), entry('example.com/plugins/a:1', small)],
    annotations: {},
  },
  blobs: [large, small, long],
};

async function writeTar(name: string, partBytes?: number, what: LayoutContent = content): Promise<string> {
  const path = join(dir, name);
  const sink = openFileSink(path, partBytes);
  await writeTarLayout(what, sink, signal);
  await sink.finish();
  return path;
}

function partOf(path: string, number: number): string {
  return `${path}.${String(number).padStart(3, '0')}`;
}

async function refusal(path: string): Promise<{ code: string; text: string }> {
  const error = await openLayout(path).then(
    () => assert.fail(`${path} was opened`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof Refusal, String(error));
  assert.notEqual(error.hint, '');
  return {
    code: error.code,
    text: `${error.message}: found ${error.found}, expected ${error.expected} → ${error.hint}`,
  };
}

async function allOf(path: string): Promise<Record<string, string>> {
  const layout = await openLayout(path);
  try {
    const read = await Promise.all(
      (await layout.digests()).map(async digest => [
        digest,
        digestOf(await layout.read(digest, 1e9), algorithmOf(digest)),
      ]),
    );
    return Object.fromEntries(read) as Record<string, string>;
  } finally {
    await layout.close();
  }
}

function algorithmOf(digest: Digest): 'sha256' | 'sha512' {
  return digest.startsWith('sha256') ? 'sha256' : 'sha512';
}

const everything = Object.fromEntries([large, small, long].map(({ digest }) => [digest, digest]));

test('a tar holds what was written, and two runs write the same bytes', async () => {
  const one = await writeTar('one.tar');
  const other = await writeTar('other.tar', undefined, {
    index: { ...content.index, entries: [...content.index.entries].reverse() },
    blobs: [...content.blobs].reverse(),
  });
  assert.deepEqual(await allOf(one), everything);
  assert.equal(digestOf(await readFile(one)), digestOf(await readFile(other)));
  const { stdout } = await run('tar', ['tvf', one]);
  assert.match(stdout, /^-rw-r--r-- 0\/0 +31 1970-01-01 \d\d:00 oci-layout\n-rw-r--r-- 0\/0 .* index\.json\n/);
  assert.ok(stdout.includes(`blobs/${long.digest.replace(':', '/')}`), 'long names are whole');
});

test('a piece of a blob is read by its offsets', async () => {
  for (const path of [
    await writeTar('ranges.tar'),
    await writeTar('ranges-split.tar', 1_000_000),
    join(dir, 'folder'),
  ]) {
    if (path.endsWith('folder')) await writeFolderLayout(content, path, signal);
    const layout = await openLayout(path.includes('split') ? `${path}.001` : path);
    const chunks: Buffer[] = [];
    for await (const chunk of await layout.open(large.digest, 999_000, 1_002_000)) chunks.push(chunk as Buffer);
    assert.deepEqual(Buffer.concat(chunks), large.bytes.subarray(999_000, 1_002_000));
    assert.equal(await layout.sizeOf(large.digest), large.size);
    assert.equal(await layout.sizeOf(digestOf(Buffer.from('absent'))), undefined);
    await layout.close();
  }
});

test('parts joined by cat are the whole, and sha256sum accepts their checksum file', async () => {
  const whole = await writeTar('whole.tar');
  const path = await writeTar('split.tar', 1_000_000);
  const parts = (await readdir(dir)).filter(name => /^split\.tar\.\d+$/.test(name)).sort();
  assert.deepEqual(parts, ['split.tar.001', 'split.tar.002', 'split.tar.003', 'split.tar.004']);
  await run('sh', ['-c', 'cat split.tar.0* > split.tar && sha256sum -c --quiet split.tar.sha256'], { cwd: dir });
  assert.deepEqual(await readFile(path), await readFile(whole));
  for (const ending of ['.001', '.003', '.sha256', '']) assert.deepEqual(await allOf(`${path}${ending}`), everything);
});

test('a shell joins the parts in their order, however many they are', async () => {
  const folder = join(dir, 'patterns');
  await mkdir(folder);
  const names = Array.from({ length: 1010 }, (_, at) => partName('b.tar', at + 1));
  for (const name of [...names, 'b.tar.sha256', 'b.tar.10']) await writeFile(join(folder, name), '');
  const patterns = partPatterns(names.length).map(pattern => `b.tar${pattern}`);
  const { stdout } = await run('sh', ['-c', `echo ${patterns.join(' ')}`], { cwd: folder });
  assert.deepEqual(stdout.trim().split(' '), names);
  assert.deepEqual(partPatterns(2), ['.[0-9][0-9][0-9]']);
});

test('a new bundle replaces all files of an older one of the same name, and no others', async () => {
  const own = async (): Promise<string[]> => (await readdir(dir)).filter(name => name.startsWith('old.tar')).sort();
  const kept = ['old.tar.000', 'old.tar.0001', 'old.tar.1000', 'old.tar.2026', 'old.tar.bak', 'old.tar2.001'];
  for (const name of kept) await writeFile(join(dir, name), 'kept');
  await mkdir(join(dir, 'old.tar.900'));
  const expect = async (...names: string[]): Promise<void> =>
    assert.deepEqual(await own(), [...names, 'old.tar.900', 'old.tar.sha256', ...kept].sort());
  await writeTar('old.tar', 500_000);
  await expect(...[1, 2, 3, 4, 5, 6, 7].map(number => `old.tar.00${number}`));
  await writeTar('old.tar', 2_000_000);
  await expect('old.tar.001', 'old.tar.002');
  await writeTar('old.tar');
  await expect('old.tar');
  await writeTar('old.tar', 2_000_000);
  await expect('old.tar.001', 'old.tar.002');
  await writeFile(join(dir, 'old.tar.999'), '');
  await writeTar('old.tar', 2_000_000);
  assert.ok(!(await own()).includes('old.tar.1000'), 'part 1000 is one next to part 999');
});

test('a folder keeps the blobs that its new index leads to, and no others', async () => {
  const path = join(dir, 'older');
  const document = (value: object): ReturnType<typeof blob> => blob(Buffer.from(JSON.stringify(value)));
  const config = blob(Buffer.from('config'));
  const layer = blob(Buffer.from('layer'));
  const gone = blob(Buffer.from('gone'));
  const image = document({ config: { digest: config.digest }, layers: [{ digest: layer.digest }, null] });
  const index = document({ manifests: [{ digest: image.digest }] });
  const old = {
    index: { entries: [entry('example.com/a:1', index), entry('example.com/b:1', gone)], annotations: {} },
  };
  await writeFolderLayout({ ...old, blobs: [index, image, config, layer, gone, long] }, path, signal);
  await writeFile(join(path, 'blobs/sha256/notes.txt'), '');
  // As a delta: the index names an image whose blobs the base has brought.
  const entries = [entry('example.com/a:1', index), entry('example.com/c:1', small)];
  await writeFolderLayout({ index: { entries, annotations: {} }, blobs: [small] }, path, signal);
  const expected = [index, image, config, layer, small].map(({ digest }) => digest);
  assert.deepEqual(Object.keys(await allOf(path)).sort(), expected.sort());
  assert.ok((await readdir(join(path, 'blobs/sha256'))).includes('notes.txt'));
});

test('a comparison with the checksums includes the files that were carried along', async () => {
  const path = join(dir, 'with.tar');
  const program = { path: join(dir, 'program.tar.gz'), sizeBytes: 1, sha256: digestOf(Buffer.from('x')).slice(7) };
  const sink = openFileSink(path, 1_000_000, [program]);
  await writeTarLayout(content, sink, signal);
  await sink.finish();
  const compared = async (): Promise<unknown> => {
    const layout = await openLayout(`${path}.001`);
    return layout.compareChecksums(signal).finally(() => layout.close());
  };
  assert.equal(await compared(), 'equal', 'the program was not carried over');
  await writeFile(program.path, 'x');
  assert.equal(await compared(), 'equal');
  await writeFile(program.path, 'y');
  assert.match(String(await compared()), /program\.tar\.gz has other bytes than its checksum file says/);
});

test('a part that is missing, damaged or renamed is named', async () => {
  const path = await writeTar('parts.tar', 1_000_000);
  const part = (number: number): string => `${path}.00${number}`;
  await rename(part(2), part(9));
  assert.match((await refusal(part(1))).text, /part parts\.tar\.002 is missing/);
  await rename(part(3), part(2));
  await rename(part(9), part(3));
  const layout = await openLayout(part(1));
  await assert.rejects(layout.read(large.digest, 1e9), (error: Refusal) => {
    assert.equal(error.code, 'LAYOUT_PART_WRONG');
    assert.match(
      `${error.message} ${error.found}`,
      /parts\.tar\.002, parts\.tar\.003 have other bytes .* the bytes of parts\.tar\.003 in parts\.tar\.002/,
    );
    return true;
  });
  await layout.close();
  await rm(part(4));
  assert.match(
    (await refusal(`${path}.sha256`)).text,
    /found no parts\.tar\.004; the bytes of parts\.tar\.003 in parts\.tar\.002; the bytes/,
  );
});

test('all parts that are missing or damaged are named at the same time', async () => {
  const path = await writeTar('many.tar', 300_000);
  for (const number of [2, 4, 5, 6, 11]) await rm(partOf(path, number));
  const missing = 'no many.tar.002, many.tar.004 to many.tar.006, many.tar.011';
  for (const number of [1, 9]) await writeFile(partOf(path, number), 'damaged');
  for (const ending of ['', '.001', '.sha256']) {
    const { code, text } = await refusal(`${path}${ending}`);
    assert.equal(code, 'LAYOUT_PART_WRONG');
    assert.ok(text.startsWith('7 parts of the bundle are missing or damaged:'), text);
    assert.ok(text.includes(`found ${missing}; other bytes in many.tar.001, many.tar.009,`), text);
  }
  await rm(`${path}.sha256`);
  const { text } = await refusal(path);
  assert.match(text, /parts many\.tar\.002, many\.tar\.004 to many\.tar\.006 are missing.*all parts up to the last/s);
});

test('damaged parts are all named by one comparison, and for each blob', async () => {
  const path = await writeTar('pair.tar', 1_000_000);
  for (const number of [2, 3]) {
    const bytes = await readFile(partOf(path, number));
    bytes[1000] = (bytes[1000] ?? 0) ^ 1;
    await writeFile(partOf(path, number), bytes);
  }
  const layout = await openLayout(path);
  try {
    const compared = await layout.compareChecksums(signal);
    assert.ok(compared instanceof LayoutPartWrong);
    assert.deepEqual(
      compared.damaged.map(file => file.path),
      [partOf(path, 2), partOf(path, 3)],
    );
    await assert.rejects(layout.read(large.digest, 1e9), (error: Refusal) => {
      assert.match(
        `${error.message}: ${error.found}`,
        /^pair\.tar\.002, pair\.tar\.003 have .*: other bytes in pair\.tar\.002, pair/,
      );
      return true;
    });
  } finally {
    await layout.close();
  }
});

test('parts are found by the name of the whole, and joined ones by their checksum file', async () => {
  const path = await writeTar('joined.tar', 1_000_000);
  assert.deepEqual(await allOf(path), everything);
  await writeFile(`${path}.sha256`, `\uFEFF${(await readFile(`${path}.sha256`, 'utf8')).replaceAll('\n', '\r\n')}`);
  assert.deepEqual(await allOf(path), everything, 'a checksum file that an editor on Windows has saved');
  const lines = (await readFile(`${path}.sha256`, 'utf8')).replace('\uFEFF', '').trim().split('\r\n');
  const upper = lines.map(line => line.slice(0, 64).toUpperCase() + line.slice(64));
  await writeFile(`${path}.sha256`, `# made by hand\n${upper.join('\n')}\n`);
  assert.deepEqual(await allOf(path), everything, 'sha256sum takes capital letters and comments');
  await writeFile(`${path}.sha256`, lines.map(line => `SHA256 (${line.slice(66)}) = ${line.slice(0, 64)}\n`).join(''));
  assert.deepEqual(await allOf(path), everything, 'as sha256sum --tag writes it');
  await writeFile(`${path}.sha256`, lines.filter(line => !line.endsWith('.002')).join('\n'));
  assert.match((await refusal(path)).text, /joined\.tar\.sha256 does not name the part joined\.tar\.002/);
  await writeFile(`${path}.sha256`, Buffer.from(lines.join('\n'), 'utf16le'));
  assert.match((await refusal(path)).text, /is not a checksum file.*UTF-16/s);
  await writeFile(`${path}.sha256`, lines.join('\n'));
  const kept = ['joined.tar.000', 'joined.tar.0001', 'joined.tar.009'].map(name => join(dir, name));
  for (const file of kept) await writeFile(file, '');
  assert.deepEqual(await allOf(path), everything, 'files that look like parts and are none');
  for (const file of kept) await rm(file);
  await run('sh', ['-c', 'cat joined.tar.0* > joined.tar && rm joined.tar.0*'], { cwd: dir });
  assert.deepEqual(await allOf(`${path}.sha256`), everything);
});

test('files whose names differ from those in their checksum file are named', async () => {
  const path = await writeTar('named.tar', 1_000_000);
  const renamed = join(dir, 'new (1).tar');
  for (const name of (await readdir(dir)).filter(it => it.startsWith('named.tar.')))
    await rename(join(dir, name), join(dir, name.replace('named.tar', 'new (1).tar')));
  for (const ending of ['', '.001', '.002', '.sha256']) {
    const { code, text } = await refusal(`${renamed}${ending}`);
    assert.equal(code, 'LAYOUT_PART_WRONG', ending);
    assert.match(text, /new \(1\)\.tar\.001, .*named\.tar\.001, .*were renamed/s, ending);
  }
  await rename(`${renamed}.sha256`, `${path}.sha256`);
  assert.match((await refusal(`${path}.sha256`)).text, /parts named\.tar\.001 to named\.tar\.004 are missing/);
  await writeFile(`${path}.sha256`, '');
  assert.match((await refusal(`${path}.sha256`)).text, /is not a checksum file.*an empty file/s);
  const folder = join(dir, 'folder of parts');
  await mkdir(folder);
  await rename(`${renamed}.001`, join(folder, 'new.tar.001'));
  assert.match((await refusal(folder)).text, /Name the file: .*folder of parts\/new\.tar\.001/);
});

test('long names of other tar programs are read whole, also where their first 100 bytes end with a slash', async () => {
  const body = Buffer.from('3 bytes and more');
  const hex = createHash('sha512').update(body).digest('hex');
  for (const longNames of ['gnu', 'pax'] as const)
    for (const name of [`./blobs/sha512/${hex}`, `${'./'.repeat(50)}blobs/sha512/${hex}`]) {
      const path = join(dir, 'long.tar');
      const json = (file: string, value: object) => ({ name: file, body: JSON.stringify(value) });
      const tar = archiveOf([
        { name, body, longNames },
        json('oci-layout', { imageLayoutVersion: '1.0.0' }),
        json('index.json', { schemaVersion: 2, manifests: [] }),
      ]);
      await writeFile(path, tar);
      const layout = await openLayout(path);
      try {
        assert.deepEqual(await layout.digests(), [`sha512:${hex}`], longNames);
        assert.ok((await layout.read(`sha512:${hex}`, 1000)).equals(body));
      } finally {
        await layout.close();
      }
    }
});

test('a tar that was renamed with its checksum file is compared with it', async () => {
  const path = await writeTar('first.tar');
  const renamed = join(dir, 'second.tar');
  await rename(path, renamed);
  await rename(`${path}.sha256`, `${renamed}.sha256`);
  const compare = async () => {
    const layout = await openLayout(renamed);
    try {
      return await layout.compareChecksums(signal);
    } finally {
      await layout.close();
    }
  };
  assert.equal(await compare(), 'equal');
  await writeFile(`${renamed}.sha256`, `${'0'.repeat(64)}  first.tar\n${'1'.repeat(64)}  more.tar.gz\n`);
  const different = await compare();
  assert.ok(different instanceof LayoutPartWrong);
  assert.match(different.expected ?? '', /^sha256 0{64} or 1{64}$/);
});

test('a tar that is cut off anywhere is refused', async () => {
  const path = await writeTar('cut.tar');
  const { length } = await readFile(path);
  for (const size of [
    0,
    100,
    512,
    700,
    1024,
    2500,
    3000,
    length - 1024 - 600,
    length - 1024,
    length - 512,
    length - 1,
  ]) {
    await truncate(await writeTar('cut.tar'), size);
    assert.equal((await refusal(path)).code, 'LAYOUT_PART_WRONG', `${size}, with a checksum file`);
    await rm(`${path}.sha256`);
    const { code, text } = await refusal(path);
    assert.equal(code, 'LAYOUT_INVALID', `${size}: ${text}`);
  }
});

function entriesOf(...names: readonly string[]): Buffer {
  return archiveOf(names.map(name => ({ name, body: Buffer.from('{}') })));
}

test('what is no layout is refused by what it is', async () => {
  const file = async (name: string, bytes: Buffer | string): Promise<string> => {
    await writeFile(join(dir, name), bytes);
    return join(dir, name);
  };
  const tarOf = async (name: string, files: readonly string[]): Promise<string> => {
    const path = join(dir, name);
    await create({ file: path, cwd: dir, portable: true, preservePaths: true }, [...files]);
    return path;
  };
  const fifo = async (name: string): Promise<string> => {
    await run('mkfifo', [join(dir, name)]);
    return join(dir, name);
  };
  /** Parts without a checksum file, of which the second one is of another bundle. */
  const mixed = async (name: string, bytes: Buffer): Promise<string> => {
    await file(`${name}.002`, Buffer.alloc(5000, 'x'));
    return file(`${name}.001`, bytes.subarray(0, bytes.length - 1024));
  };
  await fifo('b.tar.sha256');
  await file('manifest.json', '[]');
  await file('oci-layout', '{"imageLayoutVersion":"9"}');
  await symlink('manifest.json', join(dir, 'link.json'));
  const whole = await readFile(await writeTar('plain.tar'));
  const cases: readonly (readonly [string, RegExp])[] = [
    [join(dir, 'absent.tar'), /There is no file/],
    [join(dir, 'absent.tar.001'), /There is no file .*absent\.tar\.001/],
    [await mixed('mixed.tar', whole), /The parts of .* do not fit together.*in mixed\.tar\.002/s],
    [await file('a.tar.gz', gzipSync(whole)), /compressed with gzip/],
    [await file('a.tar.xz', Buffer.from('fd377a585a000004', 'hex')), /compressed with xz.*Unpack it first: xz -d/s],
    [await file('a.tar.bz2', 'BZh91AY&SY'), /compressed with bzip2/],
    [await file('a.txt', 'Hello, world\n'.repeat(100)), /is not a tar.*begins with "Hello, world\\n/s],
    [await file('a.html', `<!doctype html>${' '.repeat(600)}`), /is not a tar.*begins with "<!doctype html>/s],
    [await file('a.zip', `PK\u0003\u0004${'\0'.repeat(600)}`), /is a zip archive: unpack it/],
    [await file('nested.tar', entriesOf('my/oci-layout', 'my/index.json')), /in the folder my: unpack the archive/],
    [await file('packed.tar', entriesOf('readme.txt', 'b.tar.001')), /Unpack the archive, and name b\.tar\.001/],
    [await tarOf('saved.tar', ['manifest.json']), /written by docker save/],
    [await tarOf('version.tar', ['oci-layout', 'manifest.json']), /imageLayoutVersion "9"/],
    [await tarOf('twice.tar', ['oci-layout', 'oci-layout']), /oci-layout twice/],
    [await tarOf('linked.tar', ['link.json', 'oci-layout']), /which is a symbolic link/],
    [await tarOf('archive.tar', ['link.json', 'manifest.json']), /written by docker save/],
    [await file('up.tar', entriesOf('oci-layout', '../manifest.json')), /the name "\.\.\/manifest\.json"/],
    [await file('absolute.tar', entriesOf('/oci-layout')), /the name "\/oci-layout"/],
    [await fifo('pipe.tar'), /not a regular file/],
    [`${await file('b.tar', whole)}.sha256`, /not a regular file/],
    [dir, /imageLayoutVersion "9"/],
  ];
  for (const [path, pattern] of cases) assert.match((await refusal(path)).text, pattern, path);
});

test('index.json is refused with the place that is wrong', () => {
  const index = (manifests: unknown, rest: object = {}): Buffer =>
    Buffer.from(JSON.stringify({ schemaVersion: 2, manifests, ...rest }));
  const good = entry('example.com/a:1', small);
  const cases: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from('{'), /JSON/],
    [Buffer.from('[]'), /a list/],
    [index(undefined), /manifests: nothing/],
    [index([good], { schemaVersion: 1 }), /schemaVersion 1/],
    [index([good, { ...good, size: -1 }]), /manifests\[1\]: size -1/],
    [index([{ ...good, digest: 'sha256:abc' }]), /manifests\[0\]: digest "sha256:abc"/],
    [index([good, { ...good, digest: large.digest }]), /example\.com\/a:1 twice/],
    [index([{ ...good, annotations: { a: 1 } }]), /annotations that are not texts/],
  ];
  for (const [bytes, pattern] of cases)
    assert.throws(
      () => parseIndex(bytes, 'b.tar'),
      (error: Refusal) => pattern.test(`${error.found}`),
    );
  assert.equal(parseIndex(index([good, good]), 'b.tar').entries.length, 2, 'one name, one digest');
});

test('a source with other bytes than its digest ends the writing, and nothing has its final name', async () => {
  const path = join(dir, 'wrong.tar');
  const sink = openFileSink(path, 1000);
  const wrong = { ...small, open: async () => Buffer.from('{"schemaVersion":3}') };
  await assert.rejects(writeTarLayout({ ...content, blobs: [wrong] }, sink, signal), { code: 'LAYOUT_BLOB_DAMAGED' });
  await sink.abandon();
  assert.deepEqual(
    (await readdir(dir)).filter(name => name.startsWith('wrong')),
    [],
  );
});

test('of two runs that write the same bundle, the first to begin ends without naming bytes of the other', async () => {
  const path = join(dir, 'shared.tar');
  const [first, second] = [openFileSink(path, 1000), openFileSink(path, 1000)];
  await first.write(Buffer.alloc(1500, 'a'));
  await second.write(Buffer.alloc(1200, 'b'));
  await assert.rejects(first.finish(), /Another run writes .*shared\.tar\.001/);
  await first.abandon();
  const files = await second.finish();
  assert.deepEqual(await readFile(`${path}.002`), Buffer.alloc(200, 'b'));
  assert.deepEqual((await readdir(dir)).filter(name => name.startsWith('shared')).sort(), [
    'shared.tar.001',
    'shared.tar.002',
    'shared.tar.sha256',
  ]);
  assert.equal(files.length, 3);
});

test('of two runs that write one folder, the one that ends has all of its blobs there', async () => {
  const path = join(dir, 'shared');
  let begun = (): void => undefined;
  let release = (): void => undefined;
  const hasBegun = new Promise<void>(resolve => {
    begun = resolve;
  });
  const held = new Promise<void>(resolve => {
    release = resolve;
  });
  const slowBlob: BlobSource = {
    ...large,
    open: async () => {
      begun();
      await held;
      return large.bytes;
    },
  };
  const older = { index: { entries: [entry('example.com/a:1', large)], annotations: {} }, blobs: [slowBlob] };
  const first = writeFolderLayout(older, path, signal);
  await hasBegun;
  const newer = { index: { entries: [entry('example.com/b:1', small)], annotations: {} }, blobs: [small] };
  await writeFolderLayout(newer, path, signal);
  release();
  await assert.rejects(first, /Another run writes .*shared\/index\.json/);
  const layout = await openLayout(path);
  assert.deepEqual(
    layout.index.entries.map(({ digest }) => digest),
    [small.digest],
  );
  assert.notEqual(await layout.sizeOf(small.digest), undefined);
  assert.ok(!(await readdir(path)).some(name => name.endsWith('.tmp')));
});

test('a folder that cannot be written is refused like a tar', async () => {
  const file = join(dir, 'a-file');
  await writeFile(file, '');
  for (const path of [file, join(file, 'bundle')])
    await assert.rejects(writeFolderLayout(content, path, signal), (error: unknown) => {
      assert.ok(error instanceof Refusal);
      assert.deepEqual([error.code, error.found], ['LAYOUT_NOT_WRITABLE', 'a file in the place of a folder']);
      return /only a name that ends in \.tar/.test(error.hint ?? '');
    });
  const taken = join(dir, 'taken');
  await mkdir(join(taken, 'index.json', 'folder'), { recursive: true });
  await writeFile(join(taken, 'oci-layout'), '');
  await assert.rejects(writeFolderLayout(content, taken, signal), refused('LAYOUT_NOT_WRITABLE'));
  assert.ok(!(await readdir(taken)).some(name => name.endsWith('.tmp')));
});

test('a folder with other files is left as it is, and a new volume is not', async () => {
  const tree = join(dir, 'tree');
  await mkdir(join(tree, 'ai-proxy'), { recursive: true });
  await writeFile(join(tree, 'index.json'), '{}');
  await assert.rejects(writeFolderLayout(content, tree, signal), refused('LAYOUT_NOT_WRITABLE'));
  assert.deepEqual(await readdir(tree), ['ai-proxy', 'index.json']);
  assert.equal(await readFile(join(tree, 'index.json'), 'utf8'), '{}');
  const volume = join(dir, 'volume');
  await mkdir(join(volume, 'lost+found'), { recursive: true });
  for (const _ of ['new', 'again']) await writeFolderLayout(content, volume, signal);
  assert.ok((await readdir(volume)).includes('oci-layout'));
});

test('a pipe whose reader ends early is named as that, and a whole one gets every byte', async () => {
  const ended = new Writable({
    write: (_bytes, _encoding, done) => done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
  });
  ended.on('error', () => {});
  await assert.rejects(openPipeSink(ended).write(Buffer.from('x')), (error: unknown) => {
    assert.ok(error instanceof Refusal);
    assert.deepEqual([error.code, error.found], ['LAYOUT_NOT_WRITABLE', 'a program that ended before']);
    return true;
  });
  const taken: string[] = [];
  const whole = new Writable({
    highWaterMark: 1,
    write: (bytes, _encoding, done) => {
      taken.push(String(bytes));
      done();
    },
  });
  const sink = openPipeSink(whole);
  const buffer = Buffer.from('one');
  await sink.write(buffer);
  buffer.write('two');
  await sink.write(buffer);
  assert.deepEqual(taken, ['one', 'two']);
});

test('a disk that fails while a large bundle is flushed leaves nothing behind', async t => {
  const path = join(dir, 'flushed.tar');
  const probe = await open(join(dir, 'probe'), 'w');
  t.mock.method(Object.getPrototypeOf(probe), 'datasync', () =>
    Promise.reject(Object.assign(new Error('the disk fails'), { code: 'EIO' })),
  );
  await probe.close();
  const sink = openFileSink(path);
  // The flush begins after 32 MiB, and the kernel reports its error only once.
  for (let piece = 0; piece < 33; piece++) await sink.write(Buffer.alloc(1024 * 1024, piece));
  await assert.rejects(sink.finish(), refused('LAYOUT_NOT_WRITABLE'));
  await sink.abandon();
  assert.deepEqual(
    (await readdir(dir)).filter(name => name.startsWith('flushed')),
    [],
  );
});
