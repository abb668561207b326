import type { IncomingMessage } from 'node:http';
import { type Answer, answer, answerError, answerJson } from './answer.ts';
import { type Digest, MEDIA } from './image.ts';
import type { RequestKind } from './records.ts';
import type { Store, StoredRepository } from './store.ts';

/** A request as the distribution-spec reads it. `target` is a tag, a digest or an upload's id. */
export interface Route {
  readonly kind: RequestKind;
  readonly endpoint: 'ping' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'upload' | 'none';
  readonly repository: string;
  readonly target: string;
}

const ENDPOINTS = [
  { endpoint: 'upload', kind: 'other', path: /^\/v2\/(.+)\/blobs\/uploads\/([^/]*)$/ },
  { endpoint: 'manifest', kind: 'manifest', path: /^\/v2\/(.+)\/manifests\/([^/]+)$/ },
  { endpoint: 'blob', kind: 'blob', path: /^\/v2\/(.+)\/blobs\/([^/]+)$/ },
  { endpoint: 'tags', kind: 'tags', path: /^\/v2\/(.+)\/tags\/(list)$/ },
  { endpoint: 'referrers', kind: 'referrers', path: /^\/v2\/(.+)\/referrers\/([^/]+)$/ },
] as const;

export function routeOf(path: string): Route {
  if (/^\/v2\/?$/.test(path)) return { endpoint: 'ping', kind: 'ping', repository: '', target: '' };
  for (const { endpoint, kind, path: pattern } of ENDPOINTS) {
    const match = pattern.exec(path);
    if (match) return { endpoint, kind, repository: match[1] ?? '', target: decodeURIComponent(match[2] ?? '') };
  }
  return { endpoint: 'none', kind: 'other', repository: '', target: '' };
}

/** The pull half of the distribution-spec. */
export function answerPull(store: Store, route: Route, request: IncomingMessage, query: URLSearchParams): Answer {
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return answerError(405, 'UNSUPPORTED', `${request.method} is not supported here`);
  if (route.endpoint === 'ping') return answerJson(200, {});
  if (route.endpoint === 'none')
    return answer(404, { 'content-type': 'text/plain' }, Buffer.from('404 page not found'));
  const repository = store.repositories.get(route.repository);
  if (repository === undefined)
    return answerError(404, 'NAME_UNKNOWN', 'repository name not known to registry', { name: route.repository });
  if (route.endpoint === 'manifest') return manifest(repository, route.target, request.headers.accept);
  if (route.endpoint === 'blob') {
    const body = repository.blobs.get(route.target as Digest);
    if (body === undefined)
      return answerError(404, 'BLOB_UNKNOWN', 'blob unknown to registry', { digest: route.target });
    return answerBlob(body, route.target, request.headers.range);
  }
  if (route.endpoint === 'tags') return tags(repository, route.repository, query);
  return referrers(repository, route.target, query);
}

/** A blob or the range of it that was asked for (RFC 9110, 14). Object storage answers with it too. */
export function answerBlob(body: Buffer, digest: string, range: string | undefined): Answer {
  const headers = {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
  };
  const match = /^bytes=(\d*)-(\d*)$/.exec(range ?? '');
  if (match === null || match[0] === 'bytes=-') return answer(200, headers, body);
  const [, first = '', last = ''] = match;
  const start = first === '' ? Math.max(0, body.length - Number(last)) : Number(first);
  const end = first === '' || last === '' ? body.length - 1 : Math.min(Number(last), body.length - 1);
  if (start > end || start >= body.length)
    return answerError(416, 'RANGE_INVALID', 'range not satisfiable', null, {
      'content-range': `bytes */${body.length}`,
    });
  const contentRange = `bytes ${start}-${end}/${body.length}`;
  return answer(206, { ...headers, 'content-range': contentRange }, body.subarray(start, end + 1));
}

function manifest(repository: StoredRepository, target: string, accept: string | undefined): Answer {
  const digest = target.includes(':') ? (target as Digest) : repository.tags.get(target);
  const found = digest === undefined ? undefined : repository.manifests.get(digest);
  if (digest === undefined || found === undefined)
    return answerError(404, 'MANIFEST_UNKNOWN', 'manifest unknown', { reference: target });
  const accepted = (accept ?? '*/*').split(',').map(part => part.split(';')[0]?.trim());
  if (!accepted.includes(found.mediaType) && !accepted.includes('*/*'))
    return answerError(404, 'MANIFEST_UNKNOWN', `manifest is ${found.mediaType}, which the Accept header leaves out`);
  return answer(200, { 'content-type': found.mediaType, 'docker-content-digest': digest }, found.bytes);
}

function tags(repository: StoredRepository, name: string, query: URLSearchParams): Answer {
  const all = [...repository.tags.keys()].sort();
  const last = query.get('last');
  const rest = last === null ? all : all.filter(tag => tag > last);
  const limit = query.has('n') ? Number(query.get('n')) : Number.POSITIVE_INFINITY;
  const page = rest.slice(0, limit);
  const next = new URLSearchParams({ n: String(limit), last: page.at(-1) ?? '' });
  const link =
    page.length < rest.length && page.length > 0 ? { link: `</v2/${name}/tags/list?${next}>; rel="next"` } : {};
  return answerJson(200, { name, tags: page }, link);
}

function referrers(repository: StoredRepository, target: string, query: URLSearchParams): Answer {
  const wanted = query.get('artifactType');
  const manifests = [...repository.manifests].flatMap(([digest, { bytes, mediaType }]) => {
    const read = JSON.parse(bytes.toString()) as {
      artifactType?: string;
      annotations?: object;
      subject?: { digest?: string };
      config?: { mediaType?: string };
    };
    if (read.subject?.digest !== target) return [];
    const artifactType = read.artifactType ?? read.config?.mediaType;
    if (wanted !== null && wanted !== artifactType) return [];
    return [{ mediaType, digest, size: bytes.length, artifactType, annotations: read.annotations }];
  });
  return answerJson(
    200,
    { schemaVersion: 2, mediaType: MEDIA.index, manifests },
    { 'content-type': MEDIA.index, ...(wanted === null ? {} : { 'oci-filters-applied': 'artifactType' }) },
  );
}
