import assert from 'node:assert/strict';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import type { Problem } from '../../mirror/json/problem.ts';
import { ManifestInvalid, ManifestMissing, ManifestUnreadable } from '../../mirror/manifest/errors.ts';
import { loginFault, parseImage, parseTagText } from '../../mirror/manifest/imageText.ts';
import {
  type PluginManifest,
  parsePluginManifest,
  readPluginManifest,
  withRegistry,
} from '../../mirror/manifest/readManifest.ts';
import { formatReference, ReferenceInvalid } from '../../registry/reference.ts';
import { times } from '../support/slow.ts';

const host = 'higress-registry.cn-hangzhou.cr.aliyuncs.com';
const hex = 'ab'.repeat(32);
const pin = `sha256:${hex}`;
const other = `sha256:${'cd'.repeat(32)}`;

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plugin-manifest-'));
  await writeFile(join(folder, 'main.wasm'), '\0asm');
});
after(() => rm(folder, { recursive: true, force: true }));

function parse(text: string): Promise<PluginManifest> {
  return parsePluginManifest(text, { file: join(folder, 'manifest.json') });
}

function plugins(value: unknown, rest: object = {}): string {
  return JSON.stringify({ ...rest, plugins: value });
}

async function problemsOf(text: string): Promise<readonly Problem[]> {
  try {
    await parse(text);
  } catch (error) {
    assert.ok(error instanceof ManifestInvalid, String(error));
    assert.ok(error.problems.length > 0);
    return error.problems;
  }
  throw new assert.AssertionError({ message: `accepted: ${text.slice(0, 300)}` });
}

/** name version ← source, one line each. */
function lines(manifest: PluginManifest): string[] {
  return [
    ...manifest.versions.map(({ name, version, source }) => {
      const from = source.kind === 'file' ? `file ${source.written}` : formatReference(source.reference);
      return `${name} ${version} ← ${from}`;
    }),
    ...manifest.aliases.map(({ name, version, target }) => `${name} ${version} = ${target}`),
  ];
}

