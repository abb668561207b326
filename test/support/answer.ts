import type { ServerResponse } from 'node:http';
import type { RequestRecord } from './records.ts';

/** What a route wants to say; nothing is on the wire yet, so a fault can still change it. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: Buffer;
}

export function answer(status: number, headers: Answer['headers'] = {}, body?: Buffer): Answer {
  return { status, headers, ...(body === undefined ? {} : { body }) };
}

export function answerJson(status: number, value: unknown, headers: Answer['headers'] = {}): Answer {
  return answer(status, { 'content-type': 'application/json', ...headers }, Buffer.from(JSON.stringify(value)));
}

/** distribution-spec, Error Codes. */
export function answerError(
  status: number,
  code: string,
  message: string,
  detail: unknown = null,
  headers: Answer['headers'] = {},
): Answer {
  return answerJson(status, { errors: [{ code, message, detail }] }, headers);
}

const CHUNK_BYTES = 65_536;

/** Sends an answer in steps, so that `record` tells how far it came. Resolves early if the client goes away. */
export async function deliver(
  said: Answer,
  response: ServerResponse,
  record: RequestRecord,
  signal: AbortSignal,
): Promise<void> {
  const { status, headers, body = Buffer.alloc(0) } = said;
  record.status = status;
  const bodyless = status === 204 || status === 304;
  response.writeHead(status, {
    ...(bodyless ? {} : { 'content-length': String(body.length) }),
    ...(headers as Record<string, string | string[]>),
  });
  if (record.method !== 'HEAD' && !bodyless)
    for (let at = 0; at < body.length; at += CHUNK_BYTES) {
      if (signal.aborted) return;
      const chunk = body.subarray(at, at + CHUNK_BYTES);
      await send(response, chunk, signal);
      record.bodyBytesSent += chunk.length;
    }
  response.end();
}

/** Writes and waits until the kernel took it. */
export async function send(response: ServerResponse, chunk: Buffer, signal: AbortSignal): Promise<void> {
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
