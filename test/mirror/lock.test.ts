import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { Refusal } from '../../base/refusal.ts';
import { LockConflict, LockInvalid, LockNewer, LockUnreadable, LockUnwritable } from '../../mirror/lockfile/errors.ts';
import { compareLockfile } from '../../mirror/lockfile/lockedVersions.ts';
import {
  formatLockfile,
  type Lockfile,
  type LockfileEntry,
  lockfilePath,
  parseLockfile,
  readLockfile,
  writeLockfile,
} from '../../mirror/lockfile/lockfile.ts';
import { parsePluginManifest } from '../../mirror/manifest/readManifest.ts';
import type { Digest } from '../../registry/reference.ts';
import { TreeLockLost } from '../../tree/errors.ts';

const hex = 'ab'.repeat(32);
const digest: Digest = `sha256:${hex}`;
const other: Digest = `sha256:${'cd'.repeat(32)}`;

function image(
  name: string,
  version: string,
  more: Partial<Extract<LockfileEntry, { kind: 'image' }>> = {},
): LockfileEntry {
  return {
    kind: 'image',
    name,
    version,
    reference: `r.io/plugins/${name}:${version}`,
    digest,
    layer: { digest: other, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', sizeBytes: 10 },
    sha256: hex,
    sizeBytes: 30,
    ...more,
  };
}
const local: LockfileEntry = { kind: 'file', name: 'l', version: '1', file: './l.wasm', sha256: hex, sizeBytes: 8 };
const full: Lockfile = {
  entries: [
    image('b', '1.0.0', {
      platform: 'linux/amd64',
      annotations: {
        'org.opencontainers.image.created': '2026-01-01T00:00:00Z',
        'org.opencontainers.image.version': '1',
      },
    }),
    image('constructor', '2'),
    image('constructor', '10'),
    local,
  ],
};

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lock-'));
});
after(() => rm(folder, { recursive: true, force: true }));

function parse(text: string): Promise<Lockfile> {
  return parseLockfile(text, { file: 'manifest.lock.json' });
}

/** The text of `full` with its parsed value changed. */
function edited(edit: (lock: ReturnType<typeof JSON.parse>) => void): string {
  const value = JSON.parse(formatLockfile(full));
  edit(value);
  return JSON.stringify(value, null, 2);
}

describe('a lock', () => {
  it('is read back as it was written, whatever the order', async () => {
    const text = formatLockfile({ entries: [...full.entries].reverse() });
    assert.equal(text, formatLockfile(full));
    assert.deepEqual(new Set((await parse(text)).entries), new Set(full.entries));
    assert.ok(text.endsWith('}\n'));
    assert.equal(formatLockfile(await parse(text)), text);
  });
  it('has its entries in the order of their names, written by sync or edited', async () => {
    const text = formatLockfile({ entries: ['2', '10', '1.0'].map(version => image('p', version)) });
    for (const each of [text, `${text} `])
      assert.deepEqual(
        (await parse(each)).entries.map(({ version }) => version),
        ['1.0', '10', '2'],
      );
  });
  it('has only the annotations worth reviewing', () => {
    const annotations = { 'org.opencontainers.image.version': '1', 'com.example.secret': 'x', toString: 'y' };
    const text = formatLockfile({ entries: [image('a', '1', { annotations })] });
    assert.doesNotMatch(text, /secret|toString/);
    assert.match(text, /image\.version/);
  });
  it('of any entries is read back', async () => {
    const part = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,10}$/);
    const entries = fc.uniqueArray(fc.record({ name: part, version: part, file: fc.string(), sizeBytes: fc.nat() }), {
      selector: entry => `${entry.name}/${entry.version}`,
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(entries, async list => {
        const lock: Lockfile = { entries: list.map(entry => ({ kind: 'file', sha256: hex, ...entry })) };
        const read = await parse(formatLockfile(lock));
        assert.equal(formatLockfile(read), formatLockfile(lock));
        assert.deepEqual(new Set(read.entries), new Set(lock.entries));
      }),
    );
  });
  it('is next to its manifest', () => {
    assert.equal(lockfilePath('a/manifest.json'), 'a/manifest.lock.json');
    assert.equal(lockfilePath('/x/prod.json'), '/x/prod.lock.json');
    assert.equal(lockfilePath('list'), 'list.lock.json');
  });
});

