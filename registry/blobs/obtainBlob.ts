import type { FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TransferQueue } from '../concurrency/transferQueue.ts';
import { RegistryDigestMismatch } from '../errors.ts';
import type { Mirrors } from '../fallback/mirrors.ts';
import { backoff } from '../fallback/retrying.ts';
import type { Descriptor } from '../image.ts';
import { type Digest, formatReference, type Reference } from '../reference.ts';
import type { CacheProof } from '../registry.ts';
import { BlobVerifier } from './blobVerifier.ts';
import { CacheUnusable } from './cache.ts';
import type { CacheFolder } from './cacheFolder.ts';
import { DiskFault, onDisk } from './diskFault.ts';
import { PartialFile } from './partialFile.ts';
import { FileBlob, MemoryBlob, type StoredBlob } from './storedBlob.ts';
import { type BlobSink, type Transfer, transferBlob } from './transferBlob.ts';

/** Blobs up to this size are kept in memory until they are read. */
const MEMORY_BYTES = 1024 * 1024;
/** The largest blob that is downloaded into memory where no folder can be written. */
const LARGEST_IN_MEMORY_BYTES = 128 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;
const REPORT_BYTES = 128 * 1024;
/** A blob with wrong bytes is downloaded again at most this often, and not more often than there are retries, but once in any case. */
const MOST_REFETCHES = 3;

export interface BlobSource {
  readonly mirrors: Mirrors;
  readonly queue: TransferQueue;
  readonly transfer: Transfer;
  /** Digests whose file in the folder was hashed by this process. */
  readonly verified: Set<Digest>;
}

/**
 * Obtains a blob and verifies it before it is read: from the cache, from a part that an earlier run left, or from the network.
 * A blob with wrong bytes is discarded and downloaded again from its first byte, because the part on disk or one of several
 * replies may have been wrong.
 * @throws RegistryDigestMismatch if the bytes are wrong again; DiskFault if the folder cannot hold the blob; the refusals of
 * the hosts; the signal's reason
 */
export async function obtainBlob(
  source: BlobSource,
  reference: Reference,
  descriptor: Descriptor,
  folder: CacheFolder,
  signal: AbortSignal,
  proof: CacheProof,
): Promise<StoredBlob> {
  const cached = await fromCache(source, descriptor, folder, signal, proof);
  if (cached !== undefined) return cached;
  const release = await source.queue.acquire(descriptor.size, signal);
  const partial = new PartialFile(folder, descriptor.digest);
  const receiver = new Receiver(source.transfer, reference, descriptor, partial);
  try {
    await receive(source, reference, descriptor, receiver, partial, signal);
    const file = await partial.commit();
    source.verified.add(descriptor.digest);
    const { chunks } = receiver;
    if (chunks === undefined) return new FileBlob(file, descriptor, () => forget(source, descriptor, folder));
    await onDisk(() => file.close());
    return new MemoryBlob(chunks);
  } catch (error) {
    if (error instanceof DiskFault) {
      await partial.discard();
      // All bytes are in memory and verified: the folder is not needed.
      if (receiver.complete) return new MemoryBlob(receiver.chunks ?? []);
    } else if (error instanceof RegistryDigestMismatch) await partial.discard();
    else await partial.keep();
    throw error;
  } finally {
    release();
  }
}

/** The same without a folder. @throws CacheUnusable beyond 128 MiB; otherwise as obtainBlob */
export async function obtainInMemory(
  source: BlobSource,
  reference: Reference,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<StoredBlob> {
  if (descriptor.size > LARGEST_IN_MEMORY_BYTES) throw noFolderError(reference, descriptor);
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
  { mirrors, transfer }: BlobSource,
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
      await mirrors.first(reference, signal, (at, retries) =>
        transferBlob(transfer, at, descriptor, receiver, signal, retries),
      );
    receiver.verify();
  } catch (error) {
    if (!(error instanceof RegistryDigestMismatch)) throw error;
    // From one host at a time, so that a mirror with wrong bytes is skipped like one without the blob.
    await mirrors.first(reference, signal, async (at, retries) => {
      const most = Math.max(1, Math.min(MOST_REFETCHES, retries ?? transfer.retries, transfer.retries));
      for (let attempt = 1; ; attempt += 1) {
        await partial?.discard();
        receiver.reset();
        await transferBlob(transfer, at, descriptor, receiver, signal, retries);
        try {
          return receiver.verify();
        } catch (wrong) {
          if (!(wrong instanceof RegistryDigestMismatch) || attempt >= most) throw wrong;
          const delayMs = backoff(attempt);
          const subject = formatReference(at);
          transfer.onEvent?.({ type: 'retry', subject, attempt: attempt + 1, delayMs, reason: wrong.message });
          await sleep(delayMs, undefined, { signal });
        }
      }
    });
  }
}

