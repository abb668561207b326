import { RegistryProtocol } from '../../errors.ts';
import { redactUrl } from '../../hosts/redact.ts';
import type { Descriptor } from '../../image.ts';
import { MOST_REFERRERS, parseReferrers } from '../../images/referrers.ts';
import type { Exchange, Question } from '../client/registryClient.ts';
import { parseNextLink } from '../http/nextLink.ts';
import { dropBody, readBody, requestOf } from '../transport/bodies.ts';
import type { HttpAnswer } from '../transport/transport.ts';

const INDEX = /^application\/vnd\.oci\.image\.index\.v1\+json\b/i;
const MOST_PAGES = 100;
const MOST_BYTES = 4 * 1024 * 1024;
/** What registries older than the API answer to a path that they do not know. 404 is the one in the specification. */
const NO_SUCH_API = [400, 404, 405, 406, 501];

interface Page {
  readonly referrers: readonly Descriptor[];
  readonly next: string | undefined;
}

/**
 * All pages of `GET …/referrers/DIGEST` (distribution-spec 1.1, Listing Referrers); undefined if the registry has no such
 * API: the tag schema is the next to ask. `first` asks for the first page.
 */
export async function readReferrers(
  exchange: Exchange,
  first: Question,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Descriptor[] | undefined> {
  const referrers: Descriptor[] = [];
  const seen = new Set<string>();
  let question: Question = { ...first, accept: NO_SUCH_API };
  while (true) {
    const page = await exchange.ask(question, answer => readPage(answer, question, timeoutMs, signal), signal);
    if (page === undefined) return undefined;
    referrers.push(...page.referrers);
    if (page.next === undefined) return referrers;
    if (seen.has(page.next) || seen.size >= MOST_PAGES || referrers.length > MOST_REFERRERS)
      throw new RegistryProtocol(`${first.asked.registry} lists the referrers of ${first.asked.subject} without end`, {
        subject: first.asked.subject,
        found: seen.has(page.next) ? 'a page that comes again' : `${referrers.length} entries and more to come`,
        hint: "The registry's operator must mend its list of referrers.",
      });
    seen.add(page.next);
    question = { ...first, path: page.next };
  }
}

/** Undefined if this is no answer of the API. */
async function readPage(
  answer: HttpAnswer,
  question: Question,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Page | undefined> {
  // Registries that never heard of the API may send their own page for any path, with 200.
  const type = answer.headers['content-type']?.toString() ?? '';
  if (answer.status !== 200 || !INDEX.test(type)) {
    await dropBody(answer, signal);
    return undefined;
  }
  const { url } = answer.request;
  const bytes = await readBody(answer, MOST_BYTES, timeoutMs, signal);
  const referrers = parseReferrers(bytes, type, question.asked.subject);
  const link = parseNextLink(answer.headers.link);
  if (link === undefined) return { referrers, next: undefined };
  const next = URL.canParse(link, url.href) ? new URL(link, url) : undefined;
  if (next?.host !== url.host)
    throw new RegistryProtocol(`${url.host} keeps the next page of its referrers at another host`, {
      subject: question.asked.subject,
      status: answer.status,
      request: requestOf(answer),
      expected: `a page at ${url.host}`,
      found: next === undefined ? 'no usable address' : redactUrl(next),
      hint: "The registry's operator must mend its Link headers.",
    });
  return { referrers, next: `${next.pathname}${next.search}` };
}
