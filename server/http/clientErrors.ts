import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** RFC 9112 on requests that cannot be read: said once, in HTTP, and the connection is over. `told` hears of each answer. */
export function unreadableAnswerer(
  told: (status: number, client: string) => void,
): (error: NodeJS.ErrnoException, socket: Duplex) => void {
  return (error, socket) => {
    // After a reset nobody listens; in the midst of a body, a second header would be taken for a part of it.
    const busy = '_httpMessage' in socket && socket._httpMessage !== null && socket._httpMessage !== undefined;
    if (error.code === 'ECONNRESET' || !socket.writable || busy) {
      socket.destroy();
      return;
    }
    const status = statusFor(error.code);
    told(Number.parseInt(status, 10), socket instanceof Socket ? (socket.remoteAddress ?? '') : '');
    socket.end(rawAnswer(status), () => socket.destroy());
  };
}

export function rawAnswer(status: string, headers = ''): string {
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

/** The value of Allow, for whatever is served here. */
export const ALLOWED_METHODS = 'GET, HEAD, OPTIONS';
