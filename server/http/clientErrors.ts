import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { plainAddress } from '../clientAddress.ts';
import type { ForeignProtocol } from '../events.ts';

/** The value of Allow for every path. */
export const ALLOWED_METHODS = 'GET, HEAD, OPTIONS';

/** `rawPacket`: the bytes that could not be parsed. */
type ClientError = NodeJS.ErrnoException & { readonly rawPacket?: Buffer };

const MAX_WORD_LENGTH = 16;

/** Version 2 of the PROXY protocol begins with these bytes, version 1 with its name. */
const PROXY_2 = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** RFC 9113, section 3.4. */
const HTTP_2 = Buffer.from('PRI * HTTP/2.0\r\n');
/** A handshake record of TLS 1.0 to 1.3 (RFC 8446, section 5.1). */
const TLS = Buffer.from([0x16, 0x03]);

/** Returns which other protocol bytes that are no HTTP/1.1 belong to, if it is a usual one. */
export function foreignProtocol(bytes: Buffer): ForeignProtocol | undefined {
  const begins = (start: Buffer): boolean => bytes.subarray(0, start.length).equals(start);
  if (begins(PROXY_2) || begins(Buffer.from('PROXY '))) return 'PROXY protocol';
  if (begins(HTTP_2)) return 'HTTP/2';
  return begins(TLS) ? 'TLS' : undefined;
}

/**
 * Returns the first word of a connection that does not begin with a request line, for example `SSH-2.0-x` or `EHLO`. What
 * follows it may be a secret. Undefined if it does, also with an unknown method.
 */
function firstWord({ code, rawPacket }: ClientError, socket: Socket): string | undefined {
  if (code !== 'HPE_INVALID_METHOD' || rawPacket?.length !== socket.bytesRead) return undefined;
  const [line = ''] = rawPacket
    .toString('latin1')
    .trimStart()
    .split(/[\r\n]/, 1);
  return / HTTP\/\d/.test(line) ? undefined : line.split(' ', 1)[0]?.slice(0, MAX_WORD_LENGTH);
}

/**
 * Returns a handler of `clientError` events: requests that cannot be parsed (RFC 9112) or do not arrive in time. It sends
 * one answer, reports it and closes the connection. `isAnswering`: whether an answer is under way on the connection; a second
 * header would then be taken for a part of its body.
 */
export function clientErrorHandler(
  isAnswering: (socket: Socket) => boolean,
  report: (status: number, client: string, protocol?: ForeignProtocol, firstWord?: string) => void,
): (error: ClientError, socket: Duplex) => void {
  return (error, socket) => {
    const isBusy = socket instanceof Socket && isAnswering(socket);
    if (error.code === 'ECONNRESET' || !socket.writable || isBusy) {
      socket.destroy();
      return;
    }
    const status = statusFor(error.code);
    const client = socket instanceof Socket ? plainAddress(socket.remoteAddress ?? '') : '';
    const protocol = error.rawPacket && foreignProtocol(error.rawPacket);
    const word = socket instanceof Socket ? firstWord(error, socket) : undefined;
    report(Number.parseInt(status, 10), client, protocol, word);
    socket.end(rawAnswer(status), () => socket.destroy());
  };
}

/**
 * Returns a handler of CONNECT, for which Node emits an event of its own and leaves the connection to the handler. While an
 * answer is under way, the refusal would be taken for a part of its body.
 */
export function connectHandler(isAnswering: (socket: Socket) => boolean): (request: unknown, socket: Duplex) => void {
  return (_request, socket) => {
    if (socket instanceof Socket && isAnswering(socket)) socket.destroy();
    else socket.end(rawAnswer('405 Method Not Allowed', `Allow: ${ALLOWED_METHODS}\r\n`), () => socket.destroy());
  };
}

function rawAnswer(status: string, headers = ''): string {
  const body = `${status}\n`;
  return `HTTP/1.1 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\n${headers}Connection: close\r\n\r\n${body}`;
}

function statusFor(code: string | undefined): string {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return '431 Request Header Fields Too Large';
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return '413 Content Too Large';
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return '408 Request Timeout';
    default:
      return '400 Bad Request';
  }
}
