import { FirstContacts } from '../../concurrency/firstContacts.ts';
import { RegistryRedirect, RegistryRefusal } from '../../errors.ts';
import { StorageHosts } from '../../fallback/storageHosts.ts';
import type { Endpoint } from '../../hosts/hosts.ts';
import { redactUrl } from '../../hosts/redact.ts';
import { type RetryPolicy, retrying } from '../../hosts/retrying.ts';
import type { RegistryEvent } from '../../registry.ts';
import { type Asked, refuseAnswer } from '../faults/answerFaults.ts';
import { type ErrorWords, readErrorWords, withoutEchoes } from '../faults/diagnostics.ts';
import { parseWarnings } from '../http/warnings.ts';
import { dropBody, readBody, requestOf } from '../transport/bodies.ts';
import type { Schemes } from '../transport/schemes.ts';
import type { HttpAnswer, HttpRequest, Transport } from '../transport/transport.ts';
import type { Authenticator, Place, Proof } from './authenticator.ts';

export interface Question {
  readonly asked: Asked;
  readonly endpoint: Endpoint;
  readonly method: 'GET' | 'HEAD';
  /** Below `/v2/REPOSITORY/`, or a whole path for a next page. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Statuses to hand back beside 200. */
  readonly accept?: readonly number[];
}

export interface ExchangeOptions {
  readonly retries: number;
  readonly backoffMs: number;
  readonly onEvent: (event: RegistryEvent) => void;
  /** Told the registry of a question as soon as it said how it wants to be convinced. */
  readonly onLearned: (registry: string) => void;
}

/** curl's limit; browsers have 20, ORAS none. */
const MOST_REDIRECTS = 50;
const ERROR_BODY_BYTES = 64 * 1024;
const MOST_WARNINGS = 1000;
const NO_WORDS: ErrorWords = { diagnostics: [], said: undefined, isHtml: false };

/**
 * Asks a registry one question until it is answered: shows who we are when told to, follows redirects, repeats what is
 * worth it. Hands back the answer with its body unread.
 */
export class Exchange {
  readonly #transport: Transport;
  readonly #authenticator: Authenticator;
  readonly #schemes: Schemes;
  readonly #options: ExchangeOptions;
  readonly #contacts = new FirstContacts();
  readonly #storage = new StorageHosts();
  readonly #warned = new Set<string>();

  constructor(transport: Transport, authenticator: Authenticator, schemes: Schemes, options: ExchangeOptions) {
    this.#transport = transport;
    this.#authenticator = authenticator;
    this.#schemes = schemes;
    this.#options = options;
  }

  /** `digest` reads the answer; what it throws counts as a failure of the whole question. `retries` may allow fewer. */
  async ask<Result>(
    question: Question,
    digest: (answer: HttpAnswer) => Promise<Result> | Result,
    signal: AbortSignal,
    retries = this.#options.retries,
  ): Promise<Result> {
    const policy: RetryPolicy = {
      retries: Math.min(retries, this.#options.retries),
      backoffMs: this.#options.backoffMs,
      onRetry: (attempt, delayMs, reason) =>
        this.#options.onEvent({
          type: 'retry',
          subject: question.asked.subject,
          attempt,
          delayMs,
          reason: reason.message,
        }),
    };
    try {
      return await retrying(async () => digest(await this.#attempt(question, signal)), policy, signal);
    } catch (error) {
      this.#storage.giveUp(error, question.asked.registry, question.asked.subject);
      throw error;
    }
  }

  async #attempt(question: Question, signal: AbortSignal): Promise<HttpAnswer> {
    const { host } = question.endpoint;
    const contacted = await this.#contacts.enter(host, signal);
    const learned = (): void => {
      contacted();
      this.#options.onLearned(question.asked.registry);
    };
    try {
      return await this.#askOnce(question, learned, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryRefusal) || !(await this.#schemes.mend(host, error, signal))) throw error;
      return await this.#askOnce(question, learned, signal);
    } finally {
      contacted();
    }
  }

  async #askOnce(question: Question, learned: () => void, signal: AbortSignal): Promise<HttpAnswer> {
    const first = this.#urlOf(question);
    /** Proofs by origin, so that none ever reaches another. */
    const proofs = new Map<string, Proof | undefined>();
    const answered = new Set<string>();
    const start = this.#placeOf(question, first, first, learned);
    proofs.set(first.origin, await this.#authenticator.prove(start, signal));
    while (true) {
      const answer = await this.#walk(question, first, proofs, signal);
      const { url } = answer.request;
      if (answer.status === 401 && !answered.has(url.origin)) {
        answered.add(url.origin);
        const place = this.#placeOf(question, first, url, learned);
        const header = answer.headers['www-authenticate'];
        const words = await this.#wordsOf(answer, signal);
        const proof = await this.#authenticator.answer(place, header, proofs.get(url.origin), signal);
        if (proof === undefined) throw this.#refuse(answer, question, words, first, proofs.get(url.origin));
        proofs.set(url.origin, proof);
        continue;
      }
      if (answer.status === 200 || question.accept?.includes(answer.status)) {
        this.#warn(answer, question);
        return answer;
      }
      const words = await this.#wordsOf(answer, signal);
      throw this.#refuse(answer, question, words, first, proofs.get(url.origin));
    }
  }

