import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobBody, Engine } from '../engine.ts';
import {
  RegistryDns,
  RegistryProxy,
  RegistryRateLimited,
  RegistryRefusal,
  RegistryRefused,
  RegistrySlow,
  RegistryTimeout,
  RegistryTls,
  RegistryUnavailable,
} from '../errors.ts';
import { backoff } from '../fallback/retrying.ts';
import type { Descriptor } from '../image.ts';
import { formatReference, type Reference } from '../reference.ts';
import type { RegistryEvent } from '../registry.ts';

const BACKOFF = { longestMs: 15_000, leastShare: 0.25 };
const LAST_BYTE_GRACE_MS = 1000;
/** A connection that delivers this much of a blob, or a hundredth of it, counts as progress. */
const PROGRESS_BYTES = 64 * 1024;

export interface Transfer {
  readonly engine: Engine;
  /** Connections in a row without progress, after the first, before the transfer fails. */
  readonly retries: number;
  readonly onEvent?: ((event: RegistryEvent) => void) | undefined;
}

/** Receives the bytes. An error that it throws ends the transfer and is thrown as it is. */
export interface BlobSink {
  /** Bytes received so far, and so the offset of the next one. */
  readonly receivedBytes: number;
  write(chunk: Buffer): Promise<void> | undefined;
}

/**
 * Downloads the rest of a blob into a sink from one host, over as many connections as that takes: a body that breaks off is
 * requested again from the next byte. Progress (64 KiB, or a hundredth of the blob) starts the count of retries again, because
 * on a bad line every connection delivers a little; a byte per connection is not progress, or the transfer might never end.
 * If a registry never sends the rest of a blob, all of it is requested once. The bytes are not verified here.
 * @throws this room's refusals, the sink's errors, or the signal's reason
 */
export async function transferBlob(
  transfer: Transfer,
  at: Reference,
  descriptor: Descriptor,
  sink: BlobSink,
  signal: AbortSignal,
  retries = transfer.retries,
): Promise<void> {
  const most = Math.min(retries, transfer.retries);
  const subject = formatReference(at);
  const progressBytes = Math.min(PROGRESS_BYTES, descriptor.size / 100);
  /** Connections since the last progress. */
  let attempt = 0;
  let wholeBytes: number | undefined;
  /** The error of the request for the rest: then all of the blob is requested once, and the bytes that are here are skipped. */
  let whole: { readonly why: unknown } | undefined;
  while (sink.receivedBytes < descriptor.size) {
    const before = sink.receivedBytes;
    let body: BlobBody;
    try {
      // Errors of this call are final: the engine has done its retries.
      const [offset, tries] = whole === undefined ? [before, most] : [0, 0];
      body = await transfer.engine.fetchBlob(at, descriptor, offset, signal, tries);
    } catch (error) {
      if (whole !== undefined) throw whole.why;
      // If a body ended properly at this byte, the registry has no more.
      if (before === 0 || before === wholeBytes || !mayRefuseRanges(error)) throw error;
      whole = { why: error };
      continue;
    }
    const broken = await pour(body, sink, descriptor, signal);
    if (sink.receivedBytes >= descriptor.size) return;
    if (broken instanceof RegistryRefusal && !broken.temporary) throw broken;
    if (broken instanceof RegistrySlow) {
      // The engine asks for a faster connection once per blob: this does not count as a failure.
      transfer.onEvent?.({ type: 'retry', subject, attempt: Math.max(1, attempt), delayMs: 0, reason: broken.message });
      continue;
    }
    if (broken === undefined) {
      // If a body ends properly at the same byte twice, the registry has no more.
      if (wholeBytes === sink.receivedBytes) throw tooShort(subject, descriptor, sink.receivedBytes);
      wholeBytes = sink.receivedBytes;
    }
    const isProgress = sink.receivedBytes > before && sink.receivedBytes - before >= progressBytes;
    attempt = isProgress ? 1 : attempt + 1;
    if (isProgress) whole = undefined;
    const refusal = interrupted(subject, descriptor, sink.receivedBytes, broken);
    const limit = Math.min(most, refusal.retryLimit ?? most);
    if (attempt > limit) {
      if (whole !== undefined || before === 0) throw whole?.why ?? refusal;
      whole = { why: refusal };
    }
    const delayMs = Math.max(refusal.retryAfterMs ?? 0, backoff(Math.min(attempt, limit), undefined, BACKOFF));
    transfer.onEvent?.({ type: 'retry', subject, attempt, delayMs, reason: refusal.message });
    await sleep(delayMs, undefined, { signal });
  }
}

/** Returns false for an error that a request without a Range would meet, too. */
function mayRefuseRanges(error: unknown): boolean {
  if (!(error instanceof RegistryRefusal)) return false;
  return ![RegistryDns, RegistryTls, RegistryRefused, RegistryProxy, RegistryTimeout, RegistryRateLimited].some(
    Kind => error instanceof Kind,
  );
}

/** Reads a body into the sink; returns the error that broke it, or undefined if it ended properly. @throws only the sink's errors and the signal's reason */
async function pour(
  { offset, body }: BlobBody,
  sink: BlobSink,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<unknown> {
  // A registry that ignores Range starts at byte 0: the bytes that are here are skipped.
  let skipBytes = sink.receivedBytes - offset;
  const onAbort = () => body.destroy(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  let timer: NodeJS.Timeout | undefined;
  const chunks = body[Symbol.asyncIterator]();
  try {
    if (skipBytes < 0)
      return new RegistryUnavailable(`The reply begins at byte ${offset}, not ${sink.receivedBytes}`, {
        temporary: true,
        hint: 'A proxy on the way may cache wrong parts of replies.',
      });
    for (;;) {
      let next: IteratorResult<Buffer>;
      try {
        signal.throwIfAborted();
        next = await chunks.next();
      } catch (error) {
        signal.throwIfAborted();
        return error;
      }
      if (next.done === true) return undefined;
      let chunk = next.value;
      if (skipBytes > 0) {
        const skipped = Math.min(skipBytes, chunk.length);
        skipBytes -= skipped;
        chunk = chunk.subarray(skipped);
      }
      if (chunk.length > 0) await sink.write(chunk);
      if (sink.receivedBytes > descriptor.size) return undefined;
      // A body that is read to its end frees its connection for the next request; one that never ends is not waited for.
      if (sink.receivedBytes === descriptor.size) timer ??= setTimeout(() => body.destroy(), LAST_BYTE_GRACE_MS);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    body.on('error', () => {}); // later errors have no consequence
    body.destroy();
  }
}

function interrupted(subject: string, descriptor: Descriptor, received: number, cause: unknown): RegistryRefusal {
  if (cause instanceof RegistryRefusal) return cause;
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  return new RegistryUnavailable(`A blob of ${subject} broke off after ${received} of ${descriptor.size} bytes${why}`, {
    subject: `${subject}, blob ${descriptor.digest}`,
    expected: `${descriptor.size} bytes`,
    found: `${received} bytes`,
    temporary: true,
    hint: 'The connection or the registry is unstable. Run it again: what has arrived is kept in the cache folder if there is one.',
    ...(cause === undefined ? {} : { cause }),
  });
}

function tooShort(subject: string, descriptor: Descriptor, received: number): RegistryRefusal {
  return new RegistryUnavailable(
    `The registry has only ${received} of ${descriptor.size} bytes of a blob of ${subject}`,
    {
      subject: `${subject}, blob ${descriptor.digest}`,
      expected: `${descriptor.size} bytes`,
      found: `${received} bytes`,
      hint: "Push the image again, or check whether a proxy on the way answers in the registry's place.",
    },
  );
}
