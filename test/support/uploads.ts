import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type Answer, answer, answerError } from './answer.ts';
import { type Digest, digestOf, MEDIA } from './image.ts';
import type { Route } from './routes.ts';
import type { Store } from './store.ts';

/** The push half of the distribution-spec: monolithic and chunked blob uploads, mounts, manifests. */
export class Uploads {
  readonly #store: Store;
  readonly #open = new Map<string, Buffer[]>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Undefined if the request is no push. */
  async answer(route: Route, request: IncomingMessage, query: URLSearchParams): Promise<Answer | undefined> {
    if (route.endpoint === 'upload') return this.#upload(route, request, query);
    if (route.endpoint === 'manifest' && request.method === 'PUT') return this.#putManifest(route, request);
    return undefined;
  }

  async #upload(route: Route, request: IncomingMessage, query: URLSearchParams): Promise<Answer> {
    const { repository, target: id } = route;
    const digest = query.get('digest');
    if (request.method === 'POST') {
      const from = query.get('from');
      const mounted = this.#store.repositories.get(from ?? '')?.blobs.get(query.get('mount') as Digest);
      if (mounted !== undefined) return this.#keep(repository, query.get('mount') ?? '', mounted);
      const body = await bodyOf(request);
      if (digest !== null) return this.#keep(repository, digest, body);
      const fresh = randomUUID();
      this.#open.set(fresh, []);
      return this.#status(202, repository, fresh);
    }
    const parts = this.#open.get(id);
    if (parts === undefined) return answerError(404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
    if (request.method === 'GET') return this.#status(204, repository, id);
    if (request.method === 'DELETE') {
      this.#open.delete(id);
      return answer(204);
    }
    const start = /^(?:bytes )?(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1];
    if (start !== undefined && Number(start) !== total(parts))
      return answerError(416, 'BLOB_UPLOAD_INVALID', 'chunk out of order');
    parts.push(await bodyOf(request));
    if (request.method === 'PATCH') return this.#status(202, repository, id);
    this.#open.delete(id);
    return this.#keep(repository, digest ?? '', Buffer.concat(parts));
  }

  #status(status: number, repository: string, id: string): Answer {
    const sizeBytes = total(this.#open.get(id) ?? []);
    return answer(status, {
      location: `/v2/${repository}/blobs/uploads/${id}`,
      range: `0-${Math.max(0, sizeBytes - 1)}`,
      'docker-upload-uuid': id,
    });
  }

  #keep(repository: string, digest: string, body: Buffer): Answer {
    if (!fits(digest, body))
      return answerError(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content', { digest });
    this.#store.open(repository).blobs.set(digest, body);
    return answer(201, { location: `/v2/${repository}/blobs/${digest}`, 'docker-content-digest': digest });
  }

  async #putManifest(route: Route, request: IncomingMessage): Promise<Answer> {
    const bytes = await bodyOf(request);
    const read = parse(bytes);
    if (read === undefined) return answerError(400, 'MANIFEST_INVALID', 'manifest is not JSON');
    const repository = this.#store.open(route.repository);
    for (const { digest } of [...(read.config ? [read.config] : []), ...(read.layers ?? [])])
      if (!repository.blobs.has(digest))
        return answerError(400, 'MANIFEST_BLOB_UNKNOWN', 'blob unknown to registry', { digest });
    for (const { digest } of read.manifests ?? [])
      if (!repository.manifests.has(digest))
        return answerError(400, 'MANIFEST_BLOB_UNKNOWN', 'manifest unknown to registry', { digest });
    const byDigest = route.target.includes(':');
    if (byDigest && !fits(route.target, bytes))
      return answerError(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
    const digest = byDigest && fits(route.target, bytes) ? route.target : digestOf(bytes);
    const mediaType = request.headers['content-type'] ?? read.mediaType ?? MEDIA.manifest;
    repository.manifests.set(digest, { bytes, mediaType });
    if (!byDigest) repository.tags.set(route.target, digest);
    return answer(201, {
      location: `/v2/${route.repository}/manifests/${digest}`,
      'docker-content-digest': digest,
      ...(read.subject ? { 'oci-subject': read.subject.digest } : {}),
    });
  }
}

interface PushedManifest {
  readonly mediaType?: string;
  readonly config?: { readonly digest: Digest };
  readonly layers?: readonly { readonly digest: Digest }[];
  readonly manifests?: readonly { readonly digest: Digest }[];
  readonly subject?: { readonly digest: Digest };
}

function parse(bytes: Buffer): PushedManifest | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function fits(digest: string, body: Buffer): digest is Digest {
  return digest === digestOf(body, digest.startsWith('sha512:') ? 'sha512' : 'sha256');
}

function total(parts: readonly Buffer[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

/** The whole body of a request. */
export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
