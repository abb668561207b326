import process from 'node:process';
import express, { type Express, type Request, type Response } from 'express';
import { ALLOWED_METHODS } from '../http/clientErrors.ts';
import type { TreeView } from '../view/treeView.ts';
import { findListing, LISTING_POLICY, renderListing } from './listing.ts';
import { explainNotFound, notFoundText } from './notFound.ts';
import { renderStartPage, START_PAGE_POLICY } from './startPage.ts';

export interface AppParts {
  readonly view: () => TreeView | undefined;
  readonly retryAfterSeconds: number;
  readonly latest: boolean;
  readonly programVersion: string;
  readonly renderMetrics: () => Promise<string>;
  readonly onFailure: (url: string, error: unknown) => void;
}

/**
 * Everything but the files of the catalog and the health checks: pages, listings, metrics and the words of a 404. The path of each
 * request has been decoded and stripped of the base path before it comes here.
 */
export function createApp(parts: AppParts): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('query parser');
  app.disable('etag');
  app.enable('case sensitive routing');
  app.enable('strict routing');
  const pages = new WeakMap<TreeView, string>();

  app.use((request, response, next) => {
    response.set({ 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-cache' });
    if (request.method === 'GET' || request.method === 'HEAD') return next();
    response.set('Allow', ALLOWED_METHODS);
    if (request.method === 'OPTIONS') response.status(204).end();
    else text(response, 405, `${request.method} is not for this server; it answers ${ALLOWED_METHODS}.\n`);
  });
  app.get('/version', (_request, response) => {
    response.json({ version: parts.programVersion, node: process.version, tree: parts.view()?.catalog.tree ?? null });
  });
  app.get('/metrics', async (_request, response) => {
    const metrics = await parts.renderMetrics();
    response.set({ 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8', 'Cache-Control': 'no-store' });
    response.send(metrics);
  });
  app.use((request, response) => {
    const view = parts.view();
    if (view === undefined) return unavailable(response, parts, 'No plugin tree has been loaded yet.');
    if (request.path === '/') {
      const page = pages.get(view) ?? renderStartPage(view);
      pages.set(view, page);
      html(response, page, START_PAGE_POLICY);
    } else if (!answerListing(request, response, view, parts.latest)) answerNotFound(request, response, view);
  });
  app.use((error: unknown, request: Request, response: Response, _next: unknown) => {
    parts.onFailure(request.url, error);
    if (response.headersSent) response.destroy();
    else text(response, 500, 'The server failed to answer this request.\n');
  });
  return app;
}

function answerListing(request: Request, response: Response, view: TreeView, latest: boolean): boolean {
  const [, top, ...rest] = request.path.split('/');
  if (top !== 'plugins') return false;
  const isFolder = rest.length > 0 && rest.at(-1) === '';
  const listing = findListing(view.catalog, isFolder ? rest.slice(0, -1) : rest, latest);
  if (listing === undefined) return false;
  if (!isFolder) {
    // Relative, so that it holds behind a proxy that cuts off a part of the path.
    const query = request.url.slice(request.path.length);
    response.set('Location', `./${rest.at(-1) ?? top}/${query}`);
    text(response, 301, 'The folder ends with a slash.\n');
    return true;
  }
  response.vary('Accept');
  if (request.accepts(['html', 'json']) === 'json') response.json(listing.json);
  else html(response, renderListing(listing), LISTING_POLICY);
  return true;
}

function answerNotFound(request: Request, response: Response, view: TreeView): void {
  const found = explainNotFound(view.catalog, request.path);
  response.vary('Accept').set('Cache-Control', 'no-store');
  if (request.accepts(['text', 'json']) === 'json')
    response.status(404).json({ error: { code: 'NOT_FOUND', ...found } });
  else text(response, 404, notFoundText(found));
}

function unavailable(response: Response, parts: AppParts, why: string): void {
  response.set({ 'Retry-After': String(parts.retryAfterSeconds), 'Cache-Control': 'no-store' });
  text(response, 503, `${why}\n`);
}

function html(response: Response, page: string, policy: string): void {
  response.set({ 'Content-Security-Policy': policy, 'Referrer-Policy': 'no-referrer' }).type('html').send(page);
}

function text(response: Response, status: number, body: string): void {
  response.status(status).type('text/plain').send(body);
}
