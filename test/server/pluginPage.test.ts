import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { parse } from 'yaml';
import { DocumentParser } from '../../server/pages/documents/documentParser.ts';
import { renderReadme } from '../../server/pages/documents/readme.ts';
import { readmesOf } from '../../server/pages/documents/readmeFiles.ts';
import { parseSpec, type SpecFile } from '../../server/pages/documents/specFile.ts';
import { infoOf } from '../../server/pages/documents/specInfo.ts';
import { slow } from '../support/slow.ts';
import { ask, serve } from './client.ts';
import { sampleCatalog } from './sampleCatalog.ts';
import { entryOf, makeTree, sha256, sharedTree, wasm } from './tree.ts';

const SAMPLE = (await sampleCatalog()).filter(({ name }) => ['key-auth', 'ai-proxy', 'mcp-server'].includes(name));
const TREE = await sharedTree(SAMPLE);

function unescaped(page: string): string {
  const characters = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&amp;': '&' } as const;
  return page.replace(/&(?:lt|gt|quot|#39|amp);/g, entity => characters[entity as keyof typeof characters]);
}

/** A module of an export section, and a code section of `codeBytes` after it. */
function moduleExporting(names: readonly string[], codeBytes = 0): Buffer {
  const number = (value: number) =>
    [0, 7, 14, 21, 28].map(shift => ((value >>> shift) & 0x7f) | (shift === 28 ? 0 : 0x80));
  const section = (id: number, body: Uint8Array) => Buffer.concat([Buffer.from([id, ...number(body.length)]), body]);
  const exports = names.flatMap(name => [...number(name.length), ...Buffer.from(name), 0, 0]);
  const sections = [
    section(7, Buffer.from([...number(names.length), ...exports])),
    section(10, Buffer.alloc(codeBytes)),
  ];
  return Buffer.concat([Buffer.from('\0asm\x01\0\0\0', 'latin1'), ...sections]);
}

describe("a plugin's page", () => {
  test('has what people copy', async t => {
    const { port } = await serve(t, TREE);
    const page = unescaped((await ask(port, '/catalog/key-auth/')).body.toString());
    const [module] = SAMPLE.filter(({ name, version }) => name === 'key-auth' && version === '2.0.0');
    assert.ok(module);
    const url = 'http://mirror.test/plugins/key-auth/2.0.0/plugin.wasm';
    assert.ok(page.includes(`<code>${url}</code>`));
    assert.ok(page.includes(`<code>${sha256(module.bytes)}</code>`));
    assert.ok(page.includes(`<code>oci://${module.reference}@sha256:${sha256(module.bytes)}</code>`));
    const written = /<pre[^>]*><code>(apiVersion[\s\S]*?)<\/code>/.exec(page)?.[1] ?? '';
    assert.deepEqual(parse(written).spec, {
      url,
      sha256: sha256(module.bytes),
      phase: 'AUTHN',
      priority: 310,
      failStrategy: 'FAIL_OPEN',
      defaultConfigDisable: true,
    });
    assert.doesNotMatch(page, /MCP_SERVER_WASM_IMAGE_URL/);
    const mcp = unescaped((await ask(port, '/catalog/mcp-server/?version=1.0.0')).body.toString());
    assert.ok(mcp.includes('MCP_SERVER_WASM_IMAGE_URL=http://mirror.test/plugins/mcp-server/1.0.0/plugin.wasm'));
  });

  test('explains the configuration and the README in the language of the reader', async t => {
    const { port } = await serve(t, TREE);
    const english = (await ask(port, '/catalog/key-auth/')).body.toString();
    for (const shown of [
      'consumers[].name',
      'array of object',
      'required',
      'Name of the consumer',
      'strict, lenient',
      '<h3>Description</h3>'.replace(/3/g, '4'),
    ])
      assert.ok(english.includes(shown), shown);
    const chinese = (await ask(port, '/catalog/key-auth/', { headers: ['Accept-Language: zh'] })).body.toString();
    for (const shown of ['Key 认证', '必填', '调用者列表', '功能说明']) assert.ok(chinese.includes(shown), shown);
    assert.match((await ask(port, '/catalog/key-auth/?readme=zh')).body.toString(), /<html lang="en">[\s\S]*功能说明/);
  });

  test('lists every version with what changed', async t => {
    const { port } = await serve(t, TREE);
    const page = (await ask(port, '/catalog/ai-proxy/')).body.toString();
    const rows = [...page.matchAll(/<th scope="row" class="nowrap"><a href="[^"]*">([^<]+)<\/a>/g)].map(
      ([, version]) => version,
    );
    assert.deepEqual(rows, ['2.0.3', '2.0.1', '1.0.0']);
    assert.match(page, /Since 2\.0\.1:[\s\S]*New keys:<!---->|New keys: <code>timeout<\/code>/);
    assert.match(
      (await ask(port, '/catalog/ai-proxy/?version=2.0.1')).body.toString(),
      /<code>ai-proxy<\/code> 2\.0\.1/,
    );
  });

  test('names the exports that a version has more or fewer than the one before', async t => {
    const common = ['memory', '_initialize'];
    const modules = [
      moduleExporting([...common, 'proxy_abi_version_0_2_0', 'malloc']),
      moduleExporting(
        [...common, 'proxy_abi_version_0_2_1', 'proxy_on_memory_allocate', '<b>x</b>'.repeat(20)],
        3_000_000,
      ),
      // Too many to compare, malformed, and no module at all.
      moduleExporting(Array.from({ length: 9000 }, (_, at) => `export_${at}`)),
      moduleExporting(common).fill(0xff, 20, 24),
      Buffer.from('\0asm\x01\0\0\0\x4d\x00', 'latin1'),
      Buffer.from('not a module'),
      moduleExporting(common),
      moduleExporting([...common, ...Array.from({ length: 13 }, (_, at) => `run_${at}`)]),
    ];
    const versions = modules.map((bytes, at) => ({ name: 'a', version: `1.${at}.0`, bytes }));
    const { port } = await serve(t, await makeTree(t, versions));
    const page = (await ask(port, '/catalog/a/')).body.toString();
    const shown = [...page.matchAll(/(New|Removed) exports: <code>([^<]*)<\/code>/g)].map(([, how, names]) => [
      how,
      names,
    ]);
    assert.deepEqual(shown, [
      ['New', `${Array.from({ length: 12 }, (_, at) => `run_${at}`).join(', ')} … (13)`],
      ['New', `proxy_abi_version_0_2_1, proxy_on_memory_allocate, ${'&lt;b&gt;x&lt;/b&gt;'.repeat(12)}&lt;b&gt;x`],
      ['Removed', 'proxy_abi_version_0_2_0, malloc'],
    ]);
    const chinese = (await ask(port, '/catalog/a/', { headers: ['Accept-Language: zh'] })).body.toString();
    assert.match(chinese, /移除导出： <code>proxy_abi_version_0_2_0, malloc<\/code>/);
  });

  test('lists twenty versions a page', async t => {
    const versions = Array.from({ length: 21 }, (_, at) => ({ name: 'a', version: `1.0.${at}`, bytes: wasm(100) }));
    const { port } = await serve(t, await makeTree(t, versions));
    const listed = async (query: string) => {
      const page = (await ask(port, `/catalog/a/${query}`)).body.toString();
      return [...page.matchAll(/<th scope="row" class="nowrap"><a [^>]*>([^<]+)/g)].map(([, version]) => version);
    };
    const first = await listed('');
    assert.deepEqual([first.length, first[0], first.at(-1)], [20, '1.0.20', '1.0.1']);
    for (const query of ['?page=2', '?page=9', '?version=1.0.7&page=2'])
      assert.deepEqual(await listed(query), ['1.0.0']);
    assert.equal((await listed('?page=x')).length, 20);
  });

  test('is found with and without the slash, and only for plugins that exist', async t => {
    const { port } = await serve(t, TREE, { urlPatterns: ['/catalog/${name}'] });
    assert.equal((await ask(port, '/catalog/key-auth/')).status, 200, 'no pattern can take this path');
    assert.equal((await ask(port, '/catalog/key-auth')).headers.get('content-type'), 'application/wasm');
    const plain = await serve(t, TREE);
    assert.equal(
      (await ask(plain.port, '/catalog/key-auth?version=2.0.0')).headers.get('location'),
      './key-auth/?version=2.0.0',
    );
    for (const [path, location] of [
      ['/catalog/', '../'],
      ['/catalog', './'],
    ] as const) {
      const browser = await ask(plain.port, path, { headers: ['Accept: text/html'] });
      assert.deepEqual([browser.status, browser.headers.get('location')], [302, location]);
    }
    for (const path of [
      '/catalog/none/',
      '/catalog',
      '/catalog/',
      '/catalog/key-auth/x',
      '/catalog/key-auth/?version=9',
    ])
      assert.equal((await ask(plain.port, path)).status, 404, path);
  });

  test('shows no document whose bytes are not those of the catalog', async t => {
    const plan = {
      name: 'a',
      version: '1.0.0',
      bytes: wasm(100),
      files: { 'README.md': Buffer.from('# good'), 'spec.yaml': Buffer.from('info:\n  title: Good\n') },
    };
    const tree = await makeTree(t, [plan]);
    await writeFile(join(tree, 'a/1.0.0/README.md'), '# evil');
    await writeFile(join(tree, 'a/1.0.0/spec.yaml'), 'info:\n  title: Evil\n');
    const { port } = await serve(t, tree);
    const page = (await ask(port, '/catalog/a/')).body.toString();
    assert.doesNotMatch(page, /evil/i);
    assert.match(page, /cannot be shown/);
  });
});

describe('hostile documents', () => {
  test('a README does nothing', () => {
    const { html: text } = renderReadme(`<script>alert(1)</script><img src=x onerror=alert(1)>
[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,x) [d](vbscript:x) [e](//evil.example) [f](../x)
![pixel](https://evil.example/p.png "t") ![local](icon.png) <a href="javascript:x">y</a>
[https://bank.example](https://evil.example/) [ok](https://user:secret@higress.ai/docs)
[x](https://evil.example/"onmouseover="alert(1)) \u202egnp.exe\u2066 z\u200bero
# One
<style>*{display:none}</style>`);
    assert.doesNotMatch(text, /<(?:script|img|style|iframe|a href="(?!https?:))/i);
    assert.doesNotMatch(text, /<[^>]*\son\w+=/i);
    assert.doesNotMatch(text, /secret/);
    assert.doesNotMatch(text, /[\u200b-\u200f\u202a-\u202e\u2066-\u2069]/);
    assert.match(text, /\[U\+202E\]/);
    assert.match(text, /bank\.example<\/a> <span class="host">\(evil\.example\)/);
    assert.match(text, /<h3>One<\/h3>/);
    assert.match(text, /href="https:\/\/evil\.example\/p\.png" rel="noopener noreferrer nofollow"/);
  });

  test('a long README is cut', () => {
    for (const [text, isLong] of [
      ['x'.repeat(4_000_000), true],
      ['>'.repeat(20_000), false],
      [`${'- '.repeat(10_000)}x`, false],
    ] as const) {
      const { html, cut } = renderReadme(text);
      assert.ok(html.length < 1_000_000);
      assert.equal(cut, isLong);
    }
  });

  test('downloads do not wait for documents that keep a parser busy', slow, async t => {
    const files = {
      'README.md': Buffer.from('# a\n'.repeat(20_000)),
      'spec.yaml': Buffer.from(`spec:\n${'  - !x y\n'.repeat(6000)}`),
    };
    const tree = await makeTree(t, [{ name: 'slow', version: '1.0.0', bytes: wasm(100), files }]);
    const { port } = await serve(t, tree);
    await ask(port, '/catalog/none/');
    const answered: string[] = [];
    const get = async (path: string) => {
      const { status } = await ask(port, path);
      answered.push(`${path} ${status}`);
    };
    const page = get('/catalog/slow/');
    for (let round = 0; round < 3; round++) await get('/plugins/slow/1.0.0/plugin.wasm');
    await page;
    assert.deepEqual(answered, [...Array(3).fill('/plugins/slow/1.0.0/plugin.wasm 200'), '/catalog/slow/ 200']);
  });

  test('the parser goes on after a moment in which no thread can be started', async () => {
    const parser = new DocumentParser(() => {
      throw new Error('ERR_WORKER_INIT_FAILED');
    });
    const results = await Promise.all([parser.parse('readme', 'a'), parser.parse('readme', 'b')]);
    assert.deepEqual(results, [undefined, undefined]);
    let starts = 0;
    const worker = new URL('../../server/pages/documents/documentWorker.ts', import.meta.url);
    const other = new DocumentParser(() => {
      if (++starts === 1) throw new Error('ERR_WORKER_INIT_FAILED');
      const started = new Worker(worker);
      started.unref();
      return started;
    });
    assert.equal(await other.parse('readme', 'a'), undefined);
    assert.deepEqual(await other.parse('readme', 'a'), { html: '<p>a</p>\n', cut: false });
  });

  test('the parser survives a text that it fails on, and takes the texts in their order', async () => {
    const parser = new DocumentParser();
    const results = await Promise.all([
      parser.parse('spec', '['.repeat(3000)),
      parser.parse('spec', 'spec: {phase: AUTHN, priority: 7}'),
      parser.parse('info', 'info: {title: A}'),
      // Not a text: renderReadme() throws.
      parser.parse('readme', undefined as unknown as string),
      parser.parse('readme', '**b**'),
    ]);
    assert.notEqual((results[0] as SpecFile | undefined)?.fault, undefined);
    assert.deepEqual(results.slice(1), [
      { phase: 'AUTHN', priority: 7 },
      { title: { en: 'A' }, description: {} },
      undefined,
      { html: '<p><strong>b</strong></p>\n', cut: false },
    ]);
  });

  test('a spec.yaml of any content gives a page', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...'bcdefghi'.split('').map((key, at) => `${key}: &${key} [${Array(9).fill(`*${'abcdefgh'[at]}`)}]`),
    ].join('\n');
    assert.notEqual(parseSpec(bomb).fault, undefined);
    assert.deepEqual(infoOf(bomb), {});
    assert.notEqual(parseSpec('['.repeat(3000)).fault, undefined);
    for (const text of [
      '',
      '- a',
      'null',
      '42',
      'spec: 1',
      'spec:\n  configSchema: []',
      'info: [1]\nspec: {phase: [], priority: x}',
      '\0',
      'spec: {configSchema: {openAPIV3Schema: {properties: {a: null, b: 1, c: [], __proto__: {type: string}}}}}',
    ])
      assert.equal(parseSpec(text).phase, undefined, text);
    let deep = '{type: string}';
    for (let level = 0; level < 60; level++) deep = `{type: object, properties: {k: ${deep}}}`;
    const { config } = parseSpec(`spec: {configSchema: {openAPIV3Schema: ${deep}}}`);
    assert.equal(config?.isCut, true);
    assert.ok((config?.rows.length ?? 0) > 5);
    const wide = Array.from({ length: 1000 }, (_, key) => `k${key}: {type: string}`).join(', ');
    const many = parseSpec(`spec: {configSchema: {openAPIV3Schema: {properties: {${wide}}}}}`).config;
    assert.equal(many?.rows.length, 400);
    assert.equal(many?.isCut, true);
    assert.deepEqual(infoOf('info:\n  title: 7\n  category: AUTH\n  x-title-i18n: [1]\nspec: {'), {
      title: { en: '7' },
      description: {},
      category: 'auth',
    });
    assert.deepEqual(infoOf('info: {title: A, description: {}}').title, { en: 'A' });
    assert.equal(
      infoOf('spec:\n  info: x\r\ninfo:\r\n  title: B\r\n  x-title-i18n:\r\n    zh-CN: 乙\r\n').title?.zh,
      '乙',
    );
  });

  test('names, titles and versions are escaped and shortened', async t => {
    const hostile = '"><script>alert(1)</script>\u202e';
    const spec = `info:\n  title: ${JSON.stringify(hostile)}\n  category: ${JSON.stringify(hostile)}\n  gatewayMinVersion: ${JSON.stringify(hostile.repeat(100))}\n`;
    const name = 'n'.repeat(128);
    const tree = await makeTree(t, [
      { name, version: '1.0.0', bytes: wasm(100), signer: hostile, files: { 'spec.yaml': Buffer.from(spec) } },
    ]);
    const { port } = await serve(t, tree);
    for (const path of ['/', `/catalog/${name}/`]) {
      const page = (await ask(port, path)).body.toString();
      assert.doesNotMatch(page, /<script>alert|\u202e/, path);
      assert.ok(page.includes('[U+202E]'));
    }
  });

  test('READMEs are matched to languages by their names', () => {
    const languages = (...names: string[]) => {
      const files = Object.fromEntries(names.map(name => [name, Buffer.from('x')]));
      const { metadata } = entryOf({ name: 'a', version: '1', bytes: wasm(50), files });
      const listed = Object.entries(metadata.files).map(([name, file]) => ({ name, ...file }));
      return readmesOf({ ...metadata, path: '', pinned: true, files: listed }).map(
        each => `${each.language} ${each.name}`,
      );
    };
    assert.deepEqual(languages('README.md', 'README_EN.md'), ['en README_EN.md', 'zh README.md']);
    assert.deepEqual(languages('README.md', 'README.zh-CN.md'), ['en README.md', 'zh README.zh-CN.md']);
    assert.deepEqual(languages('README_fr.md'), ['en README_fr.md']);
    assert.deepEqual(languages(), []);
  });
});
