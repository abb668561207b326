import type { TLSSocket } from 'node:tls';

type Done = (error?: Error | null) => void;

/**
 * Divides all that is written to a TLS connection into pieces of at most `mostBytes()`, each of which is written when the kernel
 * has the former one.
 *
 * OpenSSL encrypts a whole write at once, and Node.js keeps two buffers of the size of the largest writes until the connection
 * is closed. So a client that reads nothing, or does nothing after a download, takes a multiple of the write in this process,
 * where clients without TLS share the memory of the file.
 */
export function divideWrites(socket: TLSSocket, mostBytes: () => number): void {
  const write = socket._write.bind(socket);
  const writeAll = (bytes: Buffer, done: Done): void => {
    const piece = bytes.subarray(0, mostBytes());
    const isLast = piece.length === bytes.length;
    write(piece, 'buffer' as BufferEncoding, error => {
      if (isLast || (error !== undefined && error !== null)) done(error);
      else if (socket.destroyed) done(new Error('The connection was closed'));
      else writeAll(bytes.subarray(piece.length), done);
    });
  };
  socket._write = (chunk: Buffer | string, encoding: BufferEncoding, done: Done) => {
    writeAll(bytesOf(chunk, encoding), done);
  };
  // Of an answer in one piece, the header and the start of its body remain one write.
  socket._writev = (chunks: readonly { chunk: Buffer | string; encoding: BufferEncoding }[], done: Done) => {
    const most = mostBytes();
    const first: Buffer[] = [];
    let length = 0;
    const rest: Buffer[] = [];
    for (const { chunk, encoding } of chunks) {
      const bytes = bytesOf(chunk, encoding);
      const fitting = bytes.subarray(0, most - length);
      if (fitting.length > 0) first.push(fitting);
      length += fitting.length;
      if (fitting.length < bytes.length) rest.push(bytes.subarray(fitting.length));
    }
    const next: Done = error => {
      const bytes = rest.shift();
      if (bytes === undefined || (error !== undefined && error !== null)) done(error);
      else if (socket.destroyed) done(new Error('The connection was closed'));
      else writeAll(bytes, next);
    };
    writeAll(Buffer.concat(first), next);
  };
}

function bytesOf(chunk: Buffer | string, encoding: BufferEncoding): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
}
