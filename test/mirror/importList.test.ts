import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ImportInvalid } from '../../mirror/import/errors.ts';
import { type ImportedList, importList } from '../../mirror/import/importList.ts';
import { formatManifest } from '../../mirror/import/writeManifest.ts';
import { parsePluginManifest } from '../../mirror/manifest/readManifest.ts';
import { formatReference } from '../../registry/reference.ts';
import { times } from '../support/slow.ts';

const host = 'higress-registry.cn-hangzhou.cr.aliyuncs.com';
const pin = `sha256:${'ab'.repeat(32)}`;
const other = `sha256:${'cd'.repeat(32)}`;

function take(text: string): Promise<ImportedList> {
  return importList(text, { file: 'list' });
}

/** `name version ← reference` and `name alias = version`, as the manifest made of it is read. */
async function paths(list: ImportedList): Promise<string[]> {
  const manifest = await parsePluginManifest(formatManifest(list.manifest), { file: 'manifest.json' });
  return [
    ...manifest.versions.map(({ name, version, source }) =>
      source.kind === 'image' ? `${name} ${version} ← ${formatReference(source.reference)}` : '',
    ),
    ...manifest.aliases.map(({ name, version, target }) => `${name} ${version} = ${target}`),
  ].sort();
}

describe('plugins.properties', () => {
  it('without entries is refused with what was expected', async () => {
    for (const text of ['', '\n', '# nothing\n'])
      await assert.rejects(
        () => take(text),
        (error: unknown) => error instanceof ImportInvalid && /no entry/.test(error.message + error.found),
      );
  });

  it('becomes the shortest possible manifest', async () => {
    const list = await take(`#
# AI
ai-proxy=oci://${host}/plugins/ai-proxy:2.0.0
mcp-server=oci://${host}/mcp-server/all-in-one:2.0.0

! more
json-converter = oci://${host}/plugins/jsonrpc-converter:2.0.0
mine: oci://harbor.example.com/team/mine:v1\r
spaced oci://${host}/plugins/spaced:1
long=oci://${host}/\\
    plugins/long:1
ai-proxy=oci://${host}/plugins/ai-proxy:1.0.0
`);
    assert.deepEqual(list.notes, []);
    assert.equal(list.lost, 0);
    assert.deepEqual(list.manifest, {
      $schema: './manifest.schema.json',
      registry: host,
      plugins: {
        'ai-proxy': ['2.0.0', '1.0.0'],
        'mcp-server': { image: 'mcp-server/all-in-one', versions: ['2.0.0'] },
        'json-converter': { image: 'plugins/jsonrpc-converter', versions: ['2.0.0'] },
        mine: { image: 'harbor.example.com/team/mine', versions: ['v1'] },
        spaced: '1',
        long: '1',
      },
    });
  });
  it('keeps digests: as version without a tag, as pin with one', async () => {
    const list = await take(`a=oci://r.io/plugins/a@${pin}\nb=oci://r.io/plugins/b:1@${pin}`);
    assert.deepEqual(await paths(list), [
      `a ${pin} ← r.io/plugins/a@${pin}`,
      `b 1 ← r.io/plugins/b:1@${pin}`,
      `b ${pin} = 1`,
    ]);
  });
  it('keeps versions of one name from several images', async () => {
    const text = `p=oci://r.io/plugins/p:1\np=oci://r.io/x/y:2\np=oci://h.io/z:3@${pin}\np=oci://r.io/single@${other}`;
    assert.deepEqual(
      await paths(await take(text)),
      [
        'p 1 ← r.io/plugins/p:1',
        'p 2 ← r.io/x/y:2',
        `p 3 ← h.io/z:3@${pin}`,
        `p ${other} ← r.io/single@${other}`,
        `p ${pin} = 3`,
      ].sort(),
    );
  });
  const wide = `sha512:${'ef'.repeat(64)}`;
  const twice: [string, string, string, string[], RegExp][] = [
    [
      'one tag with two digests: both digests lead to their bytes, the tag to the later one',
      `a=r.io/plugins/a:1@${pin}`,
      `a=r.io/plugins/a:1@${other}`,
      [`a 1 ← r.io/plugins/a:1@${other}`, `a ${pin} ← r.io/plugins/a:1@${pin}`, `a ${other} = 1`],
      /^line 1: "a" "1" was taken under its digest alone: line 2 has another image for that path$/,
    ],
    [
      'a pin, and the same tag without',
      `a=r.io/plugins/a:1@${pin}`,
      'a=r.io/plugins/a:1',
      [`a 1 ← r.io/plugins/a:1@${pin}`, `a ${pin} = 1`],
      /^line 2: "a" "1" is taken with the digest of line 1$/,
    ],
    [
      'a tag, and the same with a pin',
      'a=r.io/plugins/a:1',
      `a=r.io/plugins/a:1@${pin}`,
      [`a 1 ← r.io/plugins/a:1@${pin}`, `a ${pin} = 1`],
      /^line 1: "a" "1" is taken with the digest of line 2$/,
    ],
    [
      'one digest from two repositories',
      `a=r.io/x/a:1@${pin}`,
      `a=r.io/y/a:1@${pin}`,
      [`a 1 ← r.io/y/a:1@${pin}`, `a ${pin} = 1`],
      /^line 1: "a" "1" has the same digest in line 2$/,
    ],
    [
      'a digest with and without a tag',
      `a=r.io/plugins/a:1@${pin}`,
      `a=r.io/plugins/a@${pin}`,
      [`a 1 ← r.io/plugins/a:1@${pin}`, `a ${pin} ← r.io/plugins/a@${pin}`],
      /^$/,
    ],
    [
      'a digest of sha512, too long for a path',
      `a=r.io/plugins/a:1@${wide}`,
      `a=r.io/plugins/a:2@${wide}`,
      [`a 1 ← r.io/plugins/a:1@${wide}`, `a 2 ← r.io/plugins/a:2@${wide}`],
      /^line 1: "a" "1" keeps its digest as a pin, not as a path: the digest is longer than 128 characters\nline 2: /,
    ],
  ];
  for (const [what, one, two, expected, told] of twice)
    it(`loses no pin of ${what}`, async () => {
      const list = await take(`${one}\n${two}`);
      assert.deepEqual(await paths(list), [...expected].sort());
      assert.match(list.notes.join('\n'), told);
      assert.equal(list.lost, 0);
    });
  it('finds the prefix of a private registry', async () => {
    const { manifest } = await take('a=oci://h.io/team/plugins/a:1\nb=oci://h.io/team/plugins/b:1\nc=oci://h.io/c:1');
    assert.equal(manifest.registry, 'h.io/team');
    assert.deepEqual(manifest.plugins, { a: '1', b: '1', c: { image: 'h.io/c', versions: ['1'] } });
  });
  it('writes images that are read back as the same images', async () => {
    const text = 'a=oci://harbor/plugins/a:1\nb=oci://harbor/x.y/b:1\nc=oci://other/c:1\nd=localhost:5000/d:1';
    assert.deepEqual(await paths(await take(text)), [
      'a 1 ← harbor/plugins/a:1',
      'b 1 ← harbor/x.y/b:1',
      'c 1 ← other/c:1',
      'd 1 ← localhost:5000/d:1',
    ]);
  });
  const lost: [string, string, RegExp][] = [
    ['no value', 'x', /^line 2: "x" was not taken: found no image/],
    ['no tag', 'x=oci://r.io/plugins/x', /^line 2: .*:TAG/],
    ['no registry', 'x=plugins-x:1', /^line 2: .*host/],
    ['a bad digest', 'x=oci://r.io/x@sha256:1', /^line 2: .*64/],
    ['a name that leads out', '../x=oci://r.io/x:1', /^line 2: "\.\.\/x"/],
    ['__proto__', '__proto__=oci://r.io/x:1', /^line 2: "__proto__"/],
    ['no name', '=oci://r.io/x:1', /^line 2: "".*empty/],
    ['a comment behind', 'x=oci://r.io/x:1 # hi', /^line 2: "x"/],
    ['a twin by case', 'OK=oci://r.io/x:1', /^line 2: "OK" "1" was not taken: .*case/],
    ['another image for the same path', 'ok=oci://r.io/x:1', /^line 1: "ok" "1" was not taken: line 2/],
  ];
  for (const [what, line, told] of lost)
    it(`reports an entry that cannot be taken, with its line: ${what}`, async () => {
      const list = await take(`ok=oci://r.io/plugins/ok:1\r\n${line}\n`);
      assert.equal(list.lost, 1);
      assert.equal(list.notes.length, 1);
      assert.match(list.notes[0] ?? '', told);
      assert.equal((await paths(list)).length, 1);
    });
  it('takes a repeated line once', async () => {
    const list = await take('a=r.io/a:1\na=r.io/a:1');
    assert.deepEqual([list.lost, await paths(list)], [0, ['a 1 ← r.io/a:1']]);
    assert.deepEqual(list.notes, ['line 2: "a" "1" is in line 1 already']);
  });
  it('is refused if no entry can be taken', async () => {
    await assert.rejects(() => take('# nothing\n'), ImportInvalid);
    await assert.rejects(
      () => take('x=y'),
      (error: unknown) => error instanceof ImportInvalid && /line 1/.test(error.message),
    );
  });
  it('drops no line silently, and the manifest is always valid', async () => {
    const reference = fc
      .tuple(
        fc.constantFrom('r.io', 'r.io', 'h', 'localhost:5000'),
        fc.constantFrom('plugins/a', 'plugins/b', 'x/plugins/a', 'c', 'x.y/z'),
        fc.constantFrom(':1', ':2', ':v3', `@${pin}`, `:1@${pin}`, `:1@${other}`, `:2@${other}`, `:2@${wide}`, ''),
      )
      .map(parts => `oci://${parts[0]}/${parts[1]}${parts[2]}`);
    const line = fc.tuple(fc.constantFrom('a', 'b', 'A', '..', 'constructor', '1'), reference);
    await fc.assert(
      fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 12 }), async lines => {
        const text = lines.map(([name, image]) => `${name}=${image}`).join('\n');
        let list: ImportedList;
        try {
          list = await take(text);
        } catch (error) {
          assert.ok(error instanceof ImportInvalid, String(error));
          return;
        }
        const got = await paths(list);
        assert.ok(list.notes.length >= list.lost);
        for (const [index, [name, image]] of lines.entries()) {
          const kept = got.some(path => path.startsWith(`${name} `) && path.endsWith(`← ${image.slice(6)}`));
          const told = list.notes.some(note => note.startsWith(`line ${index + 1}:`));
          const digest = /@(sha256:.*)/.exec(image)?.[1];
          const pinned = got.some(path => path.startsWith(`${name} `) && path.includes(digest ?? ''));
          const refused = list.notes.some(note => note.startsWith(`line ${index + 1}:`) && /not taken/.test(note));
          assert.ok(digest === undefined || pinned || refused, `${digest} is lost\n${text}\n→ ${got.join('\n')}`);
          assert.ok(kept || told, `${text}\n→ ${got.join('\n')}\n${list.notes.join('\n')}`);
        }
      }),
      { numRuns: times(40, 500) },
    );
  });
});

