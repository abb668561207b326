import { createHmac, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type Answer, answer } from './answer.ts';
import type { Digest } from './image.ts';
import { answerBlob } from './routes.ts';
import type { Store } from './store.ts';

/** Object storage behind a registry: gives out blobs by signed URL, and refuses whoever sends credentials along. */
export class ObjectStorage {
  readonly #store: Store;
  readonly #key = randomBytes(16);
  readonly #refusesCredentials: boolean;

  /** `refusesCredentials` false: on the registry's own origin a client may rightly keep its Authorization header. */
  constructor(store: Store, refusesCredentials: boolean) {
    this.#store = store;
    this.#refusesCredentials = refusesCredentials;
  }

  /** Path and query of a signed URL. */
  sign(repository: string, digest: string): string {
    const path = `/storage/${repository}/${digest}`;
    return `${path}?${new URLSearchParams({ Expires: '4102444800', Signature: this.#signature(path) })}`;
  }

  answer(request: IncomingMessage, path: string, query: URLSearchParams): Answer {
    // S3, OSS and Azure alike refuse two ways of authentication in one request.
    if (this.#refusesCredentials && request.headers.authorization !== undefined)
      return refusal(400, 'InvalidArgument', 'Only one auth mechanism');
    if (query.get('Signature') !== this.#signature(path)) return refusal(403, 'AccessDenied', 'Request has expired.');
    const [, repository = '', digest = ''] = /^\/storage\/(.+)\/([^/]+)$/.exec(path) ?? [];
    const body = this.#store.repositories.get(repository)?.blobs.get(digest as Digest);
    if (body === undefined) return refusal(404, 'NoSuchKey', 'The specified key does not exist.');
    const said = answerBlob(body, digest, request.headers.range);
    const { 'docker-content-digest': _, ...headers } = said.headers;
    return { ...said, headers };
  }

  #signature(path: string): string {
    return createHmac('sha256', this.#key).update(path).digest('base64url');
  }
}

/** Object storages answer in XML, not in the registry's JSON. */
export function refusal(status: number, code: string, message: string): Answer {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return answer(status, { 'content-type': 'application/xml' }, Buffer.from(xml));
}
