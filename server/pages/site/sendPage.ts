import { createHash } from 'node:crypto';
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Request, Response } from 'express';
import { namesEtag } from '../../http/preconditions.ts';
import { isLoopback } from './address.ts';
import { CONTENT_POLICY, type Reader } from './layout.ts';

const compressGzip = promisify(gzip);
const compressBrotli = promisify(brotliCompress);
const MOST_CACHED_BYTES = 4 * 1024 * 1024;
/** Addresses under which a page is kept in memory, compressed forms included. */
const MOST_ADDRESSES = 2;
/** Compressing a smaller answer saves no packet. */
const LEAST_COMPRESSED_BYTES = 1000;

export const PAGE_HEADERS = {
  'Content-Security-Policy': CONTENT_POLICY,
  'Referrer-Policy': 'no-referrer',
} as const;

/** A rendered page with its compressed forms, which are made when a client first asks for them. */
export interface RenderedPage {
  readonly etag: string;
  readonly identity: Buffer;
  readonly forms: Map<'br' | 'gzip', Promise<Buffer>>;
}

/** A page as it is for every address of the server, and for those under which it was requested. */
interface CachedPage {
  readonly text: string;
  readonly addresses: Map<string, RenderedPage>;
}

/**
 * Take the place of the server's address in cached pages, since clients can send any Host, and each would otherwise cost a
 * rendering. Pages differ if the address is one that only this machine reaches.
 */
const MARK = 'http://address.plugin-mirror.invalid';
const LOOPBACK_MARK = 'http://127.0.0.1:1/address.plugin-mirror.invalid';

/** Keeps the pages of one view of the tree. What was used least recently leaves first. */
export class PageCache {
  readonly #pages = new Map<string, CachedPage>();
  /** Pages that are rendered at the moment. */
  readonly #running = new Map<string, Promise<CachedPage>>();
  #bytes = 0;

  /**
   * Returns the page with this key for a reader; renders it if it is not in memory. Requests that arrive meanwhile get the same
   * page. The key need not contain the address.
   */
  async get(key: string, reader: Reader, render: (reader: Reader) => string | Promise<string>): Promise<RenderedPage> {
    const { address } = reader;
    const mark = isLoopback(address) ? LOOPBACK_MARK : MARK;
    const { text, addresses } = await this.#marked(`${key} ${mark}`, () => render({ ...reader, address: mark }));
    const known = addresses.get(address);
    if (known !== undefined) return known;
    const page = renderedPage(text.replaceAll(mark, address));
    if (addresses.size >= MOST_ADDRESSES) addresses.clear();
    addresses.set(address, page);
    return page;
  }

  async #marked(key: string, render: () => string | Promise<string>): Promise<CachedPage> {
    const known = this.#pages.get(key);
    if (known !== undefined) {
      this.#pages.delete(key);
      this.#pages.set(key, known);
      return known;
    }
    let running = this.#running.get(key);
    if (running === undefined) {
      running = this.#render(key, render).finally(() => this.#running.delete(key));
      this.#running.set(key, running);
    }
    return running;
  }

  async #render(key: string, render: () => string | Promise<string>): Promise<CachedPage> {
    const text = await render();
    // Rendering and hashing a page of a megabyte take about 20 ms each, and downloads may go on in between.
    await eventLoopTurn();
    const page = { text, addresses: new Map<string, RenderedPage>() };
    this.#bytes += text.length + key.length;
    this.#pages.set(key, page);
    for (const [oldest, { text: shed }] of this.#pages) {
      if (this.#bytes <= MOST_CACHED_BYTES || this.#pages.size === 1) break;
      this.#pages.delete(oldest);
      this.#bytes -= shed.length + oldest.length;
    }
    return page;
  }
}

export function renderedPage(text: string): RenderedPage {
  const identity = Buffer.from(text);
  return { etag: etagOf(identity), identity, forms: new Map() };
}

/** Returns a weak validator, which all compressed forms of a page share. With it, Express sends 304 too (RFC 9110, section 13.1.2). */
export function etagOf(body: string | Buffer): string {
  return `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
}

/** Sends a page, compressed if the client accepts it, or 304. Its headers must not have been sent. */
export async function sendPage(
  request: Request,
  response: Response,
  page: RenderedPage,
  { status = 200 }: { readonly status?: number } = {},
): Promise<void> {
  const { etag, identity, forms } = page;
  response.vary('Accept, Accept-Encoding, Accept-Language, Cookie').set(PAGE_HEADERS).type('html').status(status);
  const coding = identity.length < LEAST_COMPRESSED_BYTES ? false : request.acceptsEncodings('br', 'gzip', 'identity');
  if (status === 200) {
    response.set('ETag', etag);
    const known = request.headers['if-none-match'];
    if (known !== undefined && namesEtag(known, etag, 'weak')) {
      response.status(304).removeHeader('Content-Type');
      response.end();
      return;
    }
  }
  if (coding !== 'br' && coding !== 'gzip') {
    response.send(identity);
    return;
  }
  let form = forms.get(coding);
  if (form === undefined) {
    form = coding === 'gzip' ? compressGzip(identity) : compressBrotli(identity, BROTLI);
    forms.set(coding, form);
  }
  response.set('Content-Encoding', coding).send(await form);
}

const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } };
