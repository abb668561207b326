import type { IncomingMessage } from 'node:http';
import process from 'node:process';
import express, { type Express, type Request, type Response } from 'express';
import { MODULE_FILE } from '../../tree/names.ts';
import type { Content } from '../content/content.ts';
import type { HigressRequests } from '../higressRequests.ts';
import { ALLOWED_METHODS } from '../http/clientErrors.ts';
import type { Pages } from '../http/listener.ts';
import type { TreeView } from '../view/treeView.ts';
import { catalogBody } from './catalog/catalogPage.ts';
import { FactReader } from './catalog/facts.ts';
import { queryText, readPage, readQuery } from './catalog/selection.ts';
import { Documents } from './documents/documents.ts';
import { findListing, type Listing, listingBody, PLAIN_HEADERS, plainListing } from './listing.ts';
import { notFoundText, plainReason } from './notFound.ts';
import type { PluginLoader } from './plugin/loadPlugin.ts';
import { publicAddress } from './site/address.ts';
import { type DamagedFile, damageByPlugin, damagedFiles } from './site/damage.ts';
import { type Html, html } from './site/html.ts';
import { type PageContent, type Reader, renderPage, SCRIPT, SCRIPT_PATH } from './site/layout.ts';
import { etagOf, PageCache, type RenderedPage, renderedPage, sendPage } from './site/sendPage.ts';
import { isLanguage, LANGUAGE_COOKIE, type Language, languageOf, translator } from './site/words.ts';
import { explainMissing } from './status/explainMissing.ts';
import { notFoundBody, offerText } from './status/notFoundPage.ts';
import { statusBody } from './status/statusPage.ts';
import { makeStatusReport, type StatusReport, type StatusSources } from './status/statusReport.ts';

export interface PageParts {
  readonly latest: boolean;
  readonly basePath: string;
  readonly trustedProxies: number;
  readonly urlPatterns: readonly string[];
  readonly programVersion: string;
  /** Returns the real folder of the tree. */
  readonly treeRoot: () => string;
  readonly readHigress: (() => Promise<HigressRequests>) | undefined;
  /** Undefined: there is no /status. */
  readonly status: Omit<StatusSources, 'programVersion' | 'basePath'> | undefined;
  readonly retryAfterSeconds: number;
  /** Returns why the server is not ready. */
  readonly notReady: (language?: Language) => string | undefined;
  /** Everything that the catalog lists. */
  readonly contents: () => Iterable<Content>;
  /** Hashes a content if its file is another one than at its last hash. */
  readonly check: (content: Content) => Promise<void>;
  readonly renderMetrics: () => string;
  /** Calls an action when the event loop has time for it. */
  readonly inTurn: (action: () => void) => void;
  readonly onFailure: (url: string, error: unknown) => void;
}

/**
 * Returns the Express application for everything but the files of the catalog and the health checks: the pages for people,
 * listings, metrics, version, and the explanation of a 404. The listener has decoded the path of each request and removed the
 * base path, and it passes the view in which it did not find the path.
 */
