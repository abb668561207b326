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
import type { Descriptor } from '../image.ts';
import { formatReference, type Reference } from '../reference.ts';
import type { RegistryEvent } from '../registry.ts';

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 15_000;
const LAST_BYTE_GRACE_MS = 1000;
/** A connection that brings so much of a blob, or a hundredth of it, was worth its while. */
const PROGRESS_BYTES = 64 * 1024;

export interface Transfer {
  readonly engine: Engine;
  /** Further connections in a row that bring hardly a new byte, before it is given up. */
  readonly retries: number;
  readonly onEvent?: ((event: RegistryEvent) => void) | undefined;
}

/** Where the bytes go. An error that it throws ends the transfer at once and comes out as it is. */
export interface BlobSink {
  /** How many bytes it has; the next one to send. */
  readonly receivedBytes: number;
  write(chunk: Buffer): Promise<void> | undefined;
}

/**
 * Brings what a sink lacks of a blob over from one place, whatever number of connections that takes: a body that breaks is
 * asked for again from the byte where it broke. Progress (64 KiB, or a hundredth of the blob) starts the count of retries
 * anew, since on a bad line every connection carries a little; a byte each time is none, or it would never end. The bytes
 * are not verified here. Where a registry does not give the rest of a blob at all, all of it is asked for once more.
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
  /** Since something worth its while came last. */
  let attempt = 0;
  let wholeBytes: number | undefined;
  /** Why the rest cannot be had by itself: all of it is asked for then, once, and what is here already passed over. */
  let whole: { readonly why: unknown } | undefined;
  while (sink.receivedBytes < descriptor.size) {
    const before = sink.receivedBytes;
    let body: BlobBody;
    try {
      // Errors of this call are final: the engine has retried what is worth it.
      const [offset, tries] = whole === undefined ? [before, most] : [0, 0];
      body = await transfer.engine.fetchBlob(at, descriptor, offset, signal, tries);
    } catch (error) {
      if (whole !== undefined) throw whole.why;
      // Where a body ended in good order just here, it is all that the registry has.
      if (before === 0 || before === wholeBytes || !mayMindRange(error)) throw error;
      whole = { why: error };
      continue;
    }
    const broken = await pour(body, sink, descriptor, signal);
    if (sink.receivedBytes >= descriptor.size) return;
    if (broken instanceof RegistryRefusal && !broken.temporary) throw broken;
    if (broken instanceof RegistrySlow) {
      // Our own choice, which the engine makes once of a blob: no failure of theirs.
      transfer.onEvent?.({ type: 'retry', subject, attempt: Math.max(1, attempt), delayMs: 0, reason: broken.message });
      continue;
    }
    if (broken === undefined) {
      // A body that ends in good order at the same byte twice is all that the registry has.
      if (wholeBytes === sink.receivedBytes) throw tooShort(subject, descriptor, sink.receivedBytes);
      wholeBytes = sink.receivedBytes;
    }
    const isWorthIt = sink.receivedBytes > before && sink.receivedBytes - before >= progressBytes;
    attempt = isWorthIt ? 1 : attempt + 1;
    if (isWorthIt) whole = undefined;
    const refusal = interrupted(subject, descriptor, sink.receivedBytes, broken);
    const limit = Math.min(most, refusal.retryLimit ?? most);
    if (attempt > limit) {
      if (whole !== undefined || before === 0) throw whole?.why ?? refusal;
      whole = { why: refusal };
    }
    const delayMs = delay(Math.min(attempt, limit), refusal.retryAfterMs);
    transfer.onEvent?.({ type: 'retry', subject, attempt, delayMs, reason: refusal.message });
    await sleep(delayMs, undefined, { signal });
  }
}

/** False where it is the host that cannot be spoken to, with a Range or without. */
function mayMindRange(error: unknown): boolean {
  if (!(error instanceof RegistryRefusal)) return false;
  return ![RegistryDns, RegistryTls, RegistryRefused, RegistryProxy, RegistryTimeout, RegistryRateLimited].some(
    Kind => error instanceof Kind,
  );
}

/** Resolves with what broke the body, or undefined if it ended in good order. Only the sink's errors are thrown. */
async function pour(
  { offset, body }: BlobBody,
  sink: BlobSink,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<unknown> {
  // A registry that ignores Range starts at 0 again: what is here already is passed over, the hash tells in the end.
  let skipBytes = sink.receivedBytes - offset;
  const onAbort = () => body.destroy(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  let timer: NodeJS.Timeout | undefined;
  const chunks = body[Symbol.asyncIterator]();
  try {
    if (skipBytes < 0)
      return new RegistryUnavailable(`The answer begins at byte ${offset}, not ${sink.receivedBytes}`, {
        temporary: true,
        hint: 'A proxy in between may keep wrong parts of answers.',
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
      // A body read to its end leaves its connection to the next request; one that never ends is not waited for.
      if (sink.receivedBytes === descriptor.size) timer ??= setTimeout(() => body.destroy(), LAST_BYTE_GRACE_MS);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    body.on('error', () => {}); // whatever it still says after this has no consequence
    body.destroy();
  }
}

/** Full jitter over an exponential, so that eight transfers that broke at once do not come back at once. */
function delay(attempt: number, retryAfterMs: number | undefined): number {
  const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1));
  return Math.round(Math.max(retryAfterMs ?? 0, ceiling * (0.25 + 0.75 * Math.random())));
}

function interrupted(subject: string, descriptor: Descriptor, received: number, cause: unknown): RegistryRefusal {
  if (cause instanceof RegistryRefusal) return cause;
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  return new RegistryUnavailable(`A blob of ${subject} broke off after ${received} of ${descriptor.size} bytes${why}`, {
    subject: `${subject}, blob ${descriptor.digest}`,
    expected: `${descriptor.size} bytes`,
    found: `${received} bytes`,
    temporary: true,
    hint: 'The line or the registry is unstable. Run it again: what has arrived is kept in the cache folder if there is one.',
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
      hint: 'Push the image again, or check whether a proxy in between answers in place of the registry.',
    },
  );
}