describe('an invalid lock', () => {
  const invalid: [string, string, string, RegExp][] = [
    ['empty', '', '', /empty/],
    ['not JSON', 'hello', '', /JSON/],
    ['a list', '[]', '', /list/],
    ['without a version', edited(lock => delete lock.lockVersion), 'lockVersion', /nothing/],
    ['with a version of text', edited(lock => (lock.lockVersion = '1')), 'lockVersion', /"1"/],
    ['with version 0', edited(lock => (lock.lockVersion = 0)), 'lockVersion', /number 0/],
    ['with an unknown key', edited(lock => (lock.plugin = {})), 'plugin', /"plugins"/],
    [
      'with a short digest',
      edited(lock => (lock.plugins.b['1.0.0'].digest = 'sha256:ab')),
      'plugins.b["1.0.0"].digest',
      /64/,
    ],
    ['with a bad sha256', edited(lock => (lock.plugins.b['1.0.0'].sha256 = digest)), 'plugins.b["1.0.0"].sha256', /64/],
    ['with a negative size', edited(lock => (lock.plugins.l['1'].sizeBytes = -1)), 'plugins.l["1"].sizeBytes', /-1/],
    ['with a broken size', edited(lock => (lock.plugins.l['1'].sizeBytes = 1.5)), 'plugins.l["1"].sizeBytes', /1\.5/],
    ['without a layer', edited(lock => delete lock.plugins.b['1.0.0'].layer), 'plugins.b["1.0.0"].layer', /nothing/],
    [
      'with a bad layer',
      edited(lock => (lock.plugins.b['1.0.0'].layer.digest = 'x')),
      'plugins.b["1.0.0"].layer.digest',
      /64/,
    ],
    [
      'with a reference that is none',
      edited(lock => (lock.plugins.b['1.0.0'].reference = 'b')),
      'plugins.b["1.0.0"].reference',
      /HOST/,
    ],
    [
      'edited to another digest than its pin',
      edited(lock => (lock.plugins.b['1.0.0'].reference += `@${other}`)),
      'plugins.b["1.0.0"].reference',
      /own/,
    ],
    ['with a name that leads out', edited(lock => (lock.plugins['..'] = {})), 'plugins[".."]', /path/],
    [
      'with a version that leads out',
      edited(lock => (lock.plugins.l['../1'] = lock.plugins.l['1'])),
      'plugins.l["../1"]',
      /dot/,
    ],
    [
      'with a plugin that reaches for a prototype',
      formatLockfile({ entries: [image('__proto__', '1', { reference: 'r.io/p:1' })] }),
      'plugins.__proto__',
      /another key/,
    ],
    [
      'with such a version',
      formatLockfile({ entries: [image('p', '__proto__')] }),
      'plugins.p.__proto__',
      /another key/,
    ],
    ['with a key twice', '{"lockVersion":1,"plugins":{"a":{},"a":{}}}', 'plugins.a', /2 times/],
    ['with trailing text', `${formatLockfile(full)}}`, '', /nothing after/],
  ];
  for (const [what, text, place, told] of invalid)
    it(what, async () => {
      await assert.rejects(parse(text), (error: unknown) => {
        assert.ok(error instanceof LockInvalid, String(error));
        assert.equal(error.problems.length, 1, error.message);
        assert.equal(error.problems[0]?.place, place);
        assert.match(error.message, told);
        return true;
      });
    });
  it('cut off anywhere', async () => {
    const text = formatLockfile(full);
    for (let length = 0; length < text.length - 2; length++)
      await assert.rejects(parse(text.slice(0, length)), LockInvalid);
  });
  it('from a later version, whatever else it contains', async () => {
    await assert.rejects(parse('{"lockVersion":2,"plugins":[],"more":1}'), LockNewer);
  });
  for (const newline of ['\n', '\r\n'])
    it(`with git’s conflict markers (${JSON.stringify(newline)})`, async () => {
      const text = formatLockfile(full)
        .split('\n')
        .flatMap((line, index) => (index === 2 ? ['<<<<<<< HEAD', line, '=======', line, '>>>>>>> theirs'] : [line]))
        .join(newline);
      await assert.rejects(
        parse(text),
        (error: unknown) => error instanceof LockConflict && /line 3/.test(error.message),
      );
    });
  it('is refused with a known error', async () => {
    const only = async (text: string): Promise<void> => {
      try {
        await parse(text);
      } catch (error) {
        assert.ok(error instanceof Refusal, String(error));
      }
    };
    await fc.assert(fc.asyncProperty(fc.json(), only));
    await fc.assert(
      fc.asyncProperty(fc.anything(), value => only(edited(lock => (lock.plugins.b['1.0.0'] = value ?? null)))),
    );
  });
});

