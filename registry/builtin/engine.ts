import { CredentialsSource } from '../credentials/credentialsSource.ts';
import type { BlobBody, Engine, RawManifest } from '../engine.ts';
import { RegistryNotFound, RegistryProtocol, RegistryRefusal } from '../errors.ts';
import { endpointOf } from '../hosts/hosts.ts';
import type { Descriptor } from '../image.ts';
import { parseReferrers, referrersTag } from '../images/referrers.ts';
import { type Digest, formatReference, type Reference } from '../reference.ts';
import type { RegistryOptions, Traffic } from '../registry.ts';
import { BlobStream, refuseLength } from './answers/blobStream.ts';
import { type ContentRange, continuesBlob, parseContentRange } from './answers/contentRange.ts';
import { ACCEPTED_MANIFESTS, announcedDigest, readManifest } from './answers/manifest.ts';
import { readReferrers } from './answers/referrers.ts';
import { readTags } from './answers/tags.ts';
import { Authenticator } from './client/authenticator.ts';
import { Exchange, type Question } from './client/registryClient.ts';
import type { Asked } from './faults/answerFaults.ts';
import { refusePortal } from './faults/answerFaults.ts';
import { contentEncoding, dropBody, requestOf } from './transport/bodies.ts';
import { Schemes } from './transport/schemes.ts';
import { type HttpAnswer, Transport, type TransportOptions } from './transport/transport.ts';

export type BuiltinEngineOptions = Pick<
  RegistryOptions,
  | 'concurrency'
  | 'plainHttp'
  | 'insecure'
  | 'caFile'
  | 'certFile'
  | 'keyFile'
  | 'certsDir'
  | 'registryConfig'
  | 'username'
  | 'password'
  | 'credentialsFor'
  | 'headsOnly'
  | 'timeoutMs'
  | 'retries'
  | 'env'
  | 'onEvent'
> &
  Pick<TransportOptions, 'onExchange'> & {
    /** Longest wait before the first retry; it doubles each time, up to 10 000. Default 250. */
    readonly backoffMs?: number;
    /** Told a registry as soon as it said how it wants to be convinced, which only a registry does. */
    readonly onLearned?: (registry: string) => void;
  };

/** Our own client of the distribution-spec's pull half, over undici. @throws RegistryOptionsInvalid */
export function createBuiltinEngine(options: BuiltinEngineOptions): Engine {
  return new BuiltinEngine(options);
}

/** Less than this within a whole timeout, and a blob is asked for once more: a new connection is often faster. */
const LEAST_BYTES = 1024;

class BuiltinEngine implements Engine {
  readonly #transport: Transport;
  readonly #exchange: Exchange;
  readonly #headsOnly: boolean;
  readonly #retries: number;
  /** Digests of blobs that were asked for once more because they came slowly. */
  readonly #slow = new Set<string>();
  #bytesDownloaded = 0;

