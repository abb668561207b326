import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { redactUrl } from '../../hosts/hosts.ts';

/** How a host that the user did not name came to be contacted. */
export interface NamedBy {
  /** `host` is one that anything but a blob was redirected to, `upload host` one in the Location of an upload. */
  readonly role: 'token server' | 'storage host' | 'host' | 'upload host';
  /** The registry that named it, as the user wrote it. */
  readonly registry: string;
  /** URL of the registry's API. */
  readonly api: URL;
  /** The host whose redirect led here, if that is not the registry's own. */
  readonly redirectedBy?: string;
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | Readable;
  /** Set for every other host than the registry. */
  readonly namedBy?: NamedBy | undefined;
  /** Which attempt this is, from 1. Default 1. For the debug log only. */
  readonly attempt?: number;
}

/** A server's answer to one request, whatever its status; its body is still to be read. */
export interface Reply {
  readonly request: HttpRequest;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Must be read, dumped or destroyed: until then the request counts towards the host's limit. */
  readonly body: Dispatcher.ResponseData['body'];
  readonly proxy: URL | undefined;
  /** Adds to the bytes that `onRequest` reports. */
  countBytes(count: number): void;
  /** Stops counting the request towards the host's limit before the body's end. */
  release(): void;
}

/** `METHOD URL` for error messages, without user info and query string. */
export function requestOf({ request }: Pick<Reply, 'request'>): string {
  return `${request.method} ${redactUrl(request.url)}`;
}

/** Returns true for a reply of type HTML, whatever its status. */
export function isWebPage({ headers }: Pick<Reply, 'headers'>): boolean {
  return /^\s*text\/html/i.test(headers['content-type']?.toString() ?? '');
}
