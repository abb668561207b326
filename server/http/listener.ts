import type { IncomingMessage, RequestListener } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Express } from 'express';
import type { Access } from '../connections/access.ts';
import type { Connections } from '../connections/connections.ts';
import type { ServerSettings } from '../options.ts';
import type { TreeFollower } from '../view/treeFollower.ts';
import type { ServedFile } from '../view/treeView.ts';
import { Exchange, type ExchangeRules } from './answer.ts';
import { ALLOWED_METHODS } from './clientErrors.ts';
import type { FileService } from './fileService.ts';
import { type RequestHead, readRequestHead } from './requestHead.ts';
import { readTarget } from './requestPath.ts';

export interface ListenerParts {
  readonly settings: Pick<ServerSettings, 'basePath' | 'trustedProxies'>;
  /** Loads Express when the first page is asked for: a server of files alone has no need of it, nor of its memory. */
  readonly app: () => Promise<Express>;
  /** Why the server wants no new clients just now; undefined when it does. */
  readonly notReady: () => string | undefined;
  /** Undefined: everybody may see everything. */
  readonly access: Access | undefined;
  /** Whether clients have to show a certificate. */
  readonly wantsCertificate: boolean;
  readonly files: FileService;
  readonly follower: TreeFollower;
  readonly connections: Connections;
  readonly rules: ExchangeRules;
}

const MAX_HEADER_LINES = 256;
/** Health checks of a container know nothing of a base path. */
const ROOT_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

/**
 * The first to see a request. A path that the catalog knows is answered at once: Express would first give every request
 * and response new prototypes, which costs more than the rest of a small answer. Everything else goes through Express.
 */
export function createListener(parts: ListenerParts): RequestListener {
  const { app, files, follower, connections, rules, settings, access, wantsCertificate } = parts;
  const { basePath } = settings;
  /** Connections whose last answer has been begun: what follows on them is nobody's request. */
  const over = new WeakSet<Socket>();
  return (request, response) => {
    if (over.has(request.socket)) return;
    connections.note(request, response);
    const head = readRequestHead(request);
    const client = clientOf(request, settings.trustedProxies);
    const begin = (closes = head.hasBody): Exchange => {
      if (closes) over.add(request.socket);
      return new Exchange(request, response, rules, { closes, client });
    };
    const url = request.url ?? '/';
    // As most requests have it: the very text that the catalog knows.
    const known = basePath === '' ? follower.view?.files.get(url) : undefined;
    if (request.httpVersionMajor !== 1) begin(true).text(505, 'This server speaks HTTP/1.1.\n');
    else if (request.rawHeaders.length > 2 * MAX_HEADER_LINES)
      begin(true).text(431, 'These are too many header lines.\n');
    else if (head.hosts > 1 || (head.hosts === 0 && request.httpVersionMinor > 0))
      begin(true).text(400, 'A request names one host.\n');
    else if (head.isUnclear) begin(true).text(400, 'This header cannot be read: Host or Transfer-Encoding.\n');
    else if (head.expect !== undefined && !/^100-continue$/i.test(head.expect))
      begin(true).text(417, 'Nothing can be expected of this server.\n');
    else if (known !== undefined) {
      const exchange = begin();
      if (isAdmitted(exchange)) answerFile(exchange, head, url, known);
    } else if (url === '*' && request.method === 'OPTIONS') begin().finish(204, ['Allow', ALLOWED_METHODS]);
    else answerDecoded(begin, head, url);
  };

  function answerDecoded(begin: (closes?: boolean) => Exchange, head: RequestHead, url: string): void {
    const target = readTarget(url);
    if (target === undefined) {
      begin(true).text(400, 'This path cannot be read.\n');
      return;
    }
    const path = withoutBase(target.path, basePath);
    const file = path === undefined ? undefined : follower.view?.files.get(path);
    const exchange = begin();
    if (path !== undefined && ROOT_PATHS.has(path) && isRead(exchange)) answerHealth(exchange, path);
    else if (!isAdmitted(exchange)) return;
    else if (path !== undefined && file !== undefined) answerFile(exchange, head, path, file);
    else if (path === '')
      exchange.text(301, 'The folder ends with a slash.\n', ['Location', `${basePath}/${target.query}`]);
    else {
      // Below another path there is nothing; Express says so for a name that no route has.
      const below = (path ?? '/-').replaceAll('%', '%25').replaceAll('?', '%3F');
      exchange.leaveToOthers();
      exchange.request.url = below + target.query;
      app().then(
        answer => answer(exchange.request, exchange.response),
        () => exchange.response.destroy(),
      );
    }
  }

  function answerHealth(exchange: Exchange, path: string): void {
    const why = path === '/readyz' ? parts.notReady() : undefined;
    if (why !== undefined) exchange.unavailable(why);
    else exchange.text(200, path === '/readyz' ? 'ready\n' : 'ok\n');
  }

  /** False if the answer has been given: who may not see the tree is told so. */
  function isAdmitted(exchange: Exchange): boolean {
    const { socket, headers } = exchange.request;
    if (wantsCertificate && !(socket instanceof TLSSocket && socket.authorized))
      exchange.text(403, 'This server answers clients with a certificate that it trusts.\n');
    else if (access?.admits(headers.authorization) === false)
      exchange.text(401, 'This server asks for a token or a password.\n', access.challenge);
    else return true;
    return false;
  }

  function answerFile(exchange: Exchange, head: RequestHead, path: string, file: ServedFile): void {
    const { method } = exchange.request;
    if (method === 'GET' || method === 'HEAD') files.answer(exchange, head, path, file);
    else if (method === 'OPTIONS') exchange.finish(204, ['Allow', ALLOWED_METHODS]);
    else
      exchange.text(405, `${method} is not for this server; it answers ${ALLOWED_METHODS}.\n`, [
        'Allow',
        ALLOWED_METHODS,
      ]);
  }
}

function isRead({ request: { method } }: Exchange): boolean {
  return method === 'GET' || method === 'HEAD';
}

function withoutBase(path: string, basePath: string): string | undefined {
  if (basePath === '' || ROOT_PATHS.has(path)) return path;
  if (path === basePath) return '';
  return path.startsWith(`${basePath}/`) ? path.slice(basePath.length) : undefined;
}

/** The address that the outermost trusted proxy saw. */
function clientOf(request: IncomingMessage, trustedProxies: number): string {
  const peer = request.socket.remoteAddress ?? '';
  if (trustedProxies === 0) return peer;
  const forwarded = request.headers['x-forwarded-for'];
  const hops = (Array.isArray(forwarded) ? forwarded.join(',') : (forwarded ?? '')).split(',').map(hop => hop.trim());
  const chain = [...hops.filter(hop => hop !== ''), peer];
  const told = chain[Math.max(0, chain.length - 1 - trustedProxies)] ?? '';
  return isIP(told) === 0 ? peer : told;
}
