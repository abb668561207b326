import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { ChunkCache } from '../../server/content/chunkCache.ts';
import { ContentStore } from '../../server/content/contentStore.ts';
import { createListener, type Pages } from '../../server/http/listener.ts';
import { createPages } from '../../server/pages/app.ts';
import { buildTreeView, type TreeView } from '../../server/view/treeView.ts';
import { buildCatalog, catalogText } from '../../tree/catalog.ts';
import { ask } from './client.ts';
import { requestFromStart } from './startups.ts';
import { entryOf, wasm } from './tree.ts';

const MODULE = '/plugins/a/1.0.0/plugin.wasm';
const PATTERN = '/flat/a.wasm';

/** A view with these plugins, as if it had been loaded from disk. */
function viewOf(...names: string[]): TreeView {
  const cache = new ChunkCache(1024 * 1024);
  const store = new ContentStore({ cache, maxOpenFiles: 1, onEvent: () => {} });
  const catalog = buildCatalog(names.map(name => entryOf({ name, version: '1.0.0', bytes: wasm(10) })));
  const files = { catalog, indexJson: Buffer.from(catalogText(catalog)), inventoryJson: undefined, changedAtMs: 0 };
  const settings = { urlPatterns: ['/flat/${name}.wasm'], latest: false, encoding: 'off', isPublic: true } as const;
  return buildTreeView(files, store, settings, undefined);
}

/** Calls of a function that resolve only when the test says so. */
class Gate {
  readonly #waiting: (() => void)[] = [];
  #wake: (() => void) | undefined;

  pass = (): Promise<void> =>
    new Promise(resolve => {
      this.#waiting.push(resolve);
      this.#wake?.();
    });

  /** Resolves when a call is waiting. */
  async reached(): Promise<void> {
    if (this.#waiting.length === 0) await new Promise<void>(resolve => (this.#wake = resolve));
  }

  open(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** A listener whose view, checks of the tree and loading of Express are in the test's hands. Files answer with their name. */
async function listen(t: TestContext, basePath = '') {
  const follower: { view: TreeView | undefined; refresh: () => Promise<void> } = {
    view: undefined,
    refresh: async () => {},
  };
  const pages = createPages({
    latest: false,
    basePath,
    trustedProxies: 0,
    urlPatterns: [],
    treeRoot: () => '',
    readHigress: undefined,
    status: undefined,
    retryAfterSeconds: 2,
    notReady: () => undefined,
    contents: () => [],
    check: async () => undefined,
    programVersion: '0',
    inTurn: action => setImmediate(action),
    renderMetrics: () => '',
    onFailure: (_url, error) => assert.fail(String(error)),
  });
  const parts = { follower, pages: async (): Promise<Pages> => pages };
  const server = createServer(
    createListener({
      settings: { basePath, trustedProxies: 0 },
      pages: () => parts.pages(),
      notReady: () => undefined,
      access: undefined,
      requiresCertificate: false,
      registry: undefined,
      files: { serve: (answer, _head, _path, file) => answer.text(200, `${file.plugin}\n`) },
      follower,
      connections: { take: (request, response, answer) => answer(request, response), expectNoMore: () => {} },
      rules: { isDraining: () => false, retryAfterSeconds: 2, onAnswered: () => {} },
    }),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { ...parts, parts, port: (server.address() as AddressInfo).port, pages };
}

describe('a 404 is given only on evidence', () => {
  for (const basePath of ['', '/mirror'])
    test(`while no tree is loaded, every path of a plugin is 503, base path "${basePath}"`, async t => {
      const { port, follower, parts, pages } = await listen(t, basePath);
      const loading = new Gate();
      parts.pages = () => loading.pass().then(() => pages);
      const paths = [
        MODULE,
        PATTERN,
        '/plugins/',
        '/plugins/a/',
        '/plugins/b/1.0.0/plugin.wasm',
        '/',
        '',
        '/index.json',
      ];
      for (const path of paths) {
        const answer = await ask(port, `${basePath}${path}` || '/');
        assert.equal(answer.status, 503, path);
        assert.equal(answer.headers.get('retry-after'), '2');
      }
      // The tree is loaded between the lookup and the moment at which Express could answer.
      const version = ask(port, `${basePath}/version`);
      const late = ask(port, `${basePath}${MODULE}`);
      assert.equal((await late).status, 503);
      await loading.reached();
      follower.view = viewOf('a');
      loading.open();
      assert.equal(JSON.parse((await version).body.toString()).tree, null, 'the view of the lookup');
      assert.equal((await ask(port, `${basePath}${MODULE}`)).status, 200);
    });

  test('what a kubelet and Prometheus ask of a pod is answered without the base path, too', async t => {
    const { port, follower } = await listen(t, '/mirror');
    follower.view = viewOf('a');
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      assert.equal((await ask(port, path)).status, 200, path);
      assert.equal((await ask(port, `/mirror${path}`)).status, 200, `/mirror${path}`);
    }
    for (const path of ['/version', MODULE]) assert.equal((await ask(port, path)).status, 404, path);
  });

  test('a plugin that a reload brings is served to a request that came before the reload', async t => {
    const { port, follower } = await listen(t);
    const check = new Gate();
    follower.view = viewOf('b');
    follower.refresh = check.pass;
    for (const path of [MODULE, PATTERN]) {
      follower.view = viewOf('b');
      const request = ask(port, path);
      await check.reached();
      follower.view = viewOf('a', 'b');
      check.open();
      const answer = await request;
      assert.deepEqual([answer.status, answer.body.toString()], [200, 'a\n']);
    }
  });

  test('a 404 is explained by the view in which the path was looked up', async t => {
    const { port, follower, parts, pages } = await listen(t);
    const loading = new Gate();
    follower.view = viewOf('b');
    parts.pages = () => loading.pass().then(() => pages);
    const request = ask(port, '/plugins/b/9.9.9/plugin.wasm');
    await loading.reached();
    follower.view = viewOf('a');
    loading.open();
    const answer = await request;
    assert.equal(answer.status, 404);
    assert.match(
      answer.body.toString(),
      /no version "9\.9\.9" of b here\.\nThe nearest version here is 1\.0\.0:\n .*\nVersions: 1\.0\.0\n/,
    );
  });

  test('a tree that cannot be checked is 503', async t => {
    const { port, follower } = await listen(t);
    follower.view = viewOf('b');
    follower.refresh = () => Promise.reject(new Error('the volume does not answer'));
    const answer = await ask(port, MODULE);
    assert.equal(answer.status, 503);
    assert.ok(answer.headers.has('retry-after'));
  });

  test('gateways that request from the start on never get 404', async t => {
    await requestFromStart(t, 2);
  });
});