describe('a valid manifest', () => {
  it('is normalised', async () => {
    const manifest = await parse(
      plugins({
        'ai-proxy': '2.0.1',
        'ai-statistics': ['1.0.0', '2.0.1'],
        'basic-auth': { versions: ['2.0.0'], aliases: { '1.0.0': '2.0.0' } },
        'json-converter': { image: 'plugins/jsonrpc-converter', versions: ['2.0.1'] },
        'my-plugin': { image: 'harbor.example.com/team/my-plugin', versions: ['1.2.3'], tags: { '1.2.3': 'v1.2.3' } },
        'local-one': { file: './main.wasm', versions: ['0.1.0'] },
      }),
    );
    assert.deepEqual(lines(manifest), [
      `ai-proxy 2.0.1 ← ${host}/plugins/ai-proxy:2.0.1`,
      `ai-statistics 1.0.0 ← ${host}/plugins/ai-statistics:1.0.0`,
      `ai-statistics 2.0.1 ← ${host}/plugins/ai-statistics:2.0.1`,
      `basic-auth 2.0.0 ← ${host}/plugins/basic-auth:2.0.0`,
      `json-converter 2.0.1 ← ${host}/plugins/jsonrpc-converter:2.0.1`,
      'my-plugin 1.2.3 ← harbor.example.com/team/my-plugin:v1.2.3',
      'local-one 0.1.0 ← file ./main.wasm',
      'basic-auth 1.0.0 = 2.0.0',
    ]);
    assert.deepEqual(manifest.versions.map(version => version.path).slice(0, 4), [
      'plugins.ai-proxy',
      'plugins.ai-statistics[0]',
      'plugins.ai-statistics[1]',
      'plugins.basic-auth.versions[0]',
    ]);
    assert.equal(manifest.aliases[0]?.path, 'plugins.basic-auth.aliases["1.0.0"]');
    const local = manifest.versions.at(-1)?.source;
    assert.equal(local?.kind === 'file' && local.path, join(folder, 'main.wasm'));
    assert.equal(manifest.file, join(folder, 'manifest.json'));
    assert.equal(manifest.registry, host);
    assert.deepEqual(manifest.mirrors, {});
  });

  const sources: [string, unknown, string][] = [
    ['pin on a version', `1.0@${pin}`, `r.io/plugins/p:1.0@${pin}`],
    ['pin on one of several', { versions: [`1.0@${pin}`] }, `r.io/plugins/p:1.0@${pin}`],
    ['a digest as the version', pin, `r.io/plugins/p@${pin}`],
    ['tag', { versions: ['1.0'], tags: { '1.0': 'v1' } }, 'r.io/plugins/p:v1'],
    ['tag and digest', { versions: ['1.0'], tags: { '1.0': `v1@${pin}` } }, `r.io/plugins/p:v1@${pin}`],
    ['@digest', { versions: ['1.0'], tags: { '1.0': `@${pin}` } }, `r.io/plugins/p@${pin}`],
    ['bare digest', { versions: ['1.0'], tags: { '1.0': pin } }, `r.io/plugins/p@${pin}`],
    ['the same pin twice', { versions: [`1.0@${pin}`], tags: { '1.0': `v1@${pin}` } }, `r.io/plugins/p:v1@${pin}`],
    ['sha512', `1.0@sha512:${hex}${hex}`, `r.io/plugins/p:1.0@sha512:${hex}${hex}`],
    ['a whole image in tags', { versions: ['1.0'], tags: { '1.0': 'a/b:7' } }, 'r.io/a/b:7'],
    ['a whole image with host', { versions: ['1.0'], tags: { '1.0': 'h.io/b:7' } }, 'h.io/b:7'],
    ['a whole image by digest', { versions: ['1.0'], tags: { '1.0': `a/b@${pin}` } }, `r.io/a/b@${pin}`],
    ['pin on the image', { image: `a/b@${pin}`, versions: ['1.0'] }, `r.io/a/b:1.0@${pin}`],
    ['tag on the image', { image: 'a/b:7', versions: ['1.0'] }, 'r.io/a/b:7'],
    ['image with host', { image: 'localhost/b', versions: ['1.0'] }, 'localhost/b:1.0'],
    ['image with port', { image: '127.0.0.1:5000/a/b', versions: ['1.0'] }, '127.0.0.1:5000/a/b:1.0'],
    ['image with IPv6', { image: '[::1]:5000/a', versions: ['1.0'] }, '[::1]:5000/a:1.0'],
    ['oci://', { image: 'oci://h.io/a/b', versions: ['1.0'] }, 'h.io/a/b:1.0'],
    ['oci:// with a dotless host', { image: 'oci://harbor/a/b', versions: ['1.0'] }, 'harbor/a/b:1.0'],
    ['image without a slash', { image: 'busy', versions: ['1.0'] }, 'r.io/busy:1.0'],
    ['a version that is no tag, pinned', `1.0+b1@${pin}`, `r.io/plugins/p@${pin}`],
    [
      'a version that is no tag, with one',
      { versions: ['1.0+b1'], tags: { '1.0+b1': '1.0-b1' } },
      'r.io/plugins/p:1.0-b1',
    ],
  ];
  for (const [what, value, expected] of sources)
    it(`resolves the reference of an image: ${what}`, async () => {
      const [version] = (await parse(plugins({ p: value }, { registry: 'r.io' }))).versions;
      assert.ok(version?.source.kind === 'image');
      assert.equal(formatReference(version.source.reference), expected);
      assert.equal(version.version.includes('@'), false);
    });

  it('puts the prefix of the registry only before images without a host', async () => {
    const manifest = await parse(
      plugins({ a: '1', b: { image: 'h.io/x/b', versions: ['1'] } }, { registry: 'harbor:5000/team/higress' }),
    );
    assert.deepEqual(lines(manifest), ['a 1 ← harbor:5000/team/higress/plugins/a:1', 'b 1 ← h.io/x/b:1']);
  });

  it('follows chains of aliases to the real version', async () => {
    const manifest = await parse(
      plugins({ p: { versions: ['3', '9'], aliases: { latest: '2', '2': '1', '1': '3' } } }),
    );
    assert.deepEqual(new Set(lines(manifest).slice(2)), new Set(['p latest = 3', 'p 2 = 3', 'p 1 = 3']));
  });

  it('accepts names that every JavaScript object has', async () => {
    const manifest = await parse(
      plugins({ constructor: '1', tostring: { versions: ['1'], aliases: { valueOf: '1' } } }),
    );
    assert.deepEqual(lines(manifest).slice(-1), ['tostring valueOf = 1']);
    assert.equal(manifest.versions[0]?.name, 'constructor');
  });

  it('ignores a byte order mark and CRLF', async () => {
    const text = `\ufeff${JSON.stringify({ plugins: { p: '1' } }, null, 2).replaceAll('\n', '\r\n')}`;
    assert.equal((await parse(text)).versions.length, 1);
  });

  it('accepts mirrors', async () => {
    const mirrors = { [host]: ['harbor.local/higress', 'h:5000'] };
    assert.deepEqual((await parse(plugins({ p: '1' }, { mirrors }))).mirrors, mirrors);
  });
});

