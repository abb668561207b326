import type { FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TransferQueue } from '../concurrency/transferQueue.ts';
import { RegistryDigestMismatch } from '../errors.ts';
import type { Places } from '../fallback/mirrors.ts';
import type { Descriptor } from '../image.ts';
import { type Digest, formatReference, type Reference } from '../reference.ts';
import { BlobVerifier } from './blobVerifier.ts';
import type { CacheFolder } from './cacheFolder.ts';
import { DiskFault, onDisk } from './diskFault.ts';
import { PartialFile } from './partialFile.ts';
import { FileBlob, MemoryBlob, type StoredBlob } from './storedBlob.ts';
import { type BlobSink, type Transfer, transferBlob } from './transferBlob.ts';

/** Blobs up to this size are handed on from memory. */
export const MEMORY_BYTES = 1024 * 1024;
const READ_BYTES = 1024 * 1024;
const REPORT_BYTES = 128 * 1024;
/** Wrong bytes are asked for again so often at most, within the retries; once in any case. */
const MOST_REFETCHES = 3;
const REFETCH_DELAY_MS = 250;

export interface BlobSource {
  readonly places: Places;
  readonly queue: TransferQueue;
  readonly transfer: Transfer;
  /** Digests whose file in the folder this process has hashed already. */
  readonly verified: Set<Digest>;
}

/**
 * Brings a blob here and verifies it before anybody reads from it: from the cache, from a part that was left there, from
 * the network. Bytes that turn out wrong are thrown away and fetched anew from the first one on, since the part on disk may
 * have been the culprit, or one answer of many.
 * @throws RegistryDigestMismatch if they are wrong again; DiskFault if the folder cannot hold it
 */
export async function obtainBlob(
  source: BlobSource,
  reference: Reference,
  descriptor: Descriptor,
  folder: CacheFolder,
  signal: AbortSignal,
): Promise<StoredBlob> {
  const cached = await fromCache(source, descriptor, folder, signal);
  if (cached !== undefined) return cached;
  const release = await source.queue.acquire(descriptor.size, signal);
  const partial = new PartialFile(folder, descriptor.digest);
  const receiver = new Receiver(source.transfer, reference, descriptor, partial);
  try {
    await receive(source, reference, descriptor, receiver, partial, signal);
    const file = await partial.commit();
    source.verified.add(descriptor.digest);
    const { chunks } = receiver;
    if (chunks === undefined) return new FileBlob(file, descriptor.size);
    await onDisk(() => file.close());
    return new MemoryBlob(chunks);
  } catch (error) {
    if (error instanceof DiskFault) {
      await partial.discard();
      // It is here and it is right; that it could not be kept harms nobody now.
      if (receiver.complete) return new MemoryBlob(receiver.chunks ?? []);
    } else if (error instanceof RegistryDigestMismatch) await partial.discard();
    else await partial.keep();
    throw error;
  } finally {
    release();
  }
}

