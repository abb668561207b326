import type { IncomingMessage } from 'node:http';

/** What the server reads of a request's header, gathered in one pass: `headers` would parse all of it for every request. */
export interface RequestHead {
  hosts: number;
  hasBody: boolean;
  /** A Host that names none, or a Transfer-Encoding that does not end in chunked: 400 (RFC 9112, 3.2 and 6.3). */
  isUnclear: boolean;
  expect: string | undefined;
  ifMatch: string | undefined;
  ifNoneMatch: string | undefined;
  ifModifiedSince: string | undefined;
  ifUnmodifiedSince: string | undefined;
  ifRange: string | undefined;
  range: string | undefined;
  acceptEncoding: string | undefined;
}

/** Several lines of a list field are one list (RFC 9110, 5.3); a second line of any other field makes it void. */
export function readRequestHead(request: IncomingMessage): RequestHead {
  const raw = request.rawHeaders;
  const head: RequestHead = {
    hosts: 0,
    hasBody: false,
    isUnclear: false,
    expect: undefined,
    ifMatch: undefined,
    ifNoneMatch: undefined,
    ifModifiedSince: undefined,
    ifUnmodifiedSince: undefined,
    ifRange: undefined,
    range: undefined,
    acceptEncoding: undefined,
  };
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? '';
    const value = raw[at + 1] ?? '';
    switch (name.length) {
      case 4:
        if (is(name, 'host')) {
          head.hosts++;
          head.isUnclear ||= !HOST.test(value);
        }
        break;
      case 5:
        if (is(name, 'range')) head.range = single(head.range, value);
        break;
      case 6:
        if (is(name, 'expect')) head.expect = joined(head.expect, value);
        break;
      case 8:
        if (is(name, 'if-match')) head.ifMatch = joined(head.ifMatch, value);
        else if (is(name, 'if-range')) head.ifRange = single(head.ifRange, value);
        break;
      case 13:
        if (is(name, 'if-none-match')) head.ifNoneMatch = joined(head.ifNoneMatch, value);
        break;
      case 14:
        if (is(name, 'content-length')) head.hasBody ||= value !== '0';
        break;
      case 15:
        if (is(name, 'accept-encoding')) head.acceptEncoding = joined(head.acceptEncoding, value);
        break;
      case 17:
        if (is(name, 'if-modified-since')) head.ifModifiedSince = single(head.ifModifiedSince, value);
        else if (is(name, 'transfer-encoding')) {
          head.hasBody = true;
          head.isUnclear ||= !/(?:^|,)[ \t]*chunked[ \t]*$/i.test(value);
        }
        break;
      case 19:
        if (is(name, 'if-unmodified-since')) head.ifUnmodifiedSince = single(head.ifUnmodifiedSince, value);
        break;
    }
  }
  return head;
}

/** What RFC 3986 lets a host and a port be made of (3.2.2, 3.2.3); whether they are this server's does not matter. */
const HOST = /^[A-Za-z0-9._~!$&'()*+,;=%:[\]-]*$/;

function is(name: string, lower: string): boolean {
  return name === lower || name.toLowerCase() === lower;
}

function joined(former: string | undefined, value: string): string {
  return former === undefined ? value : `${former}, ${value}`;
}

/** Void is a value that no grammar takes, so that a doubled field is ignored where it is read. */
function single(former: string | undefined, value: string): string {
  return former === undefined ? value : '';
}
