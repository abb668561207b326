import { createHash, type Hash } from 'node:crypto';
import { algorithmOf } from '../../base/digest.ts';
import { RegistryDigestMismatch } from '../errors.ts';
import type { Descriptor } from '../image.ts';

/** Hashes a blob's bytes as they arrive; `verify`, to be called once, compares digest and size with the descriptor. */
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
    return new RegistryDigestMismatch(`A blob of ${this.#subject} does not match its manifest`, {
      subject: `${this.#subject}, blob ${this.#descriptor.digest}`,
      expected,
      found,
      hint: 'Something between this machine and the registry changes the bytes, or the registry is damaged. Try again, push the image again, or use another mirror.',
    });
  }
}
