import { RegistryProtocol } from '../../errors.ts';
import { redactUrl } from '../../hosts/redact.ts';
import type { Descriptor } from '../../image.ts';
import { MOST_REFERRERS, parseReferrers } from '../../images/referrers.ts';
import type { RegistryClient, RegistryRequest } from '../client/registryClient.ts';
import { parseNextLink } from '../http/nextLink.ts';
import { type Reply, requestOf } from '../http/reply.ts';
import { dropBody, readBody } from '../transport/bodies.ts';

const INDEX = /^application\/vnd\.oci\.image\.index\.v1\+json\b/i;
const MOST_PAGES = 100;
const MOST_BYTES = 4 * 1024 * 1024;
/** Of all pages together. */
const MOST_BYTES_OF_ALL = 16 * 1024 * 1024;
/** Statuses of registries without the API for an unknown path; the specification names 404. */
const NO_SUCH_API = [400, 404, 405, 406, 501];

interface Page {
  readonly referrers: readonly Descriptor[];
  readonly bytes: number;
  readonly next: string | undefined;
}

/**
 * Reads all pages of `GET …/referrers/DIGEST` (distribution-spec 1.1, Listing Referrers), at most 100 pages, 5000 entries and 16 MiB.
 * `first` requests the first page. Returns undefined if the registry has no such API: then the tag schema applies.
 */
export async function readReferrers(
  client: RegistryClient,
  first: RegistryRequest,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Descriptor[] | undefined> {
  const referrers: Descriptor[] = [];
  const seen = new Set<string>();
  let bytes = 0;
  let request: RegistryRequest = { ...first, accept: NO_SUCH_API };
  while (true) {
    const page = await client.fetch(request, reply => readPage(reply, request, timeoutMs, signal), signal);
    if (page === undefined) return undefined;
    referrers.push(...page.referrers);
    bytes += page.bytes;
    if (page.next === undefined) return referrers;
    if (
      bytes > MOST_BYTES_OF_ALL ||
      seen.has(page.next) ||
      seen.size >= MOST_PAGES ||
      referrers.length > MOST_REFERRERS
    )
      throw new RegistryProtocol(
        `${first.purpose.registry} lists the referrers of ${first.purpose.subject} without end`,
        {
          subject: first.purpose.subject,
          found: seen.has(page.next)
            ? 'a page that was listed before'
            : `${referrers.length} entries in ${bytes} bytes, and there are more`,
          hint: "The registry's operator must fix its list of referrers.",
        },
      );
    seen.add(page.next);
    request = { ...first, path: page.next };
  }
}

/** Returns undefined if the reply is not one of the API. */
async function readPage(
  reply: Reply,
  request: RegistryRequest,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Page | undefined> {
  // Registries without the API may answer any path with 200 and a page of their own.
  const type = reply.headers['content-type']?.toString() ?? '';
  if (reply.status !== 200 || !INDEX.test(type)) {
    await dropBody(reply, signal);
    return undefined;
  }
  const { url } = reply.request;
  const body = await readBody(reply, MOST_BYTES, timeoutMs, signal);
  const bytes = body.length;
  const referrers = parseReferrers(body, type, request.purpose.subject);
  const link = parseNextLink(reply.headers.link);
  if (link === undefined) return { referrers, bytes, next: undefined };
  const next = URL.canParse(link, url.href) ? new URL(link, url) : undefined;
  if (next?.host !== url.host)
    throw new RegistryProtocol(`${url.host} names another host for the next page of its referrers`, {
      subject: request.purpose.subject,
      status: reply.status,
      request: requestOf(reply),
      expected: `a page at ${url.host}`,
      found: next === undefined ? 'no usable URL' : redactUrl(next),
      hint: "The registry's operator must fix its Link headers.",
    });
  return { referrers, bytes, next: `${next.pathname}${next.search}` };
}
