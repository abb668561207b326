import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { readHigress } from '../../cli/serve/higress.ts';
import { slow } from '../support/slow.ts';
import { ask, serve } from './client.ts';
import { sampleCatalog } from './sampleCatalog.ts';
import { sharedTree, wasm } from './tree.ts';

const SAMPLE = await sampleCatalog();
const TREE = await sharedTree(SAMPLE);

/** The names of the plugins that a page shows, in its order. */
function cardsOf(page: string): string[] {
  return [...page.matchAll(/<li class="card".*?<h2><a href="catalog\/([^/"]+)\/">/gs)].map(([, name = '']) => name);
}

test('the catalog has every plugin, and finds them without a script', async t => {
  const { port } = await serve(t, TREE, { readHigress });
  const cards = async (query: string) => cardsOf((await ask(port, `/${query}`)).body.toString());
  const names = [...new Set(SAMPLE.map(({ name }) => name))].sort();
  assert.deepEqual(await cards(''), names);
  assert.deepEqual(await cards('?q=waf'), ['waf']);
  assert.deepEqual(await cards('?q=JWT+auth'), ['jwt-auth', 'simple-jwt-auth']);
  assert.deepEqual(await cards('?q=%E9%99%90%E6%B5%81'), ['key-rate-limit'], 'in Chinese');
  assert.deepEqual(await cards('?category=auth'), ['basic-auth', 'jwt-auth', 'key-auth']);
  assert.deepEqual(await cards('?category=auth&q=key'), ['key-auth']);
  const requested = (await readHigress()).releases.find(({ release }) => release === '2.0.0');
  assert.equal((await cards('?higress=2.0.0')).length, requested?.plugins.length);
  assert.deepEqual(await cards('?higress=9.9.9'), names);
  assert.deepEqual(await cards('?q=nothing-like-this'), []);
  assert.match((await ask(port, '/?q=nothing-like-this')).body.toString(), /No plugin matches/);
  const strange = (await ask(port, `/?q=${'%3Cscript%3E'.repeat(40)}&category=constructor&page=-1`)).body.toString();
  assert.doesNotMatch(strange, /<script>/);
  const card = /<li class="card".*?<\/li>/s.exec((await ask(port, '/?q=waf')).body.toString())?.[0] ?? '';
  for (const shown of ['WAF', 'Security', '2.0.3', '+ 1 version', 'needs gateway ≥ 2.0.0'])
    assert.ok(card.includes(shown), `${shown} in ${card}`);
});

test('the language is that of the browser, until the reader chooses one', async t => {
  const { port } = await serve(t, TREE);
  const page = async (path: string, ...headers: string[]) => (await ask(port, path, { headers })).body.toString();
  const [chinese, english] = [/<html lang="zh-CN">/, /<html lang="en">/];
  assert.match(await page('/'), english);
  assert.match(await page('/', 'Accept-Language: fr, *;q=0.1'), english);
  const chinesePage = await page('/', 'Accept-Language: zh-CN,zh;q=0.9,en;q=0.8');
  assert.match(chinesePage, chinese);
  assert.match(chinesePage, /Key 限流/);
  assert.match(await page('/', 'Accept-Language: en;q=0.5, zh-TW;q=0.7'), chinese);
  const choice = await ask(port, '/?lang=zh&then=catalog%2Fcors%2F%3Fversion%3D2.0.2');
  assert.equal(choice.status, 303);
  assert.equal(choice.headers.get('location'), './catalog/cors/?version=2.0.2');
  const cookie = choice.headers.get('set-cookie') ?? '';
  assert.match(cookie, /^plugin_mirror_lang=zh; Max-Age=\d+; SameSite=Lax$/);
  assert.match(await page('/catalog/cors/', `Cookie: a=b; ${cookie.split(';')[0]}`, 'Accept-Language: en'), chinese);
  for (const then of [
    '//evil.example/',
    'https://evil.example/',
    '../x',
    'a/../../b',
    '\\\\evil.example',
    'javascript:alert(1)//',
  ])
    assert.equal((await ask(port, `/?lang=en&then=${encodeURIComponent(then)}`)).headers.get('location'), './', then);
});

test('the address for Higress Console is the one that the reader sees', async t => {
  const pattern = (page: string) => /<code>([^<]*\$\{name\}[^<]*)<\/code>/.exec(page)?.[1];
  const forwarded = ['X-Forwarded-Proto: https', 'X-Forwarded-Host: mirror.example:8443', 'X-Forwarded-Prefix: /wasm'];
  const plain = await serve(t, TREE);
  const path = '/plugins/${name}/${version}/plugin.wasm';
  const direct = (await ask(plain.port, '/', { headers: forwarded })).body.toString();
  assert.equal(pattern(direct), `http://mirror.test${path}`, 'proxies are not trusted');
  const proxied = await serve(t, TREE, { trustedProxies: 1, basePath: '/base', urlPatterns: ['/w/${name}.wasm'] });
  const page = (await ask(proxied.port, '/base/', { headers: forwarded })).body.toString();
  assert.equal(pattern(page), `https://mirror.example:8443/wasm/base${path}`);
  assert.ok(page.includes('https://mirror.example:8443/wasm/base/w/${name}.wasm'));
  const hostile = ['X-Forwarded-Proto: javascript', 'X-Forwarded-Host: "><script>', 'X-Forwarded-Prefix: //evil/..'];
  const ignored = (await ask(proxied.port, '/base/', { headers: hostile })).body.toString();
  assert.equal(pattern(ignored), `http://mirror.test/base${path}`);
});

