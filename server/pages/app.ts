import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import process from 'node:process';
import express, { type Express, type Request, type Response } from 'express';
import { ALLOWED_METHODS } from '../http/clientErrors.ts';
import type { Pages } from '../http/listener.ts';
import type { TreeView } from '../view/treeView.ts';
import { findListing, LISTING_POLICY, renderListing } from './listing.ts';
import { explainNotFound, notFoundText } from './notFound.ts';
import { renderStartPage, START_PAGE_POLICY } from './startPage.ts';

export interface PageParts {
  readonly latest: boolean;
  readonly programVersion: string;
  readonly renderMetrics: () => string;
  readonly onFailure: (url: string, error: unknown) => void;
}

/**
 * Returns the Express application for everything but the files of the catalog and the health checks: start page, listings,
 * metrics, version, and the explanation of a 404. The listener has decoded the path of each request and removed the base
 * path, and it passes the view in which it did not find the path.
 */
export function createPages(parts: PageParts): Pages {
  const views = new WeakMap<IncomingMessage, TreeView>();
  const startPages = new WeakMap<TreeView, string>();
  const app = createApp();

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
  app.get('/metrics', (_request, response) => {
    const metrics = parts.renderMetrics();
    response.set({ 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8', 'Cache-Control': 'no-store' });
    response.send(metrics);
  });
  app.use((request, response) => {
    const view = views.get(request);
    if (view === undefined) throw new Error('The listener passed no view');
    if (request.path === '/') {
      const page = startPages.get(view) ?? renderStartPage(view);
      startPages.set(view, page);
      sendHtml(response, page, START_PAGE_POLICY);
    } else if (!sendListing(request, response, view, parts.latest)) sendNotFound(request, response, view);
  });
  app.use((error: unknown, request: Request, response: Response, _next: unknown) => {
    parts.onFailure(request.url, error);
    if (response.headersSent) response.destroy();
    else sendText(response, 500, 'The server failed to answer this request.\n');
  });
  return (request, response, view) => {
    if (view !== undefined) views.set(request, view);
    app(request, response);
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

/** Returns false if there is no folder at the path. */
function sendListing(request: Request, response: Response, view: TreeView, latest: boolean): boolean {
  const [, top, ...rest] = request.path.split('/');
  if (top !== 'plugins') return false;
  const isFolder = rest.length > 0 && rest.at(-1) === '';
  const listing = findListing(view.catalog, isFolder ? rest.slice(0, -1) : rest, latest);
  if (listing === undefined) return false;
  if (!isFolder) {
    // A relative location is right behind a proxy that removes a part of the path.
    const query = request.url.slice(request.path.length);
    response.set('Location', `./${rest.at(-1) ?? top}/${query}`);
    sendText(response, 301, 'The folder ends with a slash.\n');
    return true;
  }
  response.vary('Accept');
  if (request.accepts(['html', 'json']) === 'json') {
    const body = JSON.stringify(listing.json);
    response.set('ETag', etagOf(body)).type('json').send(body);
  } else sendHtml(response, renderListing(listing), LISTING_POLICY);
  return true;
}

function sendNotFound(request: Request, response: Response, view: TreeView): void {
  const found = explainNotFound(view.catalog, request.path);
  response.vary('Accept').set('Cache-Control', 'no-store');
  if (request.accepts(['text', 'json']) === 'json')
    response.status(404).json({ error: { code: 'NOT_FOUND', ...found } });
  else sendText(response, 404, notFoundText(found));
}

function sendHtml(response: Response, page: string, policy: string): void {
  const headers = { 'Content-Security-Policy': policy, 'Referrer-Policy': 'no-referrer', ETag: etagOf(page) };
  response.set(headers).type('html').send(page);
}

/** With it, Express answers 304 to a cache that has the same page (RFC 9110, section 13.1.2). */
function etagOf(body: string): string {
  return `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
}

function sendText(response: Response, status: number, body: string): void {
  response.status(status).type('text/plain').send(body);
}
