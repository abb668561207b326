import { addAbortSignal, type Readable } from 'node:stream';

/** The stream's bytes once it has ended well; undefined, and the stream destroyed, if there are more than `limitBytes`. */
export async function readWhole(
  source: Readable,
  limitBytes: number,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  // Whatever goes wrong is told by the reading; a source destroyed afterwards must not crash the process.
  source.on('error', () => {});
  try {
    addAbortSignal(signal, source);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of source) {
      length += (chunk as Buffer).length;
      if (length > limitBytes) return undefined;
      chunks.push(Buffer.from(chunk));
    }
    return Buffer.concat(chunks);
  } finally {
    source.destroy();
  }
}
