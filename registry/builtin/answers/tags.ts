import { RegistryNotFound, RegistryProtocol } from '../../errors.ts';
import { redactUrl } from '../../hosts/redact.ts';
import { isTag } from '../../reference.ts';
import type { Exchange, Question } from '../client/registryClient.ts';
import { refusePortal } from '../faults/answerFaults.ts';
import { looksLikeHtml } from '../faults/diagnostics.ts';
import { parseNextLink } from '../http/nextLink.ts';
import { readBody, requestOf } from '../transport/bodies.ts';
import type { HttpAnswer } from '../transport/transport.ts';

const MOST_PAGES = 1000;
const MOST_BYTES = 8 * 1024 * 1024;

interface Page {
  readonly tags: readonly string[];
  /** Path and query of the next page. */
  readonly next: string | undefined;
}

/** All pages of a tag list, in the registry's order (distribution-spec, Listing tags). `first` asks for the first page. */
export async function readTags(
  exchange: Exchange,
  first: Question,
  timeoutMs: number,
  signal: AbortSignal,
  retries?: number,
): Promise<string[]> {
  const tags = new Set<string>();
  const seen = new Set<string>();
  let question = first;
  while (true) {
    const page = await exchange
      .ask(question, answer => readPage(answer, question, timeoutMs, signal), signal, retries)
      .catch((error: unknown) => {
        throw seen.size > 0 && error instanceof RegistryNotFound ? brokenOff(first, error) : error;
      });
    for (const tag of page.tags) tags.add(tag);
    if (page.next === undefined) return [...tags];
    if (seen.has(page.next) || seen.size >= MOST_PAGES)
      throw new RegistryProtocol(`${first.asked.registry} lists the tags of ${first.asked.repository} without end`, {
        subject: first.asked.subject,
        found: seen.has(page.next) ? 'a page that comes again' : `more than ${MOST_PAGES} pages`,
        hint: "The registry's operator must mend its tag list.",
      });
    seen.add(page.next);
    question = { ...first, path: page.next };
  }
}

/** A page that is not there says nothing of the repository, whose first one was. */
function brokenOff({ asked }: Question, error: RegistryNotFound): RegistryProtocol {
  return new RegistryProtocol(`${asked.registry} breaks its list of the tags of ${asked.repository} off`, {
    subject: asked.subject,
    expected: 'the next page, as the one before it says',
    found: error.message,
    ...(error.status === undefined ? {} : { status: error.status }),
    ...(error.request === undefined ? {} : { request: error.request }),
    hint: "Try again later; if it happens each time, the registry's operator must mend its tag list.",
    cause: error,
  });
}

async function readPage(answer: HttpAnswer, question: Question, timeoutMs: number, signal: AbortSignal): Promise<Page> {
  const { url } = answer.request;
  const details = { subject: question.asked.subject, status: answer.status, request: requestOf(answer) };
  const text = (await readBody(answer, MOST_BYTES, timeoutMs, signal)).toString('utf8');
  if (looksLikeHtml(text, answer.headers['content-type']?.toString())) throw refusePortal(url.host, details);
  const tags = tagsOf(text);
  if (tags === undefined)
    throw new RegistryProtocol(`The tag list of ${question.asked.repository} at ${url.host} cannot be read`, {
      ...details,
      expected: '{"name": …, "tags": […]}',
      temporary: true,
      retryLimit: 2,
      hint: 'Check that the host is an OCI registry.',
    });
  const link = parseNextLink(answer.headers.link);
  if (link === undefined) return { tags, next: undefined };
  const next = URL.canParse(link, url.href) ? new URL(link, url) : undefined;
  if (next?.host !== url.host)
    throw new RegistryProtocol(`${url.host} keeps the next page of its tag list at another host`, {
      ...details,
      expected: `a page at ${url.host}`,
      found: next === undefined ? 'no usable address' : redactUrl(next),
      hint: "The registry's operator must mend its Link headers.",
    });
  return { tags, next: `${next.pathname}${next.search}` };
}

function tagsOf(text: string): string[] | undefined {
  try {
    const json = JSON.parse(text) as { readonly tags?: unknown } | null;
    // A repository without tags is listed as null by some.
    if (json?.tags === null) return [];
    if (!Array.isArray(json?.tags)) return undefined;
    return json.tags.filter((tag: unknown): tag is string => typeof tag === 'string' && isTag(tag));
  } catch {
    return undefined;
  }
}
