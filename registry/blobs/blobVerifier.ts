import { createHash, type Hash } from 'node:crypto';
import { RegistryDigestMismatch } from '../errors.ts';
import type { Descriptor } from '../image.ts';
import { algorithmOf } from '../images/digestOf.ts';

/** Hashes a blob's bytes as they come and says at the end, once, whether they are what the descriptor promises. */
export class BlobVerifier {
  readonly #descriptor: Descriptor;
  readonly #subject: string;
  readonly #hash: Hash;
  #sizeBytes = 0;

  constructor(descriptor: Descriptor, subject: string) {
    this.#descriptor = descriptor;
    this.#subject = subject;
    this.#hash = createHash(algorithmOf(descriptor.digest));
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  update(chunk: Buffer): void {
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes <= this.#descriptor.size) this.#hash.update(chunk);
  }

  /** @throws RegistryDigestMismatch */
  verify(): void {
    const { size, digest } = this.#descriptor;
    if (this.#sizeBytes > size) throw this.#mismatch(`${size} bytes`, `more than ${size} bytes`);
    if (this.#sizeBytes < size) throw this.#mismatch(`${size} bytes`, `${this.#sizeBytes} bytes`);
    const found = `${algorithmOf(digest)}:${this.#hash.digest('hex')}`;
    if (found !== digest) throw this.#mismatch(digest, found);
  }

  #mismatch(expected: string, found: string): RegistryDigestMismatch {
    return new RegistryDigestMismatch(`A blob of ${this.#subject} is not what its manifest promises`, {
      subject: `${this.#subject}, blob ${this.#descriptor.digest}`,
      expected,
      found,
      hint: 'Something between here and the registry changes the bytes, or the registry lost them. Push the image again, or ask the mirror for another place.',
    });
  }
}
