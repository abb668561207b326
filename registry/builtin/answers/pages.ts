import { RegistryNotFound, RegistryProtocol } from '../../errors.ts';
import { redactUrl } from '../../hosts/redact.ts';
import type { RegistryClient, RegistryRequest } from '../client/registryClient.ts';
import { parseNextLink } from '../http/nextLink.ts';
import { type Reply, requestOf } from '../http/reply.ts';
import { dropBody, readBody } from '../transport/bodies.ts';

const MOST_PAGES = 1000;

/** A list that a registry sends page by page, each with a Link to the next one (distribution-spec 1.1, Listing tags). */
export interface PagedList<Item> {
  /** What it lists, and of what, for messages: `tags` of `team/plugin`. */
  readonly items: string;
  readonly of: string;
  /** Its name in messages: `tag list`. */
  readonly name: string;
  readonly mostItems: number;
  /** Of one page. */
  readonly mostBytes: number;
  /** Of all pages together. */
  readonly mostBytesOfAll: number;
  /** Returns false for the reply of a registry that does not have this API. Default: every registry has it. */
  readonly isPage?: (reply: Reply) => boolean;
  /** Parses the body of one page. */
  readonly parse: (body: Buffer, reply: Reply) => readonly Item[];
}

interface Page<Item> {
  readonly items: readonly Item[];
  readonly bytes: number;
  /** Path and query of the next page. */
  readonly next: string | undefined;
}

/**
 * Reads all pages of a list, at most 1000. `first` requests the first page. Returns undefined if the registry does
 * not have the API. @throws this room's refusals, or the signal's reason
 */
export async function readPages<Item>(
  client: RegistryClient,
  first: RegistryRequest,
  list: PagedList<Item>,
  signal: AbortSignal,
  retries?: number,
): Promise<Item[] | undefined> {
  const { registry, subject } = first.purpose;
  const items: Item[] = [];
  const seen = new Set<string>();
  let bytes = 0;
  let request = first;
  while (true) {
    const read = (reply: Reply): Promise<Page<Item> | undefined> =>
      readPage(reply, list, subject, client.transport.timeoutMs, signal);
    const page = await client.fetch(request, read, signal, retries).catch((error: unknown) => {
      throw seen.size > 0 && error instanceof RegistryNotFound ? missingPageError(first, list, error) : error;
    });
    if (page === undefined) return undefined;
    for (const item of page.items) items.push(item);
    bytes += page.bytes;
    const isTooLarge = items.length > list.mostItems || bytes > list.mostBytesOfAll;
    if (page.next === undefined && !isTooLarge) return items;
    if (page.next === undefined || isTooLarge || seen.has(page.next) || seen.size >= MOST_PAGES)
      throw new RegistryProtocol(`${registry} lists the ${list.items} of ${list.of} without end`, {
        subject,
        found: isTooLarge
          ? `${items.length} ${list.items} in ${bytes} bytes`
          : seen.has(page.next ?? '')
            ? 'a page that was listed before'
            : `more than ${MOST_PAGES} pages`,
        expected: `at most ${list.mostItems} ${list.items} in ${list.mostBytesOfAll} bytes and ${MOST_PAGES} pages`,
        hint: `The registry's operator must fix its ${list.name}.`,
      });
    seen.add(page.next);
    request = { ...first, path: page.next, accept: [] };
  }
}

/** A 404 for a later page does not mean that the repository is missing. */
function missingPageError(
  { purpose }: RegistryRequest,
  { name, of }: Pick<PagedList<unknown>, 'name' | 'of'>,
  error: RegistryNotFound,
): RegistryProtocol {
  return new RegistryProtocol(`${purpose.registry} does not have all pages of the ${name} of ${of}`, {
    subject: purpose.subject,
    expected: 'the next page, which the previous one named',
    found: error.message,
    ...(error.status === undefined ? {} : { status: error.status }),
    ...(error.request === undefined ? {} : { request: error.request }),
    hint: `Try again later; if it happens each time, the registry's operator must fix its ${name}.`,
    cause: error,
  });
}

async function readPage<Item>(
  reply: Reply,
  { isPage, parse, name, mostBytes }: PagedList<Item>,
  subject: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Page<Item> | undefined> {
  if (isPage?.(reply) === false) {
    await dropBody(reply, signal);
    return undefined;
  }
  const { url } = reply.request;
  const body = await readBody(reply, mostBytes, timeoutMs, signal);
  const page = { items: parse(body, reply), bytes: body.length };
  const link = parseNextLink(reply.headers.link);
  if (link === undefined) return { ...page, next: undefined };
  const next = URL.canParse(link, url.href) ? new URL(link, url) : undefined;
  if (next?.host !== url.host)
    throw new RegistryProtocol(`${url.host} names another host for the next page of its ${name}`, {
      subject,
      status: reply.status,
      request: requestOf(reply),
      expected: `a page at ${url.host}`,
      found: next === undefined ? 'no usable URL' : redactUrl(next),
      hint: "The registry's operator must fix its Link headers.",
    });
  return { ...page, next: `${next.pathname}${next.search}` };
}