describe('the JSON snapshot', () => {
  const entry = (id: string, more: object = {}) => ({
    logicalId: id,
    image: `plugins/${id}`,
    version: '2.0.1',
    ociRef: `${host}/plugins/${id}:2.0.1`,
    digest: pin,
    consumers: { pluginServer: { inventoryKey: id, httpPath: id, aliases: [] }, console: {} },
    ...more,
  });
  const snapshot = (...plugins: object[]): string => JSON.stringify({ schemaVersion: 1, plugins }, null, 1);

  it('keeps names, versions and digests', async () => {
    const list = await take(snapshot(entry('ai-proxy'), entry('waf')));
    assert.deepEqual(list.manifest.plugins, { 'ai-proxy': `2.0.1@${pin}`, waf: `2.0.1@${pin}` });
    assert.deepEqual([list.manifest.registry, list.notes], [host, []]);
  });
  it('takes path, key and aliases as names of the same image', async () => {
    const pluginServer = { inventoryKey: 'json-converter', httpPath: 'json-converter', aliases: ['jsonrpc-converter'] };
    const list = await take(snapshot(entry('jsonrpc-converter', { consumers: { pluginServer } }), entry('waf')));
    const image = `${host}/plugins/jsonrpc-converter:2.0.1@${pin}`;
    assert.deepEqual((await paths(list)).slice(0, 2), [
      `json-converter 2.0.1 ← ${image}`,
      `jsonrpc-converter 2.0.1 ← ${image}`,
    ]);
  });
  for (const httpPath of ['/plugins/x', 'x/2.0.1', 'plugins/x/2.0.1/plugin.wasm'])
    it(`understands the path ${httpPath}`, async () => {
      const list = await take(snapshot(entry('y', { consumers: { pluginServer: { httpPath, inventoryKey: 'x' } } })));
      assert.deepEqual(Object.keys(list.manifest.plugins), ['x']);
    });
  it('takes images that the plugin server does not serve, with a note', async () => {
    const list = await take(snapshot(entry('waf'), entry('ai-load-balancer', { consumers: { console: {} } })));
    assert.ok('ai-load-balancer' in list.manifest.plugins);
    assert.match(list.notes[0] ?? '', /^line \d+: "ai-load-balancer" is not served/);
    assert.equal(list.lost, 0);
  });
  it('notes entries without a digest and entries that cannot be taken', async () => {
    const list = await take(
      snapshot(
        entry('a', { digest: undefined }),
        entry('b', { digest: 'md5:1' }),
        entry('c', { ociRef: 'x', image: 'x' }),
      ),
    );
    assert.deepEqual(list.manifest.plugins, { a: '2.0.1' });
    assert.equal(list.lost, 2);
    assert.match(
      list.notes.join('\n'),
      /"a" has no digest[\s\S]*"b" was not taken: its digest is "md5:1"[\s\S]*"c" was not taken/,
    );
  });
  it('of thousands of plugins is one manifest', async () => {
    const many = Array.from({ length: times(1000, 5000) }, (_, index) => entry(`p${index}`));
    assert.equal((await paths(await take(snapshot(...many)))).length, many.length);
  });
});