/**
 * Returns a whole blob from the cache, hashed unless this process has hashed it before, or its reader will do it; undefined if it
 * is missing or wrong.
 */
async function fromCache(
  { verified }: BlobSource,
  descriptor: Descriptor,
  folder: CacheFolder,
  signal: AbortSignal,
  proof: CacheProof,
): Promise<StoredBlob | undefined> {
  const { digest, size } = descriptor;
  const file = await folder.openBlob(digest);
  if (file === undefined) return undefined;
  const fitsMemory = size <= MEMORY_BYTES;
  let handedOn = false;
  try {
    const verifier = new BlobVerifier(descriptor, 'the cache folder');
    const chunks: Buffer[] = [];
    if (fitsMemory || (proof === 'first' && !verified.has(digest))) {
      for await (const chunk of readAll(file, size + 1, signal)) {
        verifier.update(chunk);
        if (fitsMemory) chunks.push(Buffer.from(chunk));
      }
      verifier.verify();
      verified.add(digest);
    }
    const now = new Date();
    await onDisk(() => file.utimes(now, now)).catch(() => {}); // eviction goes by this time; a read-only cache is fine
    if (fitsMemory) return new MemoryBlob(chunks);
    handedOn = true;
    return new FileBlob(file, descriptor, () => forget({ verified }, descriptor, folder));
  } catch (error) {
    if (!(error instanceof RegistryDigestMismatch)) throw error;
    verified.delete(digest);
    await folder.removeBlob(digest);
    return undefined;
  } finally {
    if (!handedOn) await onDisk(() => file.close());
  }
}

/** Removes a blob from the cache that turned out to be wrong. */
async function forget(
  { verified }: Pick<BlobSource, 'verified'>,
  { digest }: Descriptor,
  folder: CacheFolder,
): Promise<void> {
  verified.delete(digest);
  await folder.removeBlob(digest);
}

/** Buffers of `readAll` that are free: a new one for each blob costs more garbage collection than the hashing takes. */
const spareBuffers: Buffer[] = [];
const MOST_SPARE_BUFFERS = 8;

/** Yields at most `limitBytes` of a file. A chunk is valid until the next one is requested. */
async function* readAll(file: FileHandle, limitBytes: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  const buffer = spareBuffers.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES);
  try {
    for (let position = 0; position < limitBytes; ) {
      signal.throwIfAborted();
      const length = Math.min(READ_BYTES, limitBytes - position);
      const { bytesRead } = await onDisk(() => file.read(buffer, 0, length, position));
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    if (spareBuffers.length < MOST_SPARE_BUFFERS) spareBuffers.push(buffer);
  }
}

function noFolderError(reference: Reference, { digest, size }: Descriptor): CacheUnusable {
  const subject = `${formatReference(reference)}, blob ${digest}`;
  return new CacheUnusable(
    `No folder can hold a blob of ${size} bytes: neither the cache folder nor a temporary one works`,
    {
      subject,
      expected: `a writable folder, or a blob of at most ${LARGEST_IN_MEMORY_BYTES} bytes`,
      found: `${size} bytes`,
      hint: 'Name a writable folder with --cache-dir, or set TMPDIR to one.',
    },
  );
}

/** Hashes the bytes that arrive, writes them to the part on disk, and keeps small blobs in memory. */
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
    this.#chunks = descriptor.size <= MEMORY_BYTES || partial === undefined ? [] : undefined;
  }

  get receivedBytes(): number {
    return this.#verifier.sizeBytes;
  }

  get chunks(): readonly Buffer[] | undefined {
    return this.#chunks;
  }

  /** True if all bytes are in memory and verified. */
  get complete(): boolean {
    return this.#complete && this.#chunks !== undefined;
  }

  write(chunk: Buffer): Promise<void> | undefined {
    this.recall(chunk);
    return this.#partial?.append(chunk);
  }

  /** Takes a chunk that is already on disk. */
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
