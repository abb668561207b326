import assert from 'node:assert/strict';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import axe from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { readHigress } from '../../cli/serve/higress.ts';
import { startServer } from '../../server/startServer.ts';
import { findBrowser, needsBrowser } from './browser.ts';
import { OPTIONS } from './client.ts';
import { sampleCatalog } from './sampleCatalog.ts';
import { sharedTree, wasm } from './tree.ts';

const PAGES = [
  '/',
  '/?q=auth',
  '/catalog/ai-proxy/',
  '/catalog/hostile/',
  '/catalog/many/?page=2',
  '/status',
  '/plugins/',
  '/plugins/cors/2.0.4/',
  '/nothing',
  '/plugins/opq/1/plugin.wasm',
];

const HOSTILE = {
  name: 'hostile',
  version: '1.0.0',
  bytes: wasm(100),
  files: {
    'README.md': Buffer.from(
      '# <img src=x onerror="document.title=\'owned\'">\n<script>document.title="owned"</script>\n[x](javascript:document.title="owned")\n![i](http://127.0.0.1:9/pixel.png)\n',
    ),
    'spec.yaml': Buffer.from('info:\n  title: "<script>document.title=\'owned\'</script>"\n  category: "\\"><b>x"\n'),
  },
};

const MANY = Array.from({ length: 61 }, (_, at) => ({ name: 'many', version: `1.0.${at}`, bytes: wasm(100) }));

const TREE = await sharedTree([...(await sampleCatalog()), HOSTILE, ...MANY]);