describe('readLockfile and writeLockfile', () => {
  it('return undefined without a file', async () => {
    assert.equal(await readLockfile(join(folder, 'none.lock.json')), undefined);
    await assert.rejects(readLockfile(folder), LockUnreadable);
  });
  it('are written once and then only if they differ, without other files', async () => {
    const path = join(folder, 'a.lock.json');
    assert.equal(await writeLockfile(path, full), true);
    const past = new Date('2020-01-01T00:00:00Z');
    await utimes(path, past, past);
    assert.equal(await writeLockfile(path, { entries: [...full.entries].reverse() }), false);
    assert.equal((await stat(path)).mtimeMs, past.getTime());
    assert.equal(await writeLockfile(path, { entries: [local] }), true);
    assert.deepEqual(await readLockfile(path), { entries: [local] });
    assert.deepEqual(
      (await readdir(folder)).filter(name => name.includes('tmp')),
      [],
    );
  });
  it('leave the file as it is if the last look forbids it', async () => {
    const path = join(folder, 'b.lock.json');
    await writeLockfile(path, full);
    const lost = new TreeLockLost('lost', { subject: 'tree', expected: '', found: '', hint: '' });
    await assert.rejects(
      writeLockfile(path, { entries: [local] }, () => Promise.reject(lost)),
      lost,
    );
    assert.equal(await readFile(path, 'utf8'), formatLockfile(full));
    assert.deepEqual(
      (await readdir(folder)).filter(name => name.includes('tmp')),
      [],
    );
  });
  it('escape what a terminal would act on', async () => {
    const path = join(folder, 'c.lock.json');
    const text = 'A\u001b[31m\u009b31m\u202eB\u2028\u200b\n::error::x';
    const [image] = full.entries.filter(entry => entry.kind === 'image');
    assert.ok(image);
    const entry = { ...image, annotations: { 'org.opencontainers.image.created': text } };
    await writeLockfile(path, { entries: [entry] });
    assert.match(await readFile(path, 'utf8'), /^[\n -~]*$/);
    assert.deepEqual(await readLockfile(path), { entries: [entry] });
  });
  it('write through a symbolic link', async () => {
    const target = join(folder, 'real.json');
    await writeFile(target, '');
    await symlink(target, join(folder, 'link.lock.json'));
    await writeLockfile(join(folder, 'link.lock.json'), full);
    assert.equal(await readFile(target, 'utf8'), formatLockfile(full));
  });
  it('name the file that cannot be written', async () => {
    await assert.rejects(writeLockfile(join(folder, 'no', 'such', 'x.lock.json'), full), LockUnwritable);
    await assert.rejects(writeLockfile(folder, full), LockUnwritable);
  });
});

describe('compareLockfile', () => {
  const manifest = (plugins: object) =>
    parsePluginManifest(JSON.stringify({ registry: 'r.io', plugins }), { file: 'manifest.json' });
  const words = async (plugins: object, entries: LockfileEntry[]) => {
    const { agreeing, added, removed, changed } = compareLockfile(await manifest(plugins), { entries });
    const path = (each: { name: string; version: string }) => `${each.name} ${each.version}`;
    return {
      agreeing: agreeing.map(each => path(each.wanted)),
      added: added.map(path),
      removed: removed.map(path),
      changed: changed.map(each => each.words),
    };
  };
  it('reports equal, new and removed entries', async () => {
    assert.deepEqual(
      await words({ a: ['1', '2'], b: '1' }, [image('a', '1'), image('b', '1'), image('b', '2'), image('c', '1')]),
      {
        agreeing: ['a 1', 'b 1'],
        added: ['a 2'],
        removed: ['b 2', 'c 1'],
        changed: [],
      },
    );
  });
  it('describes an entry with another image', async () => {
    const { changed, agreeing } = await words({ a: { image: 'x/a', versions: ['1'] }, b: `1@${other}` }, [
      image('a', '1'),
      image('b', '1', { reference: `r.io/plugins/b:1@${other}` }),
    ]);
    assert.deepEqual(agreeing, []);
    assert.equal(changed[0], 'a 1: locked as r.io/plugins/a:1, the manifest asks for r.io/x/a:1');
    assert.equal(changed[1], `b 1: locked at ${digest}, the manifest pins ${other}`);
  });
  it('has no entries for aliases', async () => {
    const plugins = { a: { versions: ['1'], aliases: { x: '1' } } };
    const { removed } = await words(plugins, [image('a', '1'), image('a', 'x')]);
    assert.deepEqual(removed, ['a x']);
  });
});