describe('withRegistry', () => {
  const text = plugins({
    a: `1@${pin}`,
    b: { image: 'h.io/x/b', versions: ['1'] },
    c: { file: 'main.wasm', versions: ['1'] },
  });
  it('takes every image from the other registry and keeps pins', async () => {
    const manifest = withRegistry(await parse(text), 'harbor.local:5000/mirror');
    assert.equal(manifest.registry, 'harbor.local:5000/mirror');
    assert.deepEqual(lines(manifest), [
      `a 1 ← harbor.local:5000/mirror/plugins/a:1@${pin}`,
      'b 1 ← harbor.local:5000/mirror/x/b:1',
      'c 1 ← file main.wasm',
    ]);
    assert.deepEqual(lines(withRegistry(await parse(text), '127.0.0.1:9'))[1], 'b 1 ← 127.0.0.1:9/x/b:1');
  });
  it('replaces the prefix of the manifest’s own registry', async () => {
    const own = await parse(
      plugins({ a: '1', b: { image: 'old.io/b', versions: ['1'] } }, { registry: 'old.io/higress' }),
    );
    assert.deepEqual(lines(withRegistry(own, 'new.io/m')), ['a 1 ← new.io/m/plugins/a:1', 'b 1 ← new.io/m/b:1']);
  });
  for (const registry of ['', 'https://h', 'h/', 'h/UP', 'u:p@h', 'h:99999', '../h', 'h h'].filter(
    each => each !== 'h/',
  ))
    it(`refuses ${JSON.stringify(registry)}`, async () => {
      const manifest = await parse(text);
      assert.throws(() => withRegistry(manifest, registry), ReferenceInvalid);
    });
});

