import { createHmac, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type Answer, answer } from './answer.ts';
import type { Digest } from './image.ts';
import type { RequestRecord } from './records.ts';
import { answerBlob } from './routes.ts';
import type { UrlLimits } from './script.ts';
import type { Store } from './store.ts';

/** Object storage behind a registry: serves blobs by signed URL, and refuses requests with credentials. */
export class ObjectStorage {
  readonly #store: Store;
  readonly #key = randomBytes(16);
  readonly #refusesCredentials: boolean;
  readonly #urls = new Map<string, SignedUrl>();

  /** `refusesCredentials` false: on the registry's own origin a client may rightly keep its Authorization header. */
  constructor(store: Store, refusesCredentials: boolean) {
    this.#store = store;
    this.#refusesCredentials = refusesCredentials;
  }

  /** Path and query of a signed URL, no two alike. */
  sign(repository: string, digest: string, limits: UrlLimits = {}): string {
    const path = `/storage/${repository}/${digest}`;
    const nonce = randomBytes(6).toString('hex');
    this.#urls.set(nonce, { limits, served: [] });
    const query = { Expires: '4102444800', Nonce: nonce, Signature: this.#signature(path + nonce) };
    return `${path}?${new URLSearchParams(query)}`;
  }

  answer(request: IncomingMessage, path: string, query: URLSearchParams, record: RequestRecord): Answer {
    // S3, OSS and Azure alike refuse two ways of authentication in one request.
    if (this.#refusesCredentials && request.headers.authorization !== undefined)
      return refusal(400, 'InvalidArgument', 'Only one auth mechanism');
    const nonce = query.get('Nonce') ?? '';
    const url = this.#urls.get(nonce);
    if (url === undefined || isSpent(url) || query.get('Signature') !== this.#signature(path + nonce))
      return refusal(403, 'AccessDenied', 'Request has expired.');
    const [, repository = '', digest = ''] = /^\/storage\/(.+)\/([^/]+)$/.exec(path) ?? [];
    const body = this.#store.repositories.get(repository)?.blobs.get(digest as Digest);
    if (body === undefined) return refusal(404, 'NoSuchKey', 'The specified key does not exist.');
    url.served.push(record);
    const said = answerBlob(body, digest, request.headers.range);
    const { 'docker-content-digest': _, ...headers } = said.headers;
    return { ...said, headers };
  }

  #signature(path: string): string {
    return createHmac('sha256', this.#key).update(path).digest('base64url');
  }
}

interface SignedUrl {
  readonly limits: UrlLimits;
  readonly served: RequestRecord[];
}

function isSpent({ limits, served }: SignedUrl): boolean {
  const bytes = served.reduce((sum, record) => sum + record.bodyBytesSent, 0);
  return served.length >= (limits.uses ?? Infinity) || bytes >= (limits.bytes ?? Infinity);
}

/** Object storages answer in XML, not in the registry's JSON. */
function refusal(status: number, code: string, message: string): Answer {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return answer(status, { 'content-type': 'application/xml' }, Buffer.from(xml));
}