describe('the pages in a browser', needsBrowser(), () => {
  let browser: Browser;
  let url: string;
  const closing: (() => Promise<unknown>)[] = [];

  before(async () => {
    const server = await startServer({ ...OPTIONS, treeDir: TREE, readHigress, trustedProxies: 1, basePath: '/base' });
    url = server.url;
    browser = await chromium.launch({ executablePath: findBrowser() ?? '', args: ['--no-sandbox'] });
    closing.push(
      () => browser.close(),
      () => server.close({ graceMs: 0 }),
    );
  });
  after(async () => {
    for (const close of closing) await close();
  });

  /** Opens a page. Fails on errors of its script and on requests that its policy refuses. */
  async function open(path: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ locale: 'en-US', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.on('pageerror', error => assert.fail(`${path}: ${error.message}`));
    page.on('console', message => {
      if (/Content Security Policy|Refused/.test(message.text())) assert.fail(`${path}: ${message.text()}`);
    });
    page.on('request', request =>
      assert.ok(request.url().startsWith(url) || request.url().startsWith('data:'), request.url()),
    );
    await page.goto(url + path);
    return page;
  }

  /** Waits until an expression is true in the page. (waitForFunction needs eval, which the policy of the pages forbids.) */
  async function holds(page: Page, expression: string): Promise<void> {
    const endsAtMs = Date.now() + 60_000;
    while (!(await page.evaluate(expression))) assert.ok(Date.now() < endsAtMs, expression);
  }

  const names = (page: Page) => page.locator('.card:visible .end').count();

  test('filters while the reader types, and the key / leads to the search', { timeout: 180_000 }, async () => {
    const page = await open('/');
    const all = await names(page);
    assert.ok(all > 50);
    await page.keyboard.press('/');
    await page.keyboard.type('waf');
    await holds(page, "document.querySelectorAll('.card:not([hidden])').length === 1");
    await page.waitForURL(/\?q=waf/);
    assert.equal(await page.locator('h2 a').first().textContent(), 'WAF');
    await page.keyboard.press('Escape');
    await holds(page, `document.querySelectorAll('.card:not([hidden])').length === ${all}`);
    await page.context().close();
  });

  test('copies by a button, also where the browser has no clipboard for scripts', { timeout: 180_000 }, async () => {
    const page = await open('/catalog/key-auth/', { permissions: ['clipboard-read', 'clipboard-write'] });
    const wanted = `${url}/plugins/key-auth/2.0.0/plugin.wasm`;
    await page.locator('#use button').first().click();
    await holds(page, "document.getElementById('said').textContent === 'Copied'");
    assert.equal(await page.evaluate('navigator.clipboard.readText()'), wanted);
    await page.evaluate("navigator.clipboard.writeText('')");
    await page.evaluate('Object.defineProperty(window, "isSecureContext", { value: false })');
    await page.locator('#use button').nth(1).click();
    await holds(page, "document.getElementById('said').textContent === 'Copied'");
    await holds(page, 'navigator.clipboard.readText().then(text => /^[0-9a-f]{64}$/.test(text))');
    await page.context().close();
  });

  test('keeps the chosen language, and works without scripts', { timeout: 180_000 }, async () => {
    const page = await open('/catalog/cors/', { javaScriptEnabled: false });
    await page.locator('.top').getByRole('link', { name: '中文' }).click();
    await page.waitForURL(/\/catalog\/cors\/$/);
    assert.equal(await page.locator('h1').textContent(), '跨域资源共享');
    await page.getByRole('link', { name: '插件列表' }).first().click();
    await page.locator('input[type=search]').fill('waf');
    await page.getByRole('button', { name: '查找' }).click();
    assert.equal(await page.locator('.card').count(), 1);
    assert.equal(await page.locator('button.copy:visible').count(), 0);
    await page.context().close();
  });

  test('leads to any page of a long list without scripts', { timeout: 180_000 }, async () => {
    const page = await open('/catalog/many/?version=1.0.7', { javaScriptEnabled: false });
    await page.locator('input[name=page]').fill('2');
    await page.getByRole('button', { name: 'Go' }).click();
    await page.waitForURL(/\/catalog\/many\/\?version=1\.0\.7&page=2#versions$/);
    assert.match((await page.locator('nav.pages').textContent()) ?? '', /page 2 of 4/);
    await page.getByRole('link', { name: 'Last' }).click();
    await page.waitForURL(/page=4#versions$/);
    assert.equal(await page.locator('#versions tbody tr').count(), 1);
    await page.context().close();
  });

  test('can be used with the keyboard alone', { timeout: 180_000 }, async () => {
    const page = await open('/?q=waf');
    const seen: string[] = [];
    for (let step = 0; step < 25 && !seen.at(-1)?.startsWith('WAF'); step++) {
      await page.keyboard.press('Tab');
      seen.push(String(await page.evaluate('document.activeElement.textContent || document.activeElement.name')));
    }
    assert.match(seen.at(-1) ?? '', /^WAF/, seen.join(' | '));
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/catalog\/waf\/$/);
    await page.context().close();
  });

  for (const colorScheme of ['light', 'dark'] as const)
    test(`a print has the content alone, black on white: ${colorScheme}`, { timeout: 180_000 }, async () => {
      for (const path of ['/', '/catalog/key-auth/']) {
        const page = await open(path, { colorScheme, permissions: ['clipboard-read', 'clipboard-write'] });
        assert.ok(
          (await page.locator('button:visible, nav:visible, form:visible').count()) > 0,
          'the screen has controls',
        );
        await page.emulateMedia({ media: 'print', colorScheme });
        assert.equal(await page.locator('button:visible, nav:visible, form:visible, .button:visible').count(), 0, path);
        const looks = 'getComputedStyle(document.body).color + getComputedStyle(document.body).backgroundColor';
        assert.equal(await page.evaluate(looks), 'rgb(0, 0, 0)rgb(255, 255, 255)');
        const fixed =
          "[...document.querySelectorAll('*')].filter(e => /fixed|sticky/.test(getComputedStyle(e).position)).length";
        assert.equal(await page.evaluate(fixed), 0);
        // A digest that a screen shortens is whole on paper, and so is a text with a scroll bar.
        const cut =
          "[...document.querySelectorAll('.digest, pre, .about')].filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflow !== 'visible' && getComputedStyle(e).display !== 'inline').map(e => e.className + e.textContent)";
        assert.deepEqual(await page.evaluate(cut), [], path);
        await page.context().close();
      }
      const page = await open('/catalog/hostile/', { colorScheme });
      await page.emulateMedia({ media: 'print' });
      const address = "getComputedStyle(document.querySelector('.prose a[href^=http]'), '::after').content";
      assert.match(String(await page.evaluate(address)), /attr|127\.0\.0\.1:9/);
      await page.context().close();
    });

  test('hostile documents do nothing', { timeout: 180_000 }, async () => {
    const page = await open('/catalog/hostile/');
    assert.match(await page.title(), /^hostile 1\.0\.0/);
    assert.equal(await page.locator('main img, main script, a[href^="javascript:"]').count(), 0);
    await page.context().close();
  });

  test('links and copied addresses are right behind a proxy that adds a prefix', { timeout: 180_000 }, async t => {
    const target = new URL(url);
    const proxy = createServer((incoming, outgoing) => {
      const { host = '' } = incoming.headers;
      const headers = {
        ...incoming.headers,
        'x-forwarded-host': host,
        'x-forwarded-proto': 'http',
        'x-forwarded-prefix': '/outside',
        'x-forwarded-for': '192.0.2.7',
      };
      const path = (incoming.url ?? '').replace(/^\/outside/, '');
      httpRequest({ port: target.port, path, method: incoming.method, headers }, answer => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      }).end();
    }).listen(0, '127.0.0.1');
    t.after(() => proxy.close());
    await new Promise(resolve => proxy.once('listening', resolve));
    const context = await browser.newContext({ locale: 'en-US' });
    const page = await context.newPage();
    const outside = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/outside/base`;
    await page.goto(`${outside}/`);
    await page.locator('.card h2 a').first().click();
    await page.waitForURL(`${outside}/catalog/ai-agent/`);
    await page.locator('.top').getByRole('link', { name: '中文' }).click();
    await page.waitForURL(`${outside}/catalog/ai-agent/`);
    assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
    assert.match((await page.locator('#use code').first().textContent()) ?? '', /\/outside\/base\/plugins\/ai-agent\//);
    await context.close();
  });

  for (const colorScheme of ['light', 'dark'] as const)
    test(`no page has a barrier that axe-core finds: ${colorScheme}`, { timeout: 300_000 }, async () => {
      for (const path of PAGES) {
        const page = await open(path, { colorScheme, bypassCSP: true });
        await page.evaluate(axe.source);
        const { violations } = (await page.evaluate('axe.run()')) as {
          violations: { id: string; nodes: { html: string }[] }[];
        };
        assert.deepEqual(
          violations.map(({ id, nodes }) => `${path} ${id}: ${nodes[0]?.html.slice(0, 200)}`),
          [],
        );
        await page.context().close();
      }
    });

  test('no page is wider than its window', { timeout: 300_000 }, async () => {
    for (const width of [320, 600, 1000, 1600]) {
      const context = await browser.newContext({ viewport: { width, height: 800 }, locale: 'zh-CN' });
      const page = await context.newPage();
      for (const path of PAGES) {
        await page.goto(url + path);
        const over = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
        assert.equal(over, 0, `${path} at ${width}`);
      }
      await context.close();
    }
  });
});