test('coverage of Higress: each miss with the line that adds it', async t => {
  const { port } = await serve(t, TREE, { readHigress });
  assert.match((await ask(port, '/')).body.toString(), /Higress 2\.2\.5: 52 of 52 requested/);
  const fewer = SAMPLE.filter(({ name, version }) => name !== 'opa' && !(name === 'cors' && version === '2.0.4'));
  const other = await serve(t, await sharedTree(fewer), { readHigress });
  const page = (await ask(other.port, '/')).body.toString().replaceAll('&quot;', '"');
  assert.match(page, /Higress 2\.2\.5: 50 of 52/);
  assert.ok(page.includes('/plugins/opa/2.0.3/plugin.wasm'));
  assert.ok(page.includes('"opa": "2.0.3"'));
  assert.ok(page.includes('"cors": ["2.0.2", "2.0.4"]'));
});

test('pages are compressed, have a validator, and fit into 60 KB', async t => {
  const { port } = await serve(t, TREE, { readHigress });
  const plain = await ask(port, '/');
  for (const [coding, inflate] of [
    ['br', brotliDecompressSync],
    ['gzip', gunzipSync],
  ] as const) {
    const sent = await ask(port, '/', { headers: [`Accept-Encoding: ${coding}`] });
    assert.equal(sent.headers.get('content-encoding'), coding);
    assert.ok(sent.body.length < 60_000, `${sent.body.length} bytes`);
    assert.ok(inflate(sent.body).equals(plain.body));
    const etag = sent.headers.get('etag');
    const again = await ask(port, '/', { headers: [`Accept-Encoding: ${coding}`, `If-None-Match: W/${etag}`] });
    assert.equal(again.status, 304);
    assert.equal(again.body.length, 0);
  }
  assert.equal(plain.headers.get('content-encoding'), undefined);
  assert.match(plain.headers.get('vary') ?? '', /Accept-Language/);
  assert.equal(plain.headers.get('referrer-policy'), 'no-referrer');
  const script = /<script src="(-\/site\.js[^"]*)"/.exec(plain.body.toString())?.[1];
  assert.match((await ask(port, `/${script}`)).headers.get('content-type') ?? '', /^text\/javascript/);
});

test('a tree of 5,000 versions is shown in parts', slow, async t => {
  const bytes = wasm(100);
  const versionsOf = (plugin: number, count: number) =>
    Array.from({ length: count }, (_, version) => ({
      name: `plugin-${String(plugin).padStart(3, '0')}`,
      version: `1.0.${version}`,
      bytes,
    }));
  const plan = Array.from({ length: 500 }, (_, plugin) => versionsOf(plugin, plugin === 0 ? 4501 : 1)).flat();
  // The files themselves are not asked for.
  const { publishCatalog, entryOf, emptyFolder } = await import('./tree.ts');
  const tree = await emptyFolder(t);
  await publishCatalog(tree, plan.map(entryOf));
  const { port } = await serve(t, tree);
  const page = (await ask(port, '/')).body.toString();
  assert.equal(cardsOf(page).length, 120);
  assert.match(page, /page 1 of 5/);
  const last = cardsOf((await ask(port, '/?page=5')).body.toString());
  assert.equal(last.length, 20);
  assert.equal(last.at(-1), 'plugin-499');
  const linksOf = (text: string) =>
    [...(/<nav class="pages"[\s\S]*?<\/nav>/.exec(text)?.[0] ?? '').matchAll(/<a href="([^"]*)"[^>]*>([^<]*)/g)].map(
      ([, href, label]) => `${label} ${href}`,
    );
  assert.deepEqual(linksOf(page), ['Next ./?page=2', 'Last ./?page=5']);
  const third = (await ask(port, '/?q=plugin&page=3')).body.toString();
  assert.deepEqual(linksOf(third), [
    'First ./?q=plugin',
    'Previous ./?q=plugin&amp;page=2',
    'Next ./?q=plugin&amp;page=4',
    'Last ./?q=plugin&amp;page=5',
  ]);
  assert.match(third, /<form method="get" action="\.\/"><input type="hidden" name="q" value="plugin">\n.*name="page"/);
  assert.deepEqual(cardsOf((await ask(port, '/?q=plugin-321')).body.toString()), ['plugin-321']);
  const rows = async (query: string) => {
    const text = (await ask(port, `/catalog/plugin-000/${query}`)).body.toString();
    assert.ok(text.length < 100_000, `${text.length} characters`);
    return [...text.matchAll(/<th scope="row" class="nowrap"><a [^>]*>([^<]+)/g)].map(([, version]) => version);
  };
  const first = await rows('');
  assert.equal(first.length, 20);
  assert.equal(first[0], '1.0.4500');
  const plugin = (await ask(port, '/catalog/plugin-000/?version=1.0.7&page=226')).body.toString();
  assert.deepEqual(linksOf(plugin), [
    'First ./?version=1.0.7#versions',
    'Previous ./?version=1.0.7&amp;page=225#versions',
  ]);
  assert.deepEqual(await rows('?page=226'), ['1.0.0']);
  assert.deepEqual(await rows('?page=9999'), ['1.0.0']);
});
