import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** The value of Allow for every path. */
export const ALLOWED_METHODS = 'GET, HEAD, OPTIONS';

/**
 * Returns a handler of `clientError` events: requests that cannot be parsed (RFC 9112) or do not arrive in time. It sends
 * one answer, reports it and closes the connection. `isAnswering`: whether an answer is under way on the connection; a second
 * header would then be taken for a part of its body.
 */
export function clientErrorHandler(
  isAnswering: (socket: Socket) => boolean,
  report: (status: number, client: string) => void,
): (error: NodeJS.ErrnoException, socket: Duplex) => void {
  return (error, socket) => {
    const isBusy = socket instanceof Socket && isAnswering(socket);
    if (error.code === 'ECONNRESET' || !socket.writable || isBusy) {
      socket.destroy();
      return;
    }
    const status = statusFor(error.code);
    report(Number.parseInt(status, 10), socket instanceof Socket ? (socket.remoteAddress ?? '') : '');
    socket.end(rawAnswer(status), () => socket.destroy());
  };
}

/** Refuses CONNECT, for which Node emits an event of its own. */
export function refuseConnect(_request: unknown, socket: Duplex): void {
  socket.end(rawAnswer('405 Method Not Allowed', `Allow: ${ALLOWED_METHODS}\r\n`));
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
