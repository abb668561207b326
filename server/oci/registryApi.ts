import { isDigest } from '../../base/digest.ts';
import type { Answer } from '../http/answer.ts';
import type { FileService } from '../http/fileService.ts';
import type { RequestHead } from '../http/requestHead.ts';
import type { ServedFile } from '../view/treeView.ts';
import type { Images } from './readImages.ts';
import { byTag } from './servedBlob.ts';

const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';
const METHODS = 'GET, HEAD';
/** Sent with every answer: older clients look for it. */
const VERSION: readonly string[] = ['Docker-Distribution-API-Version', 'registry/2.0'];

/** Error codes of distribution-spec 1.1, Error Codes. */
type ErrorCode =
  | 'BLOB_UNKNOWN'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'PAGINATION_NUMBER_INVALID'
  | 'SIZE_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  | 'UNSUPPORTED';

/** Returns whether a path belongs to the registry API. It is always at the root: clients know no base path. */
export function isOfRegistry(path: string): boolean {
  return path === '/v2' || path.startsWith('/v2/');
}

/** The codes of errors that the server has for any path. Others are unsupported. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'NAME_INVALID',
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  416: 'SIZE_INVALID',
  503: 'TOOMANYREQUESTS',
};

/** The form of the specification for errors that the server has for any path, such as 416 and 503. */
export function errorBody(
  status: number,
  message: string,
): { readonly headers: readonly string[]; readonly body: string } {
  const errors = [{ code: CODES[status] ?? 'UNSUPPORTED', message }];
  return { headers: ['Content-Type', 'application/json', ...VERSION], body: JSON.stringify({ errors }) };
}

function sendError(
  answer: Answer,
  status: number,
  code: ErrorCode,
  message: string,
  headers: readonly string[] = [],
): void {
  sendJson(answer, status, { errors: [{ code, message }] }, headers);
}

/** The read-only half of the OCI distribution API (distribution-spec 1.1): pull and content discovery. */
export class RegistryApi {
  readonly #images: Images;
  readonly #files: Pick<FileService, 'serve'>;
  readonly #tagged = new Map<string, ServedFile>();

  constructor(images: Images, files: Pick<FileService, 'serve'>) {
    this.#images = images;
    this.#files = files;
  }

  /** Answers a request for a path below /v2. The query's `ns`, which containerd sends to mirrors, is ignored. */
  serve(answer: Answer, head: RequestHead, path: string, query: string): void {
    const { method } = answer.request;
    if (method !== 'GET' && method !== 'HEAD') {
      sendError(answer, 405, 'UNSUPPORTED', 'This registry is read-only.', ['Allow', METHODS]);
      return;
    }
    // Blobs and manifests have none, and most requests are for them.
    const asked = () => new URLSearchParams(query);
    const [, name = '', kind, reference = ''] =
      /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(path) ?? [];
    const tags = this.#images.repositories.get(name);
    if (path === '/v2' || path === '/v2/') sendJson(answer, 200, {});
    else if (path === '/v2/_catalog')
      sendPage(answer, path, asked(), [...this.#images.repositories.keys()], repositories => ({ repositories }));
    else if (kind === undefined) sendError(answer, 404, 'UNSUPPORTED', 'This registry has no such endpoint.');
    else if (tags === undefined) sendError(answer, 404, 'NAME_UNKNOWN', `This registry has no repository ${name}.`);
    else if (kind === 'tags' && reference === 'list')
      sendPage(answer, path, asked(), [...tags.keys()], page => ({ name, tags: page }));
    else if (kind === 'manifests') this.#sendManifest(answer, head, reference, tags.get(reference));
    else if (kind === 'tags') sendError(answer, 404, 'UNSUPPORTED', 'This registry has no such endpoint.');
    else if (!isDigest(reference))
      sendError(answer, 400, 'DIGEST_INVALID', 'A digest is sha256: and 64 hex digits, or sha512: and 128.');
    else if (kind === 'referrers')
      this.#sendReferrers(answer, reference, asked().getAll('artifactType').filter(Boolean));
    else this.#sendBlob(answer, head, reference);
  }

  #sendManifest(answer: Answer, head: RequestHead, reference: string, tagged: string | undefined): void {
    const file = this.#images.manifests.get(tagged ?? reference);
    if (file === undefined) sendError(answer, 404, 'MANIFEST_UNKNOWN', `This repository has no manifest ${reference}.`);
    else if (tagged === undefined) this.#files.serve(answer, head, reference, file);
    else {
      const named = this.#tagged.get(tagged) ?? byTag(file);
      this.#tagged.set(tagged, named);
      this.#files.serve(answer, head, tagged, named);
    }
  }

  #sendBlob(answer: Answer, head: RequestHead, digest: string): void {
    const file = this.#images.blobs.get(digest);
    if (file === undefined) sendError(answer, 404, 'BLOB_UNKNOWN', `This repository has no blob ${digest}.`);
    else this.#files.serve(answer, head, digest, file);
  }

  #sendReferrers(answer: Answer, digest: string, types: readonly string[]): void {
    const all = this.#images.referrers.get(digest) ?? [];
    const manifests = all.filter(({ artifactType = '' }) => types.length === 0 || types.includes(artifactType));
    const applied = types.length === 0 ? [] : ['OCI-Filters-Applied', 'artifactType'];
    sendJson(answer, 200, { schemaVersion: 2, mediaType: INDEX_TYPE, manifests }, applied, INDEX_TYPE);
  }
}

/** Sends `n` names after `last` (distribution-spec, Listing Tags). With a Link if there are more. */
function sendPage(
  answer: Answer,
  path: string,
  asked: URLSearchParams,
  names: readonly string[],
  body: (page: readonly string[]) => object,
): void {
  const n = asked.get('n');
  const last = asked.get('last');
  if (n !== null && !/^\d{1,9}$/.test(n)) {
    sendError(answer, 400, 'PAGINATION_NUMBER_INVALID', 'n is a whole number.');
    return;
  }
  const rest = last === null ? names : names.filter(name => name > last);
  const page = n === null ? rest : rest.slice(0, Number(n));
  const end = page.at(-1);
  const more = end !== undefined && page.length < rest.length;
  const next = `<${path}?n=${n}&last=${encodeURIComponent(end ?? '')}>; rel="next"`;
  sendJson(answer, 200, body(page), more ? ['Link', next] : []);
}

function sendJson(
  answer: Answer,
  status: number,
  value: object,
  headers: readonly string[] = [],
  mediaType = 'application/json',
): void {
  const body = Buffer.from(JSON.stringify(value));
  answer.send(status, ['Content-Type', mediaType, 'Content-Length', String(body.length), ...VERSION, ...headers], body);
}
