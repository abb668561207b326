import process from 'node:process';
import { addAbortSignal } from 'node:stream';

/** Reads standard input to its end; undefined if it has more than `mostBytes`. @throws the signal's reason */
export async function readStandardInput(mostBytes: number, signal: AbortSignal): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of addAbortSignal(signal, process.stdin) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > mostBytes) return undefined;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  return Buffer.concat(chunks);
}
