import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import { clientOf } from '../clientAddress.ts';
import type { Access } from '../connections/access.ts';
import type { Connections } from '../connections/connections.ts';
import type { ServerSettings } from '../options.ts';
import type { TreeFollower } from '../view/treeFollower.ts';
import type { ServedFile, TreeView } from '../view/treeView.ts';
import { Answer, type AnswerRules, type ErrorBody } from './answer.ts';
import { ALLOWED_METHODS } from './clientErrors.ts';
import type { FileService } from './fileService.ts';
import { type RequestHead, readRequestHead } from './requestHead.ts';
import { readTarget } from './requestTarget.ts';

/** Answers a request with a page, or explains a 404. `view` is undefined if no tree has been loaded. */
export type Pages = (request: IncomingMessage, response: ServerResponse, view: TreeView | undefined) => void;

export interface ListenerParts {
  readonly settings: Pick<ServerSettings, 'basePath' | 'trustedProxies'>;
  /** Loads Express at the first request for a page, so that a server of files alone does not need its memory. */
  readonly pages: () => Promise<Pages>;
  /** Returns why the server wants no new clients, or undefined if it does. */
  readonly notReady: () => string | undefined;
  /** Undefined: clients need no credentials. */
  readonly access: Access | undefined;
  readonly requiresCertificate: boolean;
  readonly files: Pick<FileService, 'serve'>;
  /** Undefined: the server has no images, and /v2/ is a path like any other. */
  readonly registry: RegistryPages | undefined;
  readonly follower: Pick<TreeFollower, 'view' | 'refresh'>;
  readonly connections: Pick<Connections, 'take' | 'expectNoMore'>;
  readonly rules: AnswerRules;
}

/** Answers the OCI distribution API. */
export interface RegistryPages {
  readonly has: (path: string) => boolean;
  readonly serve: (answer: Answer, head: RequestHead, path: string, query: string) => void;
  /** The form of errors that clients of registries expect. */
  readonly errorBody: ErrorBody;
}

const MAX_HEADER_LINES = 256;
const HEALTH_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz']);
/** Answered without the base path as well: kubelet and Prometheus ask a pod itself and do not know the base path. */
const MONITORING_PATHS: ReadonlySet<string> = new Set([...HEALTH_PATHS, '/metrics']);
/** Pages that are answered without a tree. */
const TREELESS_PATHS: ReadonlySet<string> = new Set([...MONITORING_PATHS, '/version', '/status', '/status.json']);
/** A tree whose folder does not answer for so long cannot be checked, and the request gets 503. */
const MAX_REFRESH_MS = 1000;

/**
 * Returns the server's request listener. It answers files of the catalog without Express, which would cost more per request
 * than a small answer itself, and leaves everything else to the pages.
 *
 * Gateways do not retry after 404, so a 404 is only given on evidence: while no tree is loaded the answer is 503, and before
 * a path is declared unknown, index.json is checked once more and the path is looked up in the view that explains the 404.
 */
