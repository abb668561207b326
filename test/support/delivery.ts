import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer } from './answer.ts';
import type { RequestRecord } from './records.ts';

/** How a connection ends before its answer does: RST, FIN, or silence until the client gives up. */
export type Ending = 'reset' | 'finish' | 'hang';

/** How an answer travels. The default is whole, at once and with its Content-Length. */
export interface Delivery {
  /** Before the status line. */
  readonly delayMs?: number;
  /** Nothing is sent before it resolves. */
  readonly until?: Promise<unknown>;
  /**
   * Where the connection ends. `afterBytes` counts body bytes; below 0 it counts back from the end; 0 is right behind the
   * headers; without it not even the status line is sent.
   */
  readonly cut?: { readonly how: Ending; readonly afterBytes?: number };
  /** So many body bytes at a time, with a pause after each. */
  readonly drip?: { readonly bytes: number; readonly everyMs: number };
  /** How the client learns the body's length. `close`: only by the end of the connection. Default `length`. */
  readonly framing?: 'length' | 'chunked' | 'close';
  /** The body is repeated until the client leaves. Wants another framing than `length`. */
  readonly endless?: boolean;
  /** Goes onto the connection instead of any HTTP answer; then `cut` ends it, FIN by default. */
  readonly raw?: Buffer;
}

export interface Connection {
  readonly response: ServerResponse;
  /** The TCP socket, beneath TLS if there is TLS. */
  readonly tcp: Socket;
  /** Aborts when the client leaves or the server closes. */
  readonly signal: AbortSignal;
}

const CHUNK_BYTES = 262_144;

// A reset discards what the kernel has not delivered yet. On loopback a moment is enough for a client that reads.
const SETTLE_MS = 25;

/** Sends an answer in steps, so that `record` shows its progress. Rejects if the client leaves before the end. */
export async function deliver(said: Answer, to: Connection, record: RequestRecord, how: Delivery): Promise<void> {
  const { response, signal } = to;
  const { cut, drip, endless = false } = how;
  if (how.delayMs !== undefined) await sleep(how.delayMs, undefined, { signal });
  if (how.until !== undefined)
    await Promise.race([how.until, once(signal, 'abort').then(() => signal.throwIfAborted())]);
  if (how.raw !== undefined) {
    response.socket?.write(how.raw);
    return end(to, cut?.how ?? 'finish');
  }
  if (cut !== undefined && cut.afterBytes === undefined) return end(to, cut.how);
  const bodyless = record.method === 'HEAD' || [204, 304].includes(said.status);
  begin(said, response, how.framing ?? 'length');
  record.status = said.status;
  const body = bodyless || said.body === undefined ? Buffer.alloc(0) : said.body;
  const stop = cut?.afterBytes === undefined ? body.length : stopOf(cut.afterBytes, body.length);
  const stepBytes = drip?.bytes ?? CHUNK_BYTES;
  do {
    for (let at = 0; at < stop; at += stepBytes) {
      const step = body.subarray(at, Math.min(at + stepBytes, stop));
      await send(response, step, signal);
      record.bodyBytesSent += step.length;
      if (drip !== undefined) await sleep(drip.everyMs, undefined, { signal });
    }
  } while (endless && body.length > 0);
  if (cut !== undefined) return end(to, cut.how);
  response.end();
}

function begin(said: Answer, response: ServerResponse, framing: 'length' | 'chunked' | 'close'): void {
  if (framing === 'close') {
    response.useChunkedEncodingByDefault = false;
    response.shouldKeepAlive = false;
  }
  const length = { 'content-length': String(said.body?.length ?? 0) };
  response.writeHead(said.status, {
    ...(framing === 'length' && said.status !== 204 && said.status !== 304 ? length : {}),
    ...(said.headers as Record<string, string | string[]>),
  });
  response.flushHeaders();
}

function stopOf(afterBytes: number, length: number): number {
  return Math.min(length, Math.max(0, afterBytes < 0 ? length + afterBytes : afterBytes));
}

async function end({ response, tcp, signal }: Connection, how: Ending): Promise<void> {
  if (how === 'finish') response.socket?.end();
  if (how === 'reset') {
    await sleep(SETTLE_MS, undefined, { signal });
    tcp.resetAndDestroy();
  }
  if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
}

// Resolves when the kernel took it.
async function send(response: ServerResponse, chunk: Buffer, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const gone = () => reject(signal.reason);
    if (signal.aborted) return gone();
    signal.addEventListener('abort', gone, { once: true });
    response.write(chunk, error => {
      signal.removeEventListener('abort', gone);
      if (error) reject(error);
      else resolve();
    });
  });
}
