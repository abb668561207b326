import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';

const HTTP = Buffer.from('HTTP/1.');
const CONTINUE = Buffer.from('HTTP/1.1 100');
const END_OF_HEAD = Buffer.from('\r\n\r\n');
const LENGTH = /\r\ncontent-length:[ \t]*(\d+)[ \t]*(?=\r\n)/gi;

/**
 * Two things in the head of an answer that a client is to bear and undici's parser does not: a 100 Continue that nobody
 * asked for (RFC 9110, 15.2.1), which some gateways rely on, and one Content-Length said several times (8.6). Only where a
 * piece of the stream begins with a whole head: were that ever in the midst of a body, its digest would tell.
 */
export function mendedHeads(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...[error, socket]: Parameters<buildConnector.Callback>) => {
      if (error !== null) return callback(error, null);
      if (socket !== null) mendHeads(socket);
      return callback(null, socket);
    });
}

function mendHeads(socket: Socket): void {
  const read = socket.read.bind(socket);
  socket.read = (size?: number): Buffer | null => {
    let chunk: Buffer | null = read(size);
    while (chunk?.subarray(0, CONTINUE.length).equals(CONTINUE)) {
      const end = chunk.indexOf(END_OF_HEAD);
      if (end < 0) return chunk;
      chunk = chunk.subarray(end + END_OF_HEAD.length);
      // An empty piece would be no piece to the parser.
      if (chunk.length === 0) chunk = read(size);
    }
    return chunk?.subarray(0, HTTP.length).equals(HTTP) ? withOneLength(chunk) : chunk;
  };
}

/** Lengths that differ stay: which of them is true nobody knows. */
function withOneLength(chunk: Buffer): Buffer {
  const end = chunk.indexOf(END_OF_HEAD);
  if (end < 0) return chunk;
  const head = chunk.toString('latin1', 0, end + 2);
  const lengths = [...head.matchAll(LENGTH)];
  if (lengths.length < 2 || new Set(lengths.map(([, length]) => length)).size > 1) return chunk;
  const first = lengths[0]?.index;
  const once = head.replace(LENGTH, (line, _length, at: number) => (at === first ? line : ''));
  return Buffer.concat([Buffer.from(once, 'latin1'), chunk.subarray(end + 2)]);
}