export function createListener(parts: ListenerParts): RequestListener {
  const { pages, files, registry, follower, connections, rules, settings, access, requiresCertificate } = parts;
  const { basePath } = settings;
  return (request, response) => connections.take(request, response, answerRequest);

  function answerRequest(request: IncomingMessage, response: ServerResponse): void {
    const head = readRequestHead(request);
    const client = clientOf(request, settings.trustedProxies);
    const begin = (closes = head.hasBody): Answer => {
      if (closes) connections.expectNoMore(request.socket);
      // Also for a path that turns out to be invalid.
      const errorBody = registry?.has(url.replace(/\?.*$/s, '')) === true ? registry.errorBody : undefined;
      return new Answer(request, response, rules, { closes, client, errorBody });
    };
    const url = request.url ?? '/';
    // Most requests have the path in exactly the form of the catalog.
    const file = basePath === '' ? follower.view?.files.get(url) : undefined;
    if (request.httpVersionMajor !== 1) begin(true).text(505, 'This server supports HTTP/1.1.\n');
    else if (request.rawHeaders.length > 2 * MAX_HEADER_LINES)
      begin(true).text(431, `The header has more than ${MAX_HEADER_LINES} lines.\n`);
    else if (head.hosts > 1 || (head.hosts === 0 && request.httpVersionMinor > 0))
      begin(true).text(400, 'A request must have exactly one Host field.\n');
    else if (head.isInvalid) begin(true).text(400, 'The Host or Transfer-Encoding field is invalid.\n');
    else if (head.expect !== undefined && !/^100-continue$/i.test(head.expect))
      begin(true).text(417, 'This server supports no expectation but 100-continue.\n');
    else if (file !== undefined) {
      const answer = begin();
      if (isAdmitted(answer)) serveFile(answer, head, url, file);
    } else if (url === '*' && request.method === 'OPTIONS') begin().send(204, ['Allow', ALLOWED_METHODS]);
    else serveTarget(begin, head, url);
  }

  function serveTarget(begin: (closes?: boolean) => Answer, head: RequestHead, url: string): void {
    const target = readTarget(url);
    if (target === undefined) {
      begin(true).text(400, 'The path of this request is invalid.\n');
      return;
    }
    const { query } = target;
    const path = withoutBase(target.path, basePath);
    const answer = begin();
    const file = path === undefined ? undefined : follower.view?.files.get(path);
    if (path !== undefined && HEALTH_PATHS.has(path) && isRead(answer)) sendHealth(answer, path);
    else if (registry?.has(target.path) === true) {
      if (isAdmitted(answer)) registry.serve(answer, head, target.path, query);
    } else if (!isAdmitted(answer)) return;
    else if (path !== undefined && file !== undefined) serveFile(answer, head, path, file);
    else if (!isRead(answer) || (path !== undefined && TREELESS_PATHS.has(path)))
      servePage(answer, path, query, follower.view);
    else if (follower.view === undefined && isBrowser(answer)) servePage(answer, path, query, undefined);
    else if (follower.view === undefined) answer.unavailable('No plugin tree has been loaded yet.');
    else
      follower.refresh(MAX_REFRESH_MS).then(
        () => serveFresh(answer, head, path, query),
        () => answer.unavailable('The plugin tree cannot be checked. Try again shortly.'),
      );
  }

  /** Looks the path up in the view that is current now. */
  function serveFresh(answer: Answer, head: RequestHead, path: string | undefined, query: string): void {
    const { view } = follower;
    const file = path === undefined ? undefined : view?.files.get(path);
    if (answer.response.destroyed) return;
    if (path !== undefined && file !== undefined) serveFile(answer, head, path, file);
    else if (path === '') answer.text(301, 'The folder ends with a slash.\n', ['Location', `${basePath}/${query}`]);
    else servePage(answer, path, query, view);
  }

  /** `path` is undefined outside the base path, where nothing exists. */
  function servePage(answer: Answer, path: string | undefined, query: string, view: TreeView | undefined): void {
    answer.leaveToExpress();
    // "/-" matches no route. Express decodes the path again.
    answer.request.url = (path ?? '/-').replaceAll('%', '%25').replaceAll('?', '%3F') + query;
    pages().then(
      send => send(answer.request, answer.response, view),
      () => answer.response.destroy(),
    );
  }

  function sendHealth(answer: Answer, path: string): void {
    answer.isProbe = true;
    const reason = path === '/readyz' ? parts.notReady() : undefined;
    if (reason !== undefined) answer.unavailable(reason);
    else answer.text(200, path === '/readyz' ? 'ready\n' : 'ok\n');
  }

  /** Returns false after refusing a client without the required certificate or credentials. */
  function isAdmitted(answer: Answer): boolean {
    const { socket, headers } = answer.request;
    if (requiresCertificate && !(socket instanceof TLSSocket && socket.authorized))
      answer.text(403, 'This server requires a client certificate of an authority that it trusts.\n');
    else if (access?.admits(headers.authorization) === false)
      answer.text(401, 'This server requires a token or a password.\n', access.challenge);
    else return true;
    return false;
  }

  function serveFile(answer: Answer, head: RequestHead, path: string, file: ServedFile): void {
    const { method } = answer.request;
    if (method === 'GET' || method === 'HEAD') files.serve(answer, head, path, file);
    else if (method === 'OPTIONS') answer.send(204, ['Allow', ALLOWED_METHODS]);
    else
      answer.text(405, `This server does not support ${method}, only ${ALLOWED_METHODS}.\n`, [
        'Allow',
        ALLOWED_METHODS,
      ]);
  }
}

/** Whether the client asks for HTML by its name: gateways and scripts do not. */
function isBrowser({ request: { headers } }: Answer): boolean {
  return headers.accept?.includes('text/html') === true;
}

function isRead({ request: { method } }: Answer): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Returns an empty path for the base path itself, and undefined outside it. */
function withoutBase(path: string, basePath: string): string | undefined {
  if (basePath === '' || MONITORING_PATHS.has(path)) return path;
  if (path === basePath) return '';
  return path.startsWith(`${basePath}/`) ? path.slice(basePath.length) : undefined;
}
