import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';

const CONTINUE = Buffer.from('HTTP/1.1 100');
const END_OF_HEAD = Buffer.from('\r\n\r\n');

/**
 * A client may get a 100 Continue that it did not ask for and is to pass over it (RFC 9110, 15.2.1), which some gateways
 * rely on; undici breaks the connection. Only where a piece of the stream begins with one: were that ever in the midst of
 * a body, its digest would tell.
 */
export function pastContinue(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...[error, socket]: Parameters<buildConnector.Callback>) => {
      if (error !== null) return callback(error, null);
      if (socket !== null) skipContinue(socket);
      return callback(null, socket);
    });
}

function skipContinue(socket: Socket): void {
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
    return chunk;
  };
}
