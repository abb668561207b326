import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { algorithmOf } from '../../base/digest.ts';
import type { Layout } from '../../layout/layout.ts';
import { RegistryDigestMismatch } from '../errors.ts';
import type { Descriptor } from '../image.ts';
import { type Digest, formatReference, type Reference } from '../reference.ts';

/** Blobs of at most so many bytes are read once, and handed on from memory. */
const MEMORY_BYTES = 1024 * 1024;

/**
 * The blobs of a layout, read where they are: no copy is made. A large one is hashed before it is read for the first time, and
 * again by each reader: a disk may return other bytes the second time.
 */
export class LayoutBlobs {
  readonly #layout: Layout;
  readonly #verified = new Map<Digest, Promise<void>>();

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** @throws RegistryDigestMismatch for another size than the descriptor's; LayoutBlobMissing, LayoutBlobDamaged, LayoutPartWrong */
  async open(reference: Reference, { digest, size }: Descriptor, signal?: AbortSignal): Promise<Readable> {
    signal?.throwIfAborted();
    const found = await this.#layout.sizeOf(digest);
    if (found !== undefined && found !== size) {
      // A blob that was cut off is a fault of the bundle; one that matches its digest has a manifest with a wrong size.
      await this.#verify(digest, signal);
      throw new RegistryDigestMismatch(`A blob of ${formatReference(reference)} does not match its manifest`, {
        subject: `${formatReference(reference)}, blob ${digest}`,
        expected: `${size} bytes`,
        found: `${found} bytes in ${this.#layout.path}`,
        hint: 'Make the bundle again, from an image that is pushed again.',
      });
    }
    if (size <= MEMORY_BYTES)
      return Readable.from([await this.#layout.read(digest, MEMORY_BYTES)], { objectMode: false });
    const verified = this.#verified.get(digest) ?? this.#verify(digest, signal);
    this.#verified.set(digest, verified);
    await verified.catch((error: unknown) => {
      this.#verified.delete(digest);
      throw error;
    });
    return Readable.from(this.#hashed(digest), { objectMode: false });
  }

  async #verify(digest: Digest, signal: AbortSignal | undefined): Promise<void> {
    for await (const _ of this.#hashed(digest)) signal?.throwIfAborted();
  }

  /** Throws at the end, in place of ending, if the bytes are not those of the digest. */
  async *#hashed(digest: Digest): AsyncGenerator<Buffer> {
    const hash = createHash(algorithmOf(digest));
    for await (const chunk of await this.#layout.open(digest)) {
      hash.update(chunk as Buffer);
      yield chunk as Buffer;
    }
    if (`${algorithmOf(digest)}:${hash.digest('hex')}` !== digest) throw await this.#layout.blame(digest);
  }

  async close(): Promise<void> {}
}
