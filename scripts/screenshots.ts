import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { chromium } from 'playwright-core';
import { readHigress } from '../cli/serve/higress.ts';
import { startServer } from '../server/startServer.ts';
import { findBrowser } from '../test/server/browser.ts';
import { OPTIONS } from '../test/server/client.ts';
import { sampleCatalog } from '../test/server/sampleCatalog.ts';
import { publish } from '../test/server/tree.ts';

/** `npm run screenshots [folder]`: pictures of the pages on a desktop and a phone, light and dark, in both languages. */
async function takeScreenshots(folder: string): Promise<void> {
  const executablePath = findBrowser();
  if (executablePath === undefined) throw new Error('The pictures need Chromium: apt-get install chromium');
  await mkdir(folder, { recursive: true });
  const tree = await mkdtemp(join(tmpdir(), 'plugin-mirror-pictures-'));
  await publish(tree, await sampleCatalog());
  const server = await startServer({ ...OPTIONS, treeDir: tree, readHigress });
  // The pages show the address that the reader sees.
  const address = 'http://mirror.example';
  const rules = `--host-resolver-rules=MAP mirror.example 127.0.0.1:${server.port}`;
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', rules] });
  try {
    const get = (path: string) =>
      fetch(`${server.url}/plugins/${path}/plugin.wasm`, { headers: { 'User-Agent': 'Go-http-client/1.1' } });
    for (const [path, times] of REQUESTS) for (let time = 0; time < times; time++) await get(path);
    for (const { name, width, height } of SIZES)
      for (const colorScheme of ['light', 'dark'] as const)
        for (const locale of ['en-US', 'zh-CN']) {
          const viewport = { width, height };
          const context = await browser.newContext({ viewport, colorScheme, locale, deviceScaleFactor: 1 });
          const page = await context.newPage();
          for (const [title, path] of PAGES) {
            await page.goto(`${address}${path}`);
            const file = `${title}-${name}-${colorScheme}-${locale.slice(0, 2)}.png`;
            await page.screenshot({ path: join(folder, file) });
          }
          await context.close();
        }
  } finally {
    await browser.close();
    await server.close({ graceMs: 0 });
    await rm(tree, { recursive: true, force: true });
  }
}

/** The pictures of the READMEs are `catalog-readme-light-en.png` and `status-readme-dark-en.png`. */
const SIZES = [
  { name: 'readme', width: 1000, height: 640 },
  { name: 'desktop', width: 1280, height: 860 },
  { name: 'phone', width: 390, height: 844 },
] as const;

/** What gateways request before the pictures are taken; /status shows the most frequent 404 first. */
const REQUESTS: readonly (readonly [path: string, times: number])[] = [
  ['ai-proxy/2.0.9', 40],
  ['${name}/${version}', 25],
  ['ai-proxi/2.0.3', 2],
  ['ai-proxy/2.0.3', 40],
];

const PAGES: readonly (readonly [title: string, path: string])[] = [
  ['catalog', '/'],
  ['plugin', '/catalog/key-auth/'],
  ['plugin-end', '/catalog/ai-proxy/#versions'],
  ['status', '/status'],
  ['folder', '/plugins/ai-proxy/'],
  ['not-found', '/plugins/ai-proxi/2.0.3/plugin.wasm'],
];

await takeScreenshots(resolve(process.argv[2] ?? 'screenshots'));
