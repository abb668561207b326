import { RegistryNotFound, RegistryProtocol } from '../../errors.ts';
import { redactUrl } from '../../hosts/redact.ts';
import { isTag } from '../../reference.ts';
import type { RegistryClient, RegistryRequest } from '../client/registryClient.ts';
import { looksLikeHtml } from '../faults/errorBody.ts';
import { webPageError } from '../faults/replyErrors.ts';
import { parseNextLink } from '../http/nextLink.ts';
import { type Reply, requestOf } from '../http/reply.ts';
import { readBody } from '../transport/bodies.ts';

const MOST_PAGES = 1000;
const MOST_BYTES = 8 * 1024 * 1024;
/** Of all pages together: about as many tags as the largest known repositories have, ten times over. */
const MOST_BYTES_OF_ALL = 32 * 1024 * 1024;
const MOST_TAGS = 100_000;

interface Page {
  readonly tags: readonly string[];
  readonly bytes: number;
  /** Path and query of the next page. */
  readonly next: string | undefined;
}

/**
 * Reads all pages of a tag list and returns each valid tag once in the registry's order (distribution-spec, Listing tags): at
 * most 1000 pages, 100 000 tags and 32 MiB. `first` requests the first page. @throws this room's refusals, or the signal's reason
 */
export async function readTags(
  client: RegistryClient,
  first: RegistryRequest,
  timeoutMs: number,
  signal: AbortSignal,
  retries?: number,
): Promise<string[]> {
  const tags = new Set<string>();
  const seen = new Set<string>();
  let bytes = 0;
  let request = first;
  while (true) {
    const page = await client
      .fetch(request, reply => readPage(reply, request, timeoutMs, signal), signal, retries)
      .catch((error: unknown) => {
        throw seen.size > 0 && error instanceof RegistryNotFound ? missingPageError(first, error) : error;
      });
    for (const tag of page.tags) tags.add(tag);
    bytes += page.bytes;
    const isTooLarge = tags.size > MOST_TAGS || bytes > MOST_BYTES_OF_ALL;
    if (page.next === undefined && !isTooLarge) return [...tags];
    if (page.next === undefined || isTooLarge || seen.has(page.next) || seen.size >= MOST_PAGES)
      throw new RegistryProtocol(
        `${first.purpose.registry} lists the tags of ${first.purpose.repository} without end`,
        {
          subject: first.purpose.subject,
          found: isTooLarge
            ? `${tags.size} tags in ${bytes} bytes`
            : seen.has(page.next ?? '')
              ? 'a page that was listed before'
              : `more than ${MOST_PAGES} pages`,
          expected: `at most ${MOST_TAGS} tags in ${MOST_BYTES_OF_ALL} bytes and ${MOST_PAGES} pages`,
          hint: "The registry's operator must fix its tag list.",
        },
      );
    seen.add(page.next);
    request = { ...first, path: page.next };
  }
}

/** A 404 for a later page does not mean that the repository is missing. */
function missingPageError({ purpose }: RegistryRequest, error: RegistryNotFound): RegistryProtocol {
  return new RegistryProtocol(`${purpose.registry} does not have all pages of the tag list of ${purpose.repository}`, {
    subject: purpose.subject,
    expected: 'the next page, which the previous one named',
    found: error.message,
    ...(error.status === undefined ? {} : { status: error.status }),
    ...(error.request === undefined ? {} : { request: error.request }),
    hint: "Try again later; if it happens each time, the registry's operator must fix its tag list.",
    cause: error,
  });
}

async function readPage(reply: Reply, request: RegistryRequest, timeoutMs: number, signal: AbortSignal): Promise<Page> {
  const { url } = reply.request;
  const details = { subject: request.purpose.subject, status: reply.status, request: requestOf(reply) };
  const body = await readBody(reply, MOST_BYTES, timeoutMs, signal);
  const bytes = body.length;
  const text = body.toString('utf8');
  if (looksLikeHtml(text, reply.headers['content-type']?.toString())) throw webPageError(reply, details.subject);
  const tags = tagsOf(text);
  if (tags === undefined)
    throw new RegistryProtocol(`The tag list of ${request.purpose.repository} at ${url.host} cannot be read`, {
      ...details,
      expected: '{"name": …, "tags": […]}',
      temporary: true,
      retryLimit: 2,
      hint: 'Check that the host is an OCI registry.',
    });
  const link = parseNextLink(reply.headers.link);
  if (link === undefined) return { tags, bytes, next: undefined };
  const next = URL.canParse(link, url.href) ? new URL(link, url) : undefined;
  if (next?.host !== url.host)
    throw new RegistryProtocol(`${url.host} names another host for the next page of its tag list`, {
      ...details,
      expected: `a page at ${url.host}`,
      found: next === undefined ? 'no usable URL' : redactUrl(next),
      hint: "The registry's operator must fix its Link headers.",
    });
  return { tags, bytes, next: `${next.pathname}${next.search}` };
}

function tagsOf(text: string): string[] | undefined {
  try {
    const json = JSON.parse(text) as { readonly tags?: unknown } | null;
    // Some registries send null for a repository without tags.
    if (json?.tags === null) return [];
    if (!Array.isArray(json?.tags)) return undefined;
    return json.tags.filter((tag: unknown): tag is string => typeof tag === 'string' && isTag(tag));
  } catch {
    return undefined;
  }
}