export function createPages(parts: PageParts): Pages {
  const views = new WeakMap<IncomingMessage, TreeView>();
  const arrivals = new Arrivals();
  const metrics = new SharedAnswer(arrivals, parts.renderMetrics);
  const app = createApp();
  const site = new Site(parts, arrivals);

  app.use((request, response, next) => {
    response.set({ 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-cache' });
    if (request.method === 'GET' || request.method === 'HEAD') return next();
    response.set('Allow', ALLOWED_METHODS);
    if (request.method === 'OPTIONS') response.status(204).end();
    else sendText(response, 405, `This server does not support ${request.method}, only ${ALLOWED_METHODS}.\n`);
  });
  app.get('/version', (request, response) => {
    const tree = views.get(request)?.catalog.tree ?? null;
    response.json({ version: parts.programVersion, node: process.version, tree });
  });
  app.get('/metrics', (request, response) => {
    const text = metrics.get(request);
    response.set({ 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8', 'Cache-Control': 'no-store' });
    response.send(text);
  });
  app.get(SCRIPT_PATH, (_request, response) => {
    response.set('Cache-Control', 'private, max-age=31536000, immutable').type('text/javascript').send(SCRIPT);
  });
  app.use(async (request, response) => {
    const view = views.get(request);
    const isStatus = request.path === '/status' || request.path === '/status.json';
    if (isStatus && (await site.sendStatus(request, response))) return;
    if (view === undefined) return site.sendUnavailable(request, response);
    const [, top = '', name, ...rest] = request.path.split('/');
    if (request.path === '/') await site.sendCatalog(request, response, view);
    else if (top === 'catalog' && (name ?? '') === '' && rest.length === 0 && isBrowser(request))
      sendToCatalog(response, name);
    else if (top === 'catalog' && name !== undefined && rest.length <= 1 && (rest[0] ?? '') === '') {
      if (!(await site.sendPlugin(request, response, view, name))) await site.sendNotFound(request, response, view);
    } else if (!(await site.sendListing(request, response, view))) await site.sendNotFound(request, response, view);
  });
  app.use((error: unknown, request: Request, response: Response, _next: unknown) => {
    parts.onFailure(request.url, error);
    if (response.headersSent) response.destroy();
    else sendText(response, 500, 'The server failed to answer this request.\n');
  });
  return (request, response, view) => {
    if (view !== undefined) views.set(request, view);
    arrivals.add(request);
    // The response of a connection that has just been cut is not closed before the end of this turn.
    parts.inTurn(() => !request.socket.destroyed && app(request, response));
  };
}

function createApp(): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('query parser');
  app.disable('etag');
  app.enable('case sensitive routing');
  app.enable('strict routing');
  return app;
}

/** One report with its page in each language. */
interface StatusPages {
  readonly report: StatusReport;
  readonly pages: PageCache;
}

/** Numbers requests in the order of their arrival. */
export class Arrivals {
  readonly #numbers = new WeakMap<object, number>();
  last = 0;

  add(request: object): void {
    this.#numbers.set(request, ++this.last);
  }

  of(request: object): number {
    return this.#numbers.get(request) ?? Number.POSITIVE_INFINITY;
  }
}

/**
 * An answer that is never older than its request: it is made once for all requests that have arrived when its making begins.
 * So hundreds of clients that request it at the same moment cost as much as one.
 */
export class SharedAnswer<T> {
  readonly #arrivals: Arrivals;
  readonly #make: () => T;
  #latest: { readonly lastArrival: number; readonly answer: T } | undefined;

  constructor(arrivals: Arrivals, make: () => T) {
    this.#arrivals = arrivals;
    this.#make = make;
  }

  get(request: object): T {
    if (this.#latest === undefined || this.#arrivals.of(request) > this.#latest.lastArrival)
      this.#latest = { lastArrival: this.#arrivals.last, answer: this.#make() };
    return this.#latest.answer;
  }
}

/** The path that the listener gives to requests outside the base path. */
const OUTSIDE = '/-';

/** The pages for people, in the language of the reader and with the address that the reader sees. */
class Site {
  readonly #parts: PageParts;
  readonly #documents: Documents;
  readonly #facts: FactReader;
  #plugins: Promise<PluginLoader> | undefined;
  readonly #caches = new WeakMap<TreeView, PageCache>();
  #higress: Promise<HigressRequests | undefined> | undefined;
  /** Undefined: there is no /status. */
  readonly #status: SharedAnswer<Promise<StatusPages>> | undefined;

  constructor(parts: PageParts, arrivals: Arrivals) {
    this.#parts = parts;
    const { status, programVersion, basePath } = parts;
    if (status !== undefined)
      this.#status = new SharedAnswer(arrivals, async () => {
        const sources = { ...status, programVersion, basePath };
        return { report: await makeStatusReport(sources, await this.#readHigress()), pages: new PageCache() };
      });
    this.#documents = new Documents(parts.treeRoot);
    this.#facts = new FactReader(this.#documents);
  }

  async sendCatalog(request: Request, response: Response, view: TreeView): Promise<void> {
    const search = searchOf(request);
    if (sendLanguageChoice(request, response, search)) return;
    const query = readQuery(search);
    const reader = this.#reader(request, search, queryText(query));
    const damaged = damagedFiles(this.#parts.contents());
    const key = `catalog ${reader.language} ${queryText(query)} ${keyOf(damaged)}`;
    const page = await this.#cacheOf(view).get(key, reader, async marked => {
      const [facts, higress] = await Promise.all([this.#facts.of(view), this.#readHigress()]);
      const body = catalogBody(marked, {
        view,
        facts,
        higress,
        urlPatterns: this.#parts.urlPatterns,
        query,
        damaged: damageByPlugin(damaged),
      });
      return renderPage(marked, this.#page(marked.t('title'), body, 'catalog'));
    });
    await sendPage(request, response, page);
  }

  /** Returns false if there is no such plugin, or no such version of it. */
  async sendPlugin(request: Request, response: Response, view: TreeView, name: string): Promise<boolean> {
    const facts = (await this.#facts.of(view)).find(({ plugin }) => plugin.name === name);
    if (facts === undefined) return false;
    const search = searchOf(request);
    const asked = search.get('version');
    const version = asked === null ? facts.newest : facts.plugin.versions.find(each => each.version === asked);
    if (version === undefined) return false;
    if (!request.path.endsWith('/')) {
      response.set('Location', `./${encodeURIComponent(name)}/${request.url.slice(request.path.length)}`);
      sendText(response, 301, 'The page ends with a slash.\n');
      return true;
    }
    const chosen = search.get('readme');
    const kept = new URLSearchParams();
    if (asked !== null) kept.set('version', asked);
    if (isLanguage(chosen)) kept.set('readme', chosen);
    const number = readPage(search);
    if (number > 1) kept.set('page', String(number));
    const here = `catalog/${encodeURIComponent(name)}/${kept.size === 0 ? '' : `?${kept}`}`;
    const reader = { ...this.#reader(request, search, here), root: '../../' };
    const language = isLanguage(chosen) ? chosen : reader.language;
    const shown = view.files.get(`/plugins/${name}/${version.version}/${MODULE_FILE}`)?.body;
    if (shown !== undefined && !Buffer.isBuffer(shown)) await this.#parts.check(shown);
    const damaged = damageByPlugin(damagedFiles(this.#parts.contents())).get(name);
    const damage = keyOf([...(damaged?.values() ?? [])].flat());
    const key = `plugin ${reader.language} ${language} ${number} ${name} ${version.version} ${damage}`;
    const page = await this.#cacheOf(view).get(key, reader, async marked => {
      this.#plugins ??= import('./plugin/loadPlugin.ts').then(
        ({ PluginLoader: Loader }) => new Loader(this.#documents),
      );
      const loader = await this.#plugins;
      const query = { version, language, page: number };
      const body = await loader.pageBody(marked, facts, query, await this.#readHigress(), damaged);
      return renderPage(marked, this.#page(`${name} ${version.version}`, body, 'catalog'));
    });
    await sendPage(request, response, page);
    return true;
  }

  /** Returns false if there is no folder at the path. */
  async sendListing(request: Request, response: Response, view: TreeView): Promise<boolean> {
    const [, top, ...rest] = request.path.split('/');
    if (top !== 'plugins') return false;
    const isFolder = rest.length > 0 && rest.at(-1) === '';
    const listing = findListing(view.catalog, isFolder ? rest.slice(0, -1) : rest, this.#parts.latest);
    if (listing === undefined) return false;
    if (!isFolder) {
      // A relative location is right behind a proxy that removes a part of the path.
      const query = request.url.slice(request.path.length);
      response.set('Location', `./${rest.at(-1) ?? top}/${query}`);
      sendText(response, 301, 'The folder ends with a slash.\n');
      return true;
    }
    response.vary('Accept');
    if (isBrowser(request)) await this.#sendFolder(request, response, listing);
    else if (request.accepts(['html', 'json']) === 'json') {
      const body = JSON.stringify(listing.json);
      response.set('ETag', etagOf(body)).type('json').send(body);
    } else {
      const page = plainListing(listing);
      response
        .set({ ...PLAIN_HEADERS, ETag: etagOf(page) })
        .type('html')
        .send(page);
    }
    return true;
  }

  async sendNotFound(request: Request, response: Response, view: TreeView): Promise<void> {
    response.vary('Accept').set('Cache-Control', 'no-store');
    const reason = explainMissing(view, lookedUp(request), await this.#readHigress());
    if (isBrowser(request)) {
      const isOutside = request.path === OUTSIDE;
      const below = this.#below(request, isOutside ? '' : request.path.slice(1));
      const reader = isOutside ? { ...below, root: `${this.#parts.basePath}/` } : below;
      const body = notFoundBody(reader, isOutside ? undefined : request.path, reason);
      return sendPage(request, response, this.#render(reader, reader.t('notFound'), body), { status: 404 });
    }
    const found = plainReason(reason, {
      plugins: view.catalog.plugins.length,
      address: publicAddress(request, this.#parts),
    });
    if (request.accepts(['text', 'json']) === 'json')
      response.status(404).json({ error: { code: 'NOT_FOUND', ...found } });
    else sendText(response, 404, notFoundText(found, offerText(translator('en'), reason)));
  }

  /** For browsers; the listener answers other clients itself. */
  async sendUnavailable(request: Request, response: Response): Promise<void> {
    const { retryAfterSeconds, notReady } = this.#parts;
    response.set({ 'Cache-Control': 'no-store', 'Retry-After': String(retryAfterSeconds) });
    const reader = this.#below(request, request.path.slice(1));
    const { t } = reader;
    const reason = notReady(reader.language);
    const body = html`<h1>${t('unavailable')}</h1><p class="note warn">${reason ?? t('noTree')}</p><p>${t('unavailableHint')}</p>`;
    await sendPage(request, response, this.#render(reader, t('unavailable'), body), { status: 503 });
  }

  /** Returns false if the server has no /status. */
  async sendStatus(request: Request, response: Response): Promise<boolean> {
    if (this.#status === undefined) return false;
    const { report, pages } = await this.#status.get(request);
    response.vary('Accept').set('Cache-Control', 'no-store');
    if (request.path === '/status.json' || request.accepts(['html', 'json']) === 'json') {
      response.json(report);
      return true;
    }
    const reader = this.#reader(request, searchOf(request), 'status');
    const page = await pages.get(reader.language, reader, marked => {
      const notReady = this.#parts.notReady(reader.language) ?? null;
      return renderPage(marked, this.#page(marked.t('status'), statusBody(marked, { ...report, notReady }), 'status'));
    });
    await sendPage(request, response, page);
    return true;
  }

  async #sendFolder(request: Request, response: Response, listing: Listing): Promise<void> {
    const reader = this.#below(request, listing.path.slice(1));
    await sendPage(request, response, this.#render(reader, listing.path, listingBody(reader, listing), 'files'));
  }

  #render(reader: Reader, title: string, body: Html, current?: PageContent['current']): RenderedPage {
    return renderedPage(renderPage(reader, this.#page(title, body, current)));
  }

  #page(title: string, body: Html, current: PageContent['current']): PageContent {
    const hasStatus = this.#parts.status !== undefined;
    return { title: `${title} · plugin-mirror`, body, hasStatus, ...(current === undefined ? {} : { current }) };
  }

  /** The reader of a page that is not at the site's root. */
  #below(request: Request, here: string): Reader {
    const root = '../'.repeat(here.split('/').length - 1);
    return { ...this.#reader(request, searchOf(request), here), root: root === '' ? './' : root };
  }

  #reader(request: Request, search: URLSearchParams, here: string): Reader {
    const language = languageOf(request, search);
    return { language, t: translator(language), address: publicAddress(request, this.#parts), root: '', here };
  }

  #cacheOf(view: TreeView): PageCache {
    const cache = this.#caches.get(view) ?? new PageCache();
    this.#caches.set(view, cache);
    return cache;
  }

  #readHigress(): Promise<HigressRequests | undefined> {
    this.#higress ??=
      this.#parts.readHigress?.().catch((error: unknown) => {
        this.#parts.onFailure('/', error);
        return undefined;
      }) ?? Promise.resolve(undefined);
    return this.#higress;
  }
}

/**
 * `/?lang=zh&then=catalog/cors/`: keeps the language in a cookie and leads back. The answer comes from the site's root, whose
 * path is the cookie's by default, whatever part of it a proxy removes. Returns false if the request is no such choice.
 */
function sendLanguageChoice(request: Request, response: Response, search: URLSearchParams): boolean {
  const then = search.get('then');
  const language = search.get('lang');
  if (then === null || !isLanguage(language)) return false;
  // Only a path below this site: no scheme, no host, no way up.
  const isBelow = /^(?:[\w~@:+-][\w.~@:+%-]*\/)*[\w.~@:+%-]*(?:\?[\w.~@:+%&=-]*)?$/.test(then) && !then.includes('..');
  response.set({
    'Set-Cookie': `${LANGUAGE_COOKIE}=${language}; Max-Age=31536000; SameSite=Lax`,
    'Cache-Control': 'no-store',
    Location: `./${isBelow ? then : ''}`,
  });
  sendText(response, 303, `${request.path}\n`);
  return true;
}

/** People cut a plugin's name off its address; scripts that list get the explanation of a 404, and not a page. */
function sendToCatalog(response: Response, afterSlash: string | undefined): void {
  response.vary('Accept').set('Location', afterSlash === undefined ? './' : '../');
  sendText(response, 302, 'The catalog is at the root of this server.\n');
}

/** The path below /plugins/ that a request is about. The page of a plugin is explained like its folder. */
function lookedUp(request: Request): string {
  const [, top, name = ''] = request.path.split('/');
  if (top !== 'catalog' || name === '') return request.path;
  return `/plugins/${name}/${searchOf(request).get('version') ?? ''}`;
}

/** Returns the damage as a part of a page's key: a page is rendered again when files are damaged or repaired. */
function keyOf(damaged: readonly DamagedFile[]): string {
  return damaged.length === 0 ? '' : etagOf(JSON.stringify(damaged));
}

/** True if the client asks for text/html, as browsers do. A client that accepts anything gets the plain form. */
function isBrowser(request: Request): boolean {
  return request.accepts(['text', 'json', 'html']) === 'html';
}

function searchOf({ url }: Request): URLSearchParams {
  const mark = url.indexOf('?');
  return new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
}

function sendText(response: Response, status: number, body: string): void {
  response.status(status).type('text/plain').send(body);
}
