import { parseBoundedJson } from '../../../base/boundedJson.ts';
import { RegistryNotFound, RegistryProtocol } from '../../errors.ts';
import { redactUrl } from '../../hosts/hosts.ts';
import type { Descriptor } from '../../image.ts';
import { MOST_REFERRERS, parseReferrers } from '../../images/referrers.ts';
import { isTag } from '../../reference.ts';
import type { RegistryClient, RegistryRequest } from '../client/registryClient.ts';
import { looksLikeHtml } from '../faults/errorBody.ts';
import { webPageError } from '../faults/replyErrors.ts';
import { parseNextLink } from '../http/headers.ts';
import { type Reply, requestOf } from '../http/reply.ts';
import { dropBody, readBody } from '../transport/bodies.ts';

const MOST_PAGES = 1000;

/** A list that a registry sends page by page, each with a Link to the next one (distribution-spec 1.1, Listing tags). */
export interface PagedList<Item> {
  /** Its items and their owner in messages: `tags` of `team/plugin`. */
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

/**
 * Reads all pages of a tag list and returns each valid tag once in the registry's order (distribution-spec, Listing tags): at
 * most 100 000 in 32 MiB. `first` requests the first page. @throws this room's refusals, or the signal's reason
 */
export async function readTags(
  client: RegistryClient,
  first: RegistryRequest,
  signal: AbortSignal,
  retries?: number,
): Promise<string[]> {
  const { subject, repository } = first.purpose;
  const list = {
    items: 'tags',
    of: repository,
    name: 'tag list',
    mostItems: 100_000,
    mostBytes: 8 * 1024 * 1024,
    // About ten times the tag lists of the largest known repositories.
    mostBytesOfAll: 32 * 1024 * 1024,
    parse: (body: Buffer, reply: Reply): string[] => {
      const text = body.toString('utf8');
      if (looksLikeHtml(text, reply.headers['content-type']?.toString())) throw webPageError(reply, subject);
      const tags = tagsOf(text);
      if (tags !== undefined) return tags;
      throw new RegistryProtocol(`The tag list of ${repository} at ${reply.request.url.host} cannot be read`, {
        subject,
        status: reply.status,
        request: requestOf(reply),
        expected: '{"name": …, "tags": […]}',
        temporary: true,
        retryLimit: 2,
        hint: 'Check that the host is an OCI registry.',
      });
    },
  };
  return [...new Set(await readPages(client, first, list, signal, retries))];
}

function tagsOf(text: string): string[] | undefined {
  try {
    const json = parseBoundedJson(text) as { readonly tags?: unknown } | null;
    // Some registries send null for a repository without tags.
    if (json?.tags === null) return [];
    if (!Array.isArray(json?.tags)) return undefined;
    return json.tags.filter((tag: unknown): tag is string => typeof tag === 'string' && isTag(tag));
  } catch {
    return undefined;
  }
}

const INDEX = /^application\/vnd\.oci\.image\.index\.v1\+json\b/i;
/** Statuses of registries without the API for an unknown path; the specification names 404. */
const NO_SUCH_API = [400, 404, 405, 406, 501];

/**
 * Reads all pages of `GET …/referrers/DIGEST` (distribution-spec 1.1, Listing Referrers), at most 5000 entries and 16 MiB.
 * `first` requests the first page. Returns undefined if the registry has no such API: then the tag schema applies.
 * @throws this room's refusals, or the signal's reason
 */
export async function readReferrers(
  client: RegistryClient,
  first: RegistryRequest,
  signal: AbortSignal,
): Promise<Descriptor[] | undefined> {
  const { subject } = first.purpose;
  const list = {
    items: 'referrers',
    of: subject,
    name: 'list of referrers',
    mostItems: MOST_REFERRERS,
    mostBytes: 4 * 1024 * 1024,
    mostBytesOfAll: 16 * 1024 * 1024,
    // Registries without the API may answer any path with 200 and a page of their own.
    isPage: (reply: Reply): boolean => reply.status === 200 && INDEX.test(typeOf(reply)),
    parse: (body: Buffer, reply: Reply) => parseReferrers(body, typeOf(reply), subject),
  };
  return readPages(client, { ...first, accept: NO_SUCH_API }, list, signal);
}

function typeOf({ headers }: Reply): string {
  return headers['content-type']?.toString() ?? '';
}