  /** Follows redirects to the first answer that is none. */
  async #walk(
    question: Question,
    first: URL,
    proofs: ReadonlyMap<string, Proof | undefined>,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    let url = first;
    const seen = new Set<string>();
    for (let redirects = 0; ; redirects += 1) {
      seen.add(url.href);
      const proof = proofs.get(url.origin);
      const headers = { ...question.headers, ...(proof === undefined ? {} : { authorization: proof.authorization }) };
      const answer = await this.#send(question, { method: question.method, url, headers }, first, signal);
      if (redirects === 0 && answer.proxy === undefined) this.#confirm(question, answer);
      if (![301, 302, 303, 307, 308].includes(answer.status)) return answer;
      await dropBody(answer, signal);
      const target = this.#targetOf(answer, question, seen);
      if (redirects >= MOST_REDIRECTS)
        throw refuseRedirect(answer, question, target, `more than ${MOST_REDIRECTS} times`);
      url = target;
    }
  }

  async #send({ asked }: Question, request: HttpRequest, first: URL, signal: AbortSignal): Promise<HttpAnswer> {
    const { url } = request;
    if (url.origin === first.origin) return this.#transport.send(request, signal);
    this.#storage.enter(url, asked.registry, asked.subject);
    try {
      const answer = await this.#transport.send(request, signal);
      if (answer.status < 500) this.#storage.heard(url, asked.registry);
      return answer;
    } catch (error) {
      this.#storage.blame(error, url);
      throw error;
    }
  }

  #targetOf(answer: HttpAnswer, question: Question, seen: ReadonlySet<string>): URL {
    const { url } = answer.request;
    const location = answer.headers.location?.toString();
    if (location === undefined || !URL.canParse(location, url.href))
      throw refuseRedirect(answer, question, undefined, 'without saying where to');
    const target = new URL(location, url);
    target.hash = '';
    target.username = '';
    target.password = '';
    if (!/^https?:$/.test(target.protocol)) throw refuseRedirect(answer, question, target, 'to what is no web address');
    if (url.protocol === 'https:' && target.protocol === 'http:')
      throw refuseRedirect(answer, question, target, 'from https to plain http');
    if (seen.has(target.href)) throw refuseRedirect(answer, question, target, 'in a circle');
    return target;
  }

  #urlOf({ endpoint, path }: Question): URL {
    const base = `${this.#schemes.of(endpoint.host)}://${endpoint.host}`;
    return new URL(path.startsWith('/') ? `${base}${path}` : `${base}/v2/${endpoint.repository}/${path}`);
  }

  #placeOf({ asked, endpoint }: Question, first: URL, url: URL, learned: () => void): Place {
    return { api: url, asked, repository: endpoint.repository, isRegistry: url.origin === first.origin, learned };
  }

  /** A 400 may be what a TLS port says to plain http: it proves nothing. */
  #confirm({ endpoint }: Question, { request, status }: HttpAnswer): void {
    if (status !== 400) this.#schemes.confirm(endpoint.host, request.url.protocol === 'https:' ? 'https' : 'http');
  }

  async #wordsOf(answer: HttpAnswer, signal: AbortSignal): Promise<ErrorWords> {
    try {
      const body = await readBody(answer, ERROR_BODY_BYTES, this.#transport.timeoutMs, signal);
      return readErrorWords(body, answer.headers['content-type']?.toString(), answer);
    } catch {
      // The status alone says enough; a broken error page must not hide it.
      signal.throwIfAborted();
      return NO_WORDS;
    }
  }

  #refuse(
    answer: HttpAnswer,
    question: Question,
    words: ErrorWords,
    first: URL,
    proof: Proof | undefined,
  ): RegistryRefusal {
    const { url } = answer.request;
    const moved = url.origin !== first.origin;
    const refusal = refuseAnswer(answer, question.asked, words, {
      credentialSource: proof?.credentialSource,
      moved,
      timeoutMs: this.#transport.timeoutMs,
    });
    if (moved) this.#storage.blame(refusal, url);
    return refusal;
  }

  #warn(answer: HttpAnswer, { asked }: Question): void {
    for (const text of parseWarnings(answer.headers.warning)) {
      const message = withoutEchoes(text, answer);
      const key = `${asked.registry} ${message}`;
      if (this.#warned.has(key) || this.#warned.size >= MOST_WARNINGS) continue;
      this.#warned.add(key);
      this.#options.onEvent({ type: 'warning', subject: asked.subject, message });
    }
  }
}

function refuseRedirect(
  answer: HttpAnswer,
  { asked }: Question,
  target: URL | undefined,
  how: string,
): RegistryRedirect {
  return new RegistryRedirect(`${answer.request.url.host} redirects ${how}`, {
    subject: asked.subject,
    status: answer.status,
    request: requestOf(answer),
    found: target === undefined ? 'no usable Location header' : redactUrl(target),
    hostwide: true,
    hint: 'A login page of the network (captive portal) or a proxy may answer for the registry; else its operator must mend it.',
  });
}
