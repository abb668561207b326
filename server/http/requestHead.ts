import type { IncomingMessage } from 'node:http';

/** The fields of a request's header that the server uses, collected in one pass. (`headers` would parse all fields of every request.) */
export interface RequestHead {
  hosts: number;
  hasBody: boolean;
  /** An invalid Host, or a Transfer-Encoding that does not end in chunked: 400 (RFC 9112, sections 3.2 and 6.3). */
  isInvalid: boolean;
  expect: string | undefined;
  ifMatch: string | undefined;
  ifNoneMatch: string | undefined;
  ifModifiedSince: string | undefined;
  ifUnmodifiedSince: string | undefined;
  ifRange: string | undefined;
  range: string | undefined;
  acceptEncoding: string | undefined;
}

/** Joins several lines of a list field (RFC 9110, section 5.3). A second line of any other field makes that field invalid. */
export function readRequestHead(request: IncomingMessage): RequestHead {
  const raw = request.rawHeaders;
  const head: RequestHead = {
    hosts: 0,
    hasBody: false,
    isInvalid: false,
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
          head.isInvalid ||= !HOST.test(value);
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
          head.isInvalid ||= !/(?:^|,)[ \t]*chunked[ \t]*$/i.test(value);
        }
        break;
      case 19:
        if (is(name, 'if-unmodified-since')) head.ifUnmodifiedSince = single(head.ifUnmodifiedSince, value);
        break;
    }
  }
  return head;
}

/** The characters of a host and a port (RFC 3986, sections 3.2.2 and 3.2.3). The server answers for any host. */
const HOST = /^[A-Za-z0-9._~!$&'()*+,;=%:[\]-]*$/;

function is(name: string, lower: string): boolean {
  return name === lower || name.toLowerCase() === lower;
}

function joined(former: string | undefined, value: string): string {
  return former === undefined ? value : `${former}, ${value}`;
}

/** A doubled field becomes empty, which no grammar accepts, so that it is ignored where it is parsed. */
function single(former: string | undefined, value: string): string {
  return former === undefined ? value : '';
}