/** The same without any disk, for a blob that fits into memory. */
export async function obtainInMemory(
  source: BlobSource,
  reference: Reference,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<StoredBlob> {
  const release = await source.queue.acquire(descriptor.size, signal);
  try {
    const receiver = new Receiver(source.transfer, reference, descriptor, undefined);
    await receive(source, reference, descriptor, receiver, undefined, signal);
    return new MemoryBlob(receiver.chunks ?? []);
  } finally {
    release();
  }
}

async function receive(
  { places, transfer }: BlobSource,
  reference: Reference,
  descriptor: Descriptor,
  receiver: Receiver,
  partial: PartialFile | undefined,
  signal: AbortSignal,
): Promise<void> {
  try {
    if (partial !== undefined && (await partial.adopt()) > 0)
      for await (const chunk of partial.readBack()) {
        signal.throwIfAborted();
        receiver.recall(chunk);
      }
    if (receiver.receivedBytes < descriptor.size)
      await places.ask(reference, signal, (at, retries) =>
        transferBlob(transfer, at, descriptor, receiver, signal, retries),
      );
    receiver.verify();
  } catch (error) {
    if (!(error instanceof RegistryDigestMismatch)) throw error;
    // From one place alone, so that a mirror with wrong bytes is passed over like one without the blob.
    await places.ask(reference, signal, async (at, retries) => {
      const most = Math.max(1, Math.min(MOST_REFETCHES, retries ?? transfer.retries, transfer.retries));
      for (let attempt = 1; ; attempt += 1) {
        await partial?.discard();
        receiver.reset();
        await transferBlob(transfer, at, descriptor, receiver, signal, retries);
        try {
          return receiver.verify();
        } catch (wrong) {
          if (!(wrong instanceof RegistryDigestMismatch) || attempt >= most) throw wrong;
          const delayMs = Math.round(REFETCH_DELAY_MS * 2 ** (attempt - 1) * (0.5 + 0.5 * Math.random()));
          const subject = formatReference(at);
          transfer.onEvent?.({ type: 'retry', subject, attempt: attempt + 1, delayMs, reason: wrong.message });
          await sleep(delayMs, undefined, { signal });
        }
      }
    });
  }
}

/** A whole blob from the cache, hashed again unless this process has done so; undefined if it is not there or not right. */
async function fromCache(
  { verified }: BlobSource,
  descriptor: Descriptor,
  folder: CacheFolder,
  signal: AbortSignal,
): Promise<StoredBlob | undefined> {
  const { digest, size } = descriptor;
  const file = await folder.openBlob(digest);
  if (file === undefined) return undefined;
  let handedOn = false;
  try {
    const verifier = new BlobVerifier(descriptor, 'the cache folder');
    const chunks: Buffer[] = [];
    if (size <= MEMORY_BYTES || !verified.has(digest))
      for await (const chunk of readAll(file, size + 1, signal)) {
        verifier.update(chunk);
        if (size <= MEMORY_BYTES) chunks.push(chunk);
      }
    if (!verified.has(digest) || size <= MEMORY_BYTES) verifier.verify();
    verified.add(digest);
    const now = new Date();
    await onDisk(() => file.utimes(now, now)).catch(() => {}); // least recently used goes first; a read-only cache is fine
    if (size <= MEMORY_BYTES) return new MemoryBlob(chunks);
    handedOn = true;
    return new FileBlob(file, size);
  } catch (error) {
    if (!(error instanceof RegistryDigestMismatch)) throw error;
    verified.delete(digest);
    await folder.removeBlob(digest);
    return undefined;
  } finally {
    if (!handedOn) await onDisk(() => file.close());
  }
}

/** At most `limitBytes` of a file. */
async function* readAll(file: FileHandle, limitBytes: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (let position = 0; position < limitBytes; ) {
    signal.throwIfAborted();
    const length = Math.min(READ_BYTES, limitBytes - position);
    const { bytesRead, buffer } = await onDisk(() => file.read(Buffer.allocUnsafe(length), 0, length, position));
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Hashes what arrives, passes it to the part on disk, and keeps it where it is small. */
class Receiver implements BlobSink {
  readonly #transfer: Transfer;
  readonly #subject: string;
  readonly #descriptor: Descriptor;
  readonly #partial: PartialFile | undefined;
  #verifier: BlobVerifier;
  #chunks: Buffer[] | undefined;
  #reportedBytes = 0;
  #complete = false;

  constructor(transfer: Transfer, reference: Reference, descriptor: Descriptor, partial: PartialFile | undefined) {
    this.#transfer = transfer;
    this.#subject = formatReference(reference);
    this.#descriptor = descriptor;
    this.#partial = partial;
    this.#verifier = new BlobVerifier(descriptor, this.#subject);
    this.#chunks = descriptor.size <= MEMORY_BYTES ? [] : undefined;
  }

  get receivedBytes(): number {
    return this.#verifier.sizeBytes;
  }

  get chunks(): readonly Buffer[] | undefined {
    return this.#chunks;
  }

  /** True if all of it is in memory, and right. */
  get complete(): boolean {
    return this.#complete && this.#chunks !== undefined;
  }

  write(chunk: Buffer): Promise<void> | undefined {
    this.recall(chunk);
    return this.#partial?.append(chunk);
  }

  /** Takes a chunk that is on disk already. */
  recall(chunk: Buffer): void {
    this.#verifier.update(chunk);
    this.#chunks?.push(chunk);
    const { digest, size } = this.#descriptor;
    const receivedBytes = Math.min(this.receivedBytes, size);
    if (receivedBytes < size && receivedBytes - this.#reportedBytes < REPORT_BYTES) return;
    this.#reportedBytes = receivedBytes;
    this.#transfer.onEvent?.({ type: 'bytes', digest, receivedBytes, sizeBytes: size });
  }

  verify(): void {
    this.#verifier.verify();
    this.#complete = true;
  }

  reset(): void {
    this.#verifier = new BlobVerifier(this.#descriptor, this.#subject);
    if (this.#chunks !== undefined) this.#chunks = [];
    this.#reportedBytes = 0;
  }
}