  constructor(options: BuiltinEngineOptions) {
    this.#transport = new Transport(options);
    this.#headsOnly = options.headsOnly ?? false;
    this.#retries = options.retries ?? 5;
    const authenticator = new Authenticator(this.#transport, new CredentialsSource(options));
    this.#exchange = new Exchange(this.#transport, authenticator, new Schemes(options.plainHttp ?? false), {
      retries: this.#retries,
      backoffMs: options.backoffMs ?? 250,
      onEvent: options.onEvent ?? (() => {}),
      onLearned: options.onLearned ?? (() => {}),
    });
  }

  get traffic(): Traffic {
    return { requests: this.#transport.requests, bytesDownloaded: this.#bytesDownloaded };
  }

  async resolve(reference: Reference, signal: AbortSignal, retries?: number): Promise<Digest> {
    const digest = await this.#resolveByHead(reference, signal, retries);
    if (digest !== undefined) return digest;
    if (this.#headsOnly) throw refuseSilence(reference);
    return (await this.fetchManifest(reference, signal, retries)).digest;
  }

  fetchManifest(reference: Reference, signal: AbortSignal, retries?: number): Promise<RawManifest> {
    const question = manifestQuestion(reference, 'GET');
    const read = (answer: HttpAnswer): Promise<RawManifest> =>
      readManifest(answer, reference, question.asked, this.#transport.timeoutMs, signal);
    return this.#exchange.ask(question, read, signal, retries);
  }

  async fetchBlob(
    reference: Reference,
    descriptor: Descriptor,
    offset: number,
    signal: AbortSignal,
    retries?: number,
  ): Promise<BlobBody> {
    const start = offset > 0 && offset < descriptor.size ? offset : 0;
    const asked: Asked = { ...askedFor(reference), what: 'blob', wanted: descriptor.digest };
    const question: Question = {
      asked,
      endpoint: endpointOf(reference.registry, reference.repository),
      method: 'GET',
      path: `blobs/${descriptor.digest}`,
      accept: [206],
      ...(start === 0 ? {} : { headers: { range: `bytes=${start}-` }, accept: [206, 416] }),
    };
    const tolerant = { ofLength: false };
    const isPatient = Math.min(retries ?? this.#retries, this.#retries) === 0;
    const open = (answer: HttpAnswer): Promise<BlobBody | undefined> =>
      this.#openBlob(answer, descriptor, start, tolerant, isPatient, signal);
    try {
      const blob = await this.#exchange.ask(question, open, signal, retries);
      if (blob !== undefined) return blob;
    } catch (error) {
      signal.throwIfAborted();
      if (start === 0 || !mayMindRange(error)) throw error;
    }
    // The registry could not go on at the offset: all of it again.
    return this.fetchBlob(reference, descriptor, 0, signal, retries);
  }

  listTags(reference: Reference, signal: AbortSignal, retries?: number): Promise<string[]> {
    const asked: Asked = { ...askedFor(reference), what: 'tags' };
    const endpoint = endpointOf(reference.registry, reference.repository);
    return readTags(
      this.#exchange,
      { asked, endpoint, method: 'GET', path: 'tags/list' },
      this.#transport.timeoutMs,
      signal,
      retries,
    );
  }

  async listReferrers(reference: Reference, digest: Digest, signal: AbortSignal): Promise<Descriptor[]> {
    const asked: Asked = { ...askedFor({ ...reference, digest }), what: 'manifest', wanted: digest };
    const endpoint = endpointOf(reference.registry, reference.repository);
    const question: Question = { asked, endpoint, method: 'GET', path: `referrers/${digest}` };
    const listed = await readReferrers(this.#exchange, question, this.#transport.timeoutMs, signal);
    const tagged = referrersTag(reference, digest);
    if (listed !== undefined || tagged === undefined) return listed ?? [];
    try {
      const { bytes, mediaType } = await this.fetchManifest(tagged, signal);
      return [...parseReferrers(bytes, mediaType, formatReference(tagged))];
    } catch (error) {
      if (error instanceof RegistryNotFound) return [];
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  /** Undefined if HEAD cannot tell: no usable digest, or a refusal whose words only GET's body has. */
  async #resolveByHead(
    reference: Reference,
    signal: AbortSignal,
    retries: number | undefined,
  ): Promise<Digest | undefined> {
    const read = async (answer: HttpAnswer): Promise<Digest | undefined> => {
      await dropBody(answer, signal);
      const digest = announcedDigest(answer);
      // Where a GET follows, that one tells; a login page must not pass for a registry that says little.
      if (digest === undefined && this.#headsOnly && isWebPage(answer))
        throw refusePortal(answer.request.url.host, {
          subject: formatReference(reference),
          status: answer.status,
          request: requestOf(answer),
        });
      return digest;
    };
    try {
      return await this.#exchange.ask(manifestQuestion(reference, 'HEAD'), read, signal, retries);
    } catch (error) {
      // An answer to HEAD has no body; GET's says why, or works after all. What a token server said needs no second try.
      if (!(error instanceof RegistryRefusal) || !error.request?.startsWith('HEAD ')) throw error;
      // 500 is how some say that they know no HEAD.
      if (error.temporary && error.status !== 500) throw error;
      if (this.#headsOnly || error.status === undefined || error.status < 400 || error.status === 407) throw error;
      return undefined;
    }
  }

  /** Undefined if the answer does not continue at `start`. */
  async #openBlob(
    answer: HttpAnswer,
    descriptor: Descriptor,
    start: number,
    tolerant: { ofLength: boolean },
    isPatient: boolean,
    signal: AbortSignal,
  ): Promise<BlobBody | undefined> {
    const { status, headers } = answer;
    const isRange = status === 206;
    const range = parseContentRange(headers['content-range']?.toString());
    const length = headers['content-length'] === undefined ? undefined : Number(headers['content-length']);
    const fits =
      range !== undefined &&
      continuesBlob(range, start, descriptor.size) &&
      // One that begins earlier than asked for is believed only if its length agrees.
      (range.first === start || length === undefined || length === descriptor.size - range.first);
    // A range of an encoded body counts encoded bytes (RFC 9110, 14.1.2).
    if (status === 416 || (isRange && (!fits || contentEncoding(answer) !== undefined))) {
      answer.body.on('error', () => {}).destroy();
      answer.leave();
      if (start === 0) throw refusePart(answer, range, descriptor);
      return undefined;
    }
    const offset = isRange && range !== undefined ? range.first : 0;
    const expectedBytes = descriptor.size - offset;
    if (isWebPage(answer) && length !== expectedBytes) {
      answer.body.on('error', () => {}).destroy();
      answer.leave();
      throw refusePortal(answer.request.url.host, { subject: descriptor.digest, status, request: requestOf(answer) });
    }
    if (contentEncoding(answer) === undefined && length !== undefined && length > expectedBytes && !tolerant.ofLength) {
      // Another body, most likely, which is not worth its bytes. Said again it may be the header that is wrong.
      tolerant.ofLength = true;
      answer.body.on('error', () => {}).destroy();
      answer.leave();
      throw refuseLength(answer, `${length} bytes`, expectedBytes);
    }
    const onBytes = (count: number): void => {
      this.#bytesDownloaded += count;
    };
    const { timeoutMs } = this.#transport;
    const leastBytes = isPatient || this.#slow.has(descriptor.digest) ? 0 : LEAST_BYTES;
    const onSlow = (): void => {
      this.#slow.add(descriptor.digest);
    };
    return { offset, body: new BlobStream(answer, { expectedBytes, timeoutMs, leastBytes, signal, onBytes, onSlow }) };
  }
}

function manifestQuestion(reference: Reference, method: 'GET' | 'HEAD'): Question {
  const wanted = reference.digest ?? reference.tag ?? '';
  return {
    asked: { ...askedFor(reference), what: 'manifest', wanted },
    endpoint: endpointOf(reference.registry, reference.repository),
    method,
    path: `manifests/${wanted}`,
    headers: { accept: ACCEPTED_MANIFESTS },
  };
}

function askedFor(reference: Reference): Pick<Asked, 'subject' | 'registry' | 'repository'> {
  return {
    subject: formatReference(reference),
    registry: reference.registry,
    repository: reference.repository,
  };
}

function isWebPage({ headers }: HttpAnswer): boolean {
  return /^\s*text\/html/i.test(headers['content-type']?.toString() ?? '');
}

/** True if the same without a Range may do: some storage refuses ranges by whatever status comes to its mind. */
function mayMindRange(error: unknown): boolean {
  if (!(error instanceof RegistryRefusal) || error.status === undefined || error.status < 400) return false;
  return ![401, 404, 407, 408, 429, 502, 503, 504].includes(error.status);
}

function refusePart(answer: HttpAnswer, range: ContentRange | undefined, { size }: Descriptor): RegistryProtocol {
  const { host } = answer.request.url;
  return new RegistryProtocol(`${host} answered with a part of a blob of which all was asked for`, {
    subject: host,
    status: answer.status,
    request: requestOf(answer),
    expected: `bytes 0-${size - 1}/${size}`,
    found: range === undefined ? 'no usable Content-Range' : `bytes ${range.first}-${range.last}`,
    temporary: true,
    retryLimit: 2,
    hint: 'A proxy on the way may keep parts of answers: try again, or another network.',
  });
}

function refuseSilence(reference: Reference): RegistryProtocol {
  return new RegistryProtocol(
    `${reference.registry} does not say in its answer to HEAD what ${formatReference(reference)} is`,
    {
      subject: formatReference(reference),
      expected: 'a Docker-Content-Digest header',
      found: 'none',
      hint: 'plugin-mirror sync asks such a registry by GET.',
    },
  );
}