describe('the unmanaged lock', () => {
  it('keeps path, version, tag and digest', async () => {
    const plugins = {
      oauth: {
        logicalKey: 'oauth',
        servedPath: 'oauth',
        servedVersion: '2.0.0',
        repository: `${host}/plugins/oauth`,
        tag: '2.0.0',
        digest: pin,
        wasmSha256: 'x',
      },
      'key-auth': {
        servedPath: 'key-auth',
        servedVersion: '1.0.0',
        repository: `${host}/plugins/key-auth`,
        tag: '2.0.0',
        digest: other,
      },
    };
    const list = await take(JSON.stringify({ schemaVersion: 1, plugins }));
    assert.deepEqual(list.notes, []);
    assert.deepEqual(list.manifest.plugins, {
      oauth: `2.0.0@${pin}`,
      'key-auth': { versions: ['1.0.0'], tags: { '1.0.0': `2.0.0@${other}` } },
    });
  });
});

describe('JSON that is not a list of Higress', () => {
  const cases: [string, string, RegExp][] = [
    ['broken', '{"schemaVersion":1,', /end of the file|JSON/],
    ['a key twice', '{"schemaVersion":1,"plugins":{"a":{},"a":{}}}', /2 times/],
    ['the placeholder', '{"schemaVersion":0,"note":"x"}', /schemaVersion/],
    ['a later schema', '{"schemaVersion":2,"plugins":[]}', /number 2/],
    ['a manifest', '{"plugins":{"a":"1"}}', /plugins/],
    ['no plugins', '{"schemaVersion":1}', /plugins/],
    ['an empty list', '{"schemaVersion":1,"plugins":[]}', /cannot be imported/],
    ['a list', '[1]', /schemaVersion/],
  ];
  for (const [what, text, told] of cases)
    it(what, async () => {
      await assert.rejects(
        () => take(text),
        (error: unknown) => error instanceof ImportInvalid && told.test(error.message),
      );
    });
  it('of any kind is accepted or refused with a known error', async () => {
    const word = fc.oneof(fc.constantFrom('a', '..', pin, 'r.io/a:1', 'r.io/a', '1', ''), fc.string());
    const json = fc.record({
      schemaVersion: fc.constant(1),
      plugins: fc.array(
        fc.oneof(
          fc.jsonValue(),
          fc.record(
            {
              logicalId: word,
              image: word,
              version: word,
              ociRef: word,
              digest: word,
              consumers: fc.record({
                pluginServer: fc.record({ inventoryKey: word, httpPath: word, aliases: fc.array(word) }),
              }),
            },
            { requiredKeys: [] },
          ),
        ),
      ),
    });
    const only = async (text: string): Promise<void> => {
      let list: ImportedList;
      try {
        list = await take(text);
      } catch (error) {
        assert.ok(error instanceof ImportInvalid, String(error instanceof Error ? error.stack : error));
        return;
      }
      await paths(list);
    };
    await fc.assert(
      fc.asyncProperty(json, value => only(JSON.stringify(value))),
      { numRuns: times(80, 1000) },
    );
    await fc.assert(fc.asyncProperty(fc.string({ unit: 'binary' }), only), { numRuns: times(40, 300) });
  });
});