describe('an invalid manifest', () => {
  // text → place → what is told of it
  const cases: [string, string, string, RegExp][] = [
    ['version up', plugins({ p: '../x' }), 'plugins.p', /"\.\.\/x"/],
    ['version with a slash', plugins({ p: ['1', 'a/b'] }), 'plugins.p[1]', /slash/],
    ['version with a backslash', plugins({ p: 'a\\b' }), 'plugins.p', /backslash/],
    ['version empty', plugins({ p: '' }), 'plugins.p', /empty/],
    ['version escaped', plugins({ p: '%2f' }), 'plugins.p', /%/],
    ['version with NUL', plugins({ p: '1\0' }), 'plugins.p', /control/],
    ['version with a newline', plugins({ p: '1\n' }), 'plugins.p', /control/],
    ['version too long', plugins({ p: '1'.repeat(129) }), 'plugins.p', /128/],
    ['version with a space', plugins({ p: ' 1' }), 'plugins.p', /white space/],
    ['version not ASCII', plugins({ p: '１' }), 'plugins.p', /ASCII/],
    ['range', plugins({ p: '^1.2' }), 'plugins.p', /Ranges/],
    ['number', '{"plugins":{"p":2.0}}', 'plugins.p', /the number 2\.0[\s\S]*"2\.0"/],
    ['number in a list', '{"plugins":{"p":["1", 2.10]}}', 'plugins.p[1]', /"2\.10"/],
    ['number in versions', '{"plugins":{"p":{"versions":[1.0]}}}', 'plugins.p.versions[0]', /"1\.0"/],
    ['null', plugins({ p: null }), 'plugins.p', /null/],
    ['empty list', plugins({ p: [] }), 'plugins.p', /at least one/],
    ['empty versions', plugins({ p: { versions: [] } }), 'plugins.p.versions', /at least one/],
    ['no versions', plugins({ p: { image: 'a/b' } }), 'plugins.p.versions', /nothing/],
    ['versions as text', plugins({ p: { versions: '1' } }), 'plugins.p.versions', /list/],
    ['a list in a list', plugins({ p: [['1']] }), 'plugins.p[0]', /a list/],
    ['version twice', plugins({ p: ['1', '2', '1'] }), 'plugins.p[2]', /plugins\.p\[0\]/],
    ['version twice, pinned', plugins({ p: ['1', `1@${pin}`] }), 'plugins.p[1]', /again/],
    ['versions that differ by case', plugins({ p: ['1-RC', '1-rc'] }), 'plugins.p[1]', /case/],
    [
      'alias that differs by case',
      plugins({ p: { versions: ['RC'], aliases: { rc: 'RC' } } }),
      'plugins.p.aliases.rc',
      /case/,
    ],
    ['names that differ by case', plugins({ p: '1', P: { image: 'a/p', versions: ['1'] } }), 'plugins.P', /case/],
    ['name up', plugins({ '../x': { image: 'a/b', versions: ['1'] } }), 'plugins["../x"]', /name/],
    ['name with a slash', plugins({ 'a/b': '1' }), 'plugins["a/b"]', /slash/],
    ['name empty', plugins({ '': '1' }), 'plugins[""]', /empty/],
    ['name escaped', plugins({ 'a%2fb': '1' }), 'plugins["a%2fb"]', /%/],
    ['name too long', plugins({ ['n'.repeat(129)]: '1' }), `plugins.${'n'.repeat(129)}`, /128/],
    ['name of the catalog', plugins({ 'index.json': '1' }), 'plugins["index.json"]', /tree itself/],
    ['name that is no repository', plugins({ Upper: '1' }), 'plugins.Upper', /lower-case/],
    ['__proto__', '{"plugins":{"p":"1","__proto__":"1"}}', 'plugins.__proto__', /__proto__/],
    ['__proto__ at the top', '{"__proto__":{},"plugins":{"p":"1"}}', '__proto__', /__proto__/],
    [
      '__proto__ as alias',
      '{"plugins":{"p":{"versions":["1"],"aliases":{"__proto__":"1"}}}}',
      'plugins.p.aliases.__proto__',
      /__proto__/,
    ],
    ['no plugin', plugins({}), 'plugins', /at least one/],
    ['no plugins', '{}', 'plugins', /nothing/],
    ['plugins as list', plugins(['a']), 'plugins', /a list/],
    ['not an object', '[]', '', /an empty list/],
    ['unknown key', plugins({ p: '1' }, { regsitry: 'h' }), 'regsitry', /Did you mean "registry"/],
    ['unknown key of a plugin', plugins({ p: { versions: ['1'], alias: {} } }), 'plugins.p.alias', /"aliases"/],
    ['key in the wrong case', plugins({ p: { Versions: ['1'], versions: ['1'] } }), 'plugins.p.Versions', /"versions"/],
    ['bad pin', plugins({ p: '1@sha256:abc' }), 'plugins.p', /64/],
    ['pin in upper case', plugins({ p: `1@${pin.toUpperCase()}` }), 'plugins.p', /64/],
    [
      'two pins',
      plugins({ p: { versions: [`1@${pin}`], tags: { '1': `@${other}` } } }),
      'plugins.p.tags["1"]',
      /different/,
    ],
    [
      'pin on a shared image',
      plugins({ p: { image: `a/b@${pin}`, versions: ['1', '2'] } }),
      'plugins.p.image',
      /"tags"/,
    ],
    ['tag on a shared image', plugins({ p: { image: 'a/b:7', versions: ['1', '2'] } }), 'plugins.p.image', /"tags"/],
    [
      'tag twice',
      plugins({ p: { image: 'a/b:7', versions: ['1'], tags: { '1': '8' } } }),
      'plugins.p.tags["1"]',
      /while the image has "7"/,
    ],
    ['image over http', plugins({ p: { image: 'https://h.io/a', versions: ['1'] } }), 'plugins.p.image', /https:\/\//],
    ['image in upper case', plugins({ p: { image: 'Team/P', versions: ['1'] } }), 'plugins.p.image', /lower-case/],
    ['image up', plugins({ p: { image: '../p', versions: ['1'] } }), 'plugins.p.image', /repository/],
    ['image empty', plugins({ p: { image: '', versions: ['1'] } }), 'plugins.p.image', /an image/],
    ['image of a wrong type', plugins({ p: { image: 1, versions: ['1'] } }), 'plugins.p.image', /the number 1/],
    ['tag that is none', plugins({ p: { versions: ['1'], tags: { '1': '.x' } } }), 'plugins.p.tags["1"]', /tag/],
    [
      'tag of no version',
      plugins({ p: { versions: ['1.0.0'], tags: { '1.0.1': 'x' } } }),
      'plugins.p.tags["1.0.1"]',
      /one of the versions/,
    ],
    [
      'whole image without a tag',
      plugins({ p: { versions: ['1'], tags: { '1': 'a/b' } } }),
      'plugins.p.tags["1"]',
      /:TAG/,
    ],
    ['version that is no tag', plugins({ p: '1.0+b' }), 'plugins.p', /"tags"/],
    [
      'alias with the name of a version',
      plugins({ p: { versions: ['1', '2'], aliases: { '1': '2' } } }),
      'plugins.p.aliases["1"]',
      /a version of this plugin already/,
    ],
    [
      'alias to nowhere',
      plugins({ p: { versions: ['2.0.0'], aliases: { a: '2.0.1' } } }),
      'plugins.p.aliases.a',
      /"2\.0\.0"/,
    ],
    ['alias of itself', plugins({ p: { versions: ['1'], aliases: { a: 'a' } } }), 'plugins.p.aliases.a', /circle/],
    [
      'alias in a circle',
      plugins({ p: { versions: ['1'], aliases: { x: 'a', a: 'b', b: 'a' } } }),
      'plugins.p.aliases.a',
      /"a" → "b" → "a"/,
    ],
    ['alias up', plugins({ p: { versions: ['1'], aliases: { '..': '1' } } }), 'plugins.p.aliases[".."]', /path/],
    [
      'alias of a pin',
      plugins({ p: { versions: [`1@${pin}`], aliases: { a: `1@${pin}` } } }),
      'plugins.p.aliases.a',
      /pin/,
    ],
    [
      'alias as number',
      '{"plugins":{"p":{"versions":["2"],"aliases":{"1":2}}}}',
      'plugins.p.aliases["1"]',
      /the number 2/,
    ],
    [
      'file and image',
      plugins({ p: { file: 'main.wasm', image: 'a/b', versions: ['1'] } }),
      'plugins.p.image',
      /either/,
    ],
    ['file and tags', plugins({ p: { file: 'main.wasm', tags: {}, versions: ['1'] } }), 'plugins.p.tags', /either/],
    ['file with a pin', plugins({ p: { file: 'main.wasm', versions: [`1@${pin}`] } }), 'plugins.p.versions[0]', /pin/],
    ['file missing', plugins({ p: { file: 'nope.wasm', versions: ['1'] } }), 'plugins.p.file', /does not exist/],
    ['file that is a folder', plugins({ p: { file: '.', versions: ['1'] } }), 'plugins.p.file', /not a file/],
    ['file with NUL', plugins({ p: { file: 'a\0b', versions: ['1'] } }), 'plugins.p.file', /cannot be read/],
    ['registry with scheme', plugins({ p: '1' }, { registry: 'http://h.io' }), 'registry', /Remove http:\/\//],
    ['registry with port out of range', plugins({ p: '1' }, { registry: 'h:70000' }), 'registry', /HOST/],
    ['registry as list', plugins({ p: '1' }, { registry: ['h'] }), 'registry', /a list/],
    ['mirror of a path', plugins({ p: '1' }, { mirrors: { 'h/x': ['i'] } }), 'mirrors["h/x"]', /without a path/],
    ['mirror as text', plugins({ p: '1' }, { mirrors: { h: 'i' } }), 'mirrors.h', /list/],
    ['mirror with scheme', plugins({ p: '1' }, { mirrors: { h: ['i', 'http://j'] } }), 'mirrors.h[1]', /http/],
    ['signatures without a signer', plugins({ p: '1' }, { signatures: {} }), 'signatures', /no signer/],
  ];
  for (const [what, text, place, told] of cases)
    it(what, async () => {
      const problems = await problemsOf(text);
      assert.equal(problems.length, 1, JSON.stringify(problems, null, 1));
      assert.equal(problems[0]?.place, place);
      assert.match(`found ${problems[0]?.found}, expected ${problems[0]?.expected}\n${problems[0]?.hint ?? ''}`, told);
      if (place !== '') assert.ok((problems[0]?.line ?? 0) >= 1);
    });

  it('has all its problems reported, in the order of the text, with line and column', async () => {
    const text = `{ "registry": "http://h",
  "plugins": {
    "a": ["1", "../2"],
    "b": { "verions": ["1"], "aliases": { "x": "y" } },
    "a": "3"
  } }
trailing`;
    const problems = await problemsOf(text);
    assert.deepEqual(
      problems.map(problem => [problem.line, problem.place]),
      [
        [1, 'registry'],
        [3, 'plugins.a[1]'],
        [4, 'plugins.b.versions'],
        [4, 'plugins.b.verions'],
        [5, 'plugins.a'],
        [7, ''],
      ],
    );
    assert.equal(problems[1]?.column, 16);
    try {
      await parse(text);
    } catch (error) {
      assert.ok(error instanceof ManifestInvalid);
      assert.equal(error.code, 'MANIFEST_INVALID');
      for (const problem of problems) assert.ok(error.message.includes(problem.found), problem.found);
      assert.match(error.message, /6 problems/);
      assert.match(error.message, /plugins\.a\[1\] \(line 3, column 16\)/);
    }
  });

  it('shows no password', async () => {
    for (const text of [
      plugins({ p: '1' }, { registry: 'https://ann:hunter2@h.io/x' }),
      plugins({ p: '1' }, { registry: 'ann:hun@ter2@h.io' }),
      plugins({ p: { image: 'oci://ann:hunter2@h.io/x', versions: ['1'] } }),
      plugins({ p: '1' }, { mirrors: { h: ['ann:hunter2@h.io'] } }),
    ])
      assert.doesNotMatch(JSON.stringify(await problemsOf(text)), /hunter2|ter2/);
  });

  for (const image of [
    'ann:hunter2@harbor.example.com/x',
    'ann:hunter2@harbor.example.com',
    'ann:hunter2@localhost:5000/a/b:1.0',
    'ann:hunter2@localhost:5000',
    `ann:hunter2@h.io/x@${pin}`,
    'oci://ann:hunter2@h.io/x',
    'ann@hunter2@h.io/x',
    'ann:hun/hunter2@h.io/x',
    'ann:hun hunter2@h.io',
    'hunter2@h.io/x',
  ])
    for (const [place, plugin] of [
      ['plugins.p.image', { image, versions: ['1'] }],
      ['plugins.p.tags["1"]', { versions: ['1'], tags: { '1': image } }],
      ['plugins.p', image],
      ['plugins.p.versions[1]', { versions: ['1', image], aliases: { a: '1' } }],
    ] as const)
      it(`refuses credentials in ${image} of ${place} without printing them`, async () => {
        const [problem, ...more] = await problemsOf(plugins({ p: plugin }));
        assert.deepEqual([problem?.place, more.length], [place, 0]);
        assert.match(problem?.hint ?? '', /Credentials come from docker/);
        assert.doesNotMatch(JSON.stringify(problem), /ann|hun|sha256:? and/);
      });

  for (const image of ['a/b@latest', 'a/b:1@md5:abc', 'a/b@sha256:abc', '@a/b'])
    it(`finds no credentials in ${image}`, async () => {
      const [problem] = await problemsOf(plugins({ p: { image, versions: ['1'] } }));
      assert.match(problem?.expected ?? '', /after the @/);
      assert.equal(problem?.hint, undefined);
    });

  it('prints no control characters', async () => {
    const text = JSON.stringify({ plugins: { 'a\u001b[31m\u009b\u202e': '1' }, 'k\u001b': 1 });
    await assert.rejects(
      parse(text),
      (error: Error) => !/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/.test(error.message),
    );
  });

  it('has at most 100 problems, of which 50 are printed', async () => {
    for (const [many, text] of [
      ['values of a wrong type', plugins(Object.fromEntries(Array.from({ length: 2000 }, (_, at) => [`p${at}`, at])))],
      ['unknown keys', plugins({}, Object.fromEntries(Array.from({ length: 2000 }, (_, at) => [`p${at}`, at])))],
      ['unfit names', plugins(Object.fromEntries(Array.from({ length: 2000 }, (_, at) => [`.${at}`, '1'])))],
      [
        'aliases of missing versions',
        plugins({ p: { versions: ['1'], aliases: Object.fromEntries(numbers(2000).map(at => [`v${at}`, `w${at}`])) } }),
      ],
      [
        'mistakes of syntax',
        `{"plugins":{${numbers(2000)
          .map(at => `"p${at}" 1`)
          .join(',\n')}}}`,
      ],
    ] as const) {
      assert.equal((await problemsOf(text)).length, 100, many);
      await assert.rejects(
        parse(text),
        (error: Error) =>
          error.message.length < 25_000 && /100 problems or more/.test(error.message) && /50 more/.test(error.message),
        many,
      );
    }
  });

  it('with more than 10,000 versions and aliases is refused, whatever their order', async () => {
    const [few, many] = [numbers(5_000), numbers(5_001)];
    const aliases = (from: readonly number[]) => Object.fromEntries(from.map(at => [`v${at}`, '0']));
    assert.equal(
      (await parse(plugins({ p: { versions: few.map(String), aliases: aliases(few) } }))).aliases.length,
      5_000,
    );
    for (const value of [
      { p: { versions: few.map(String), aliases: aliases(many) } },
      Object.fromEntries([...few, ...many.map(at => at + 5_000)].map(at => [`p${at}`, '1'])),
      { p: few.map(String), q: many.map(String) },
    ]) {
      const [problem, ...others] = await problemsOf(plugins(value));
      assert.deepEqual(others, []);
      assert.match(`${problem?.found}, ${problem?.expected}`, /^10001 versions and aliases, at most 10000$/);
    }
  });

  it('with more than 100,000 values is refused before it is parsed', async () => {
    for (const text of [`{"plugins":{"p":[${'{},'.repeat(260_000)}{}]}}`, plugins({ p: Array(500_000).fill('1') })]) {
      const [problem, ...others] = await problemsOf(text);
      assert.deepEqual(others, []);
      assert.match(`${problem?.found}, ${problem?.expected}`, /^more than 100000 values, at most 100000 values$/);
    }
  });
});

const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

describe('text that is not JSON', () => {
  const cases: [string, string, RegExp][] = [
    ['nothing', '', /empty file/],
    ['white space', ' \n', /empty file/],
    ['a comment', '{ // hi\n "plugins": {"p":"1"} }', /comment/],
    ['a trailing comma', '{"plugins":{"p":"1",}}', /comma/],
    ['a trailing comma in a list', '{"plugins":{"p":["1",]}}', /comma/],
    ['trailing garbage', '{"plugins":{"p":"1"}} x', /nothing after/],
    ['two documents', '{"plugins":{"p":"1"}}{}', /nothing after/],
    ['a missing comma', '{"plugins":{"p":"1" "q":"2"}}', /comma/],
    ['cut off', '{"plugins":{"p":"1"', /end of the file/],
    ['cut off in a text', '{"plugins":{"p":"1', /quote/],
    ['single quotes', "{'plugins':{}}", /double quotes|JSON/],
    ['NaN', '{"plugins":NaN}', /JSON/],
    ['a bad escape', '{"plugins":{"p":"\\x"}}', /escape/],
    ['a raw tab', '{"plugins":{"p":"1\t"}}', /control/],
    ['YAML', 'plugins:\n  p: 1', /JSON/],
    ['HTML', '<!doctype html>', /JSON/],
    ['too deep', '['.repeat(100_000), /64 levels/],
    ['a key thrice', '{"plugins":{"p":"1",\n"p":"2",\n"\\u0070":"3"}}', /3 times \(lines 1, 2, 3\)/],
    ['a deep key twice', '{"plugins":{"p":{"versions":["1"],"tags":{"1":"a","1":"b"}}}}', /2 times/],
  ];
  for (const [what, text, told] of cases)
    it(what, async () => {
      const problems = await problemsOf(text);
      assert.equal(problems.length, 1, JSON.stringify(problems));
      assert.match(`found ${problems[0]?.found}, expected ${problems[0]?.expected}`, told);
    });
  it('a repeated key, and the mistakes of each of its values', async () => {
    const problems = await problemsOf(
      '{"plugins":{"p":"1",\n"p":["1/2"],\n"p":{"versions":["3"],"aliases":{"4":"9"}}}}',
    );
    assert.deepEqual(
      problems.map(({ place, line }) => [place, line]),
      [
        ['plugins.p', 2],
        ['plugins.p[0]', 2],
        ['plugins.p.aliases["4"]', 3],
      ],
    );
  });
});

describe('readPluginManifest', () => {
  it('reads a file, local modules relative to its folder', async () => {
    const file = join(folder, 'm.json');
    await writeFile(file, plugins({ p: { file: './main.wasm', versions: ['1'] } }));
    const [version] = (await readPluginManifest(file)).versions;
    assert.equal(version?.source.kind === 'file' && version.source.path, join(folder, 'main.wasm'));
  });
  it('reports a missing file', async () => {
    await assert.rejects(readPluginManifest(join(folder, 'none.json')), ManifestMissing);
    await assert.rejects(readPluginManifest(join(folder, 'main.wasm', 'none.json')), ManifestMissing);
  });
  it('reports a folder and a loop of symbolic links', async () => {
    await assert.rejects(readPluginManifest(folder), ManifestUnreadable);
    await symlink('loop', join(folder, 'loop'));
    await assert.rejects(readPluginManifest(join(folder, 'loop')), ManifestUnreadable);
  });
  const bytes: [string, Buffer, RegExp][] = [
    ['too large', Buffer.alloc(8 * 1024 * 1024 + 1, 0x20), /8 MiB/],
    ['not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), /UTF-8/],
    ['UTF-16', Buffer.from('\ufeff{}', 'utf16le'), /UTF-16/],
  ];
  for (const [what, content, told] of bytes)
    it(`refuses a file that is ${what}`, async () => {
      const file = join(folder, 'bytes.json');
      await writeFile(file, content);
      await assert.rejects(readPluginManifest(file), (error: unknown) => {
        assert.ok(error instanceof ManifestInvalid);
        assert.match(error.message, told);
        return true;
      });
    });
});

describe('any text', () => {
  const onlyInvalid = async (text: string): Promise<void> => {
    try {
      await parse(text);
    } catch (error) {
      assert.ok(error instanceof ManifestInvalid, String(error instanceof Error ? error.stack : error));
    }
  };
  it('is accepted or refused with a known error', async () => {
    await fc.assert(fc.asyncProperty(fc.string({ unit: 'binary' }), onlyInvalid), { numRuns: times(40, 300) });
  });
  it('of JSON is accepted or refused with a known error', async () => {
    await fc.assert(fc.asyncProperty(fc.json({ maxDepth: 5 }), onlyInvalid), { numRuns: times(40, 300) });
    const word = fc.constantFrom(
      '1',
      '2',
      'a',
      'b',
      '1@sha256:x',
      'h.io/a:1',
      '..',
      '__proto__',
      'constructor',
      pin,
      '@',
    );
    const dict = fc.dictionary(word, word);
    const plugin = fc.oneof(
      word,
      fc.array(word),
      fc.record({ versions: fc.array(word), image: word, tags: dict, aliases: dict, file: word }, { requiredKeys: [] }),
    );
    const manifest = fc.record(
      { plugins: fc.dictionary(word, plugin), registry: word, mirrors: fc.dictionary(word, fc.array(word)) },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(manifest, value => onlyInvalid(JSON.stringify(value))),
      { numRuns: times(80, 2000) },
    );
  });
  it('cut off anywhere is refused', async () => {
    const text = plugins({ p: '1', q: { versions: ['1'], aliases: { a: '1' } } });
    for (let length = 0; length < text.length; length++) await problemsOf(text.slice(0, length));
  });
  it('with distinct valid names and versions is read completely', async () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,6})?$/);
    const version = fc.stringMatching(/^[0-9]{1,2}\.[0-9]{1,2}(-[a-z]{1,4})?$/);
    const value = fc.dictionary(name, fc.uniqueArray(version, { minLength: 1, maxLength: 4 }), {
      minKeys: 1,
      maxKeys: 6,
    });
    await fc.assert(
      fc.asyncProperty(value, async wanted => {
        const manifest = await parse(plugins(wanted, { registry: 'r.io' }));
        const expected = Object.entries(wanted).flatMap(([key, versions]) =>
          versions.map(each => `${key} ${each} ← r.io/plugins/${key}:${each}`),
        );
        assert.deepEqual(lines(manifest), expected);
      }),
      { numRuns: times(50, 200) },
    );
  });
  it('of thousands of versions and aliases is read within seconds', async () => {
    const many = Array.from({ length: 5000 }, (_, index) => String(index));
    const chain = Object.fromEntries(
      many.map(index => [`a${index}`, index === '4999' ? '0' : `a${Number(index) + 1}`]),
    );
    const manifest = await parse(plugins({ p: { versions: many, aliases: chain } }));
    assert.equal(manifest.versions.length, 5000);
    assert.ok(manifest.aliases.every(alias => alias.target === '0'));
  });

  it('with images and tags of a megabyte is read in linear time', () => {
    const base = { registry: 'h.example', prefix: '' };
    for (const piece of [':', ':@', '@', 'a:', '@sha256:', '://', '?a=', 'a-'])
      for (const end of ['', '!', '@', '@sha256:']) {
        const text = piece.repeat(1_000_000 / piece.length) + end;
        const began = performance.now();
        parseTagText(text, base);
        parseImage(text, base);
        assert.ok(performance.now() - began < 2000, `${piece} ${end}`);
      }
    // A digest's @ ends no login; any other one does, wherever the digest is.
    for (const [text, isLogin] of [
      ['ann:secret@h.io/x', true],
      [`ann:secret@h.io/x@${pin}`, true],
      ['ann@h.io/x', true],
      [`a/b@${pin}`, false],
      ['a/b:1@latest', false],
      [`@${pin}`, false],
    ] as const)
      assert.equal(loginFault(text, '') !== undefined, isLogin, text);
  });
});
