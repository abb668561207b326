import { Readable } from 'node:stream';
import {
  RegistryProtocol,
  type RegistryRefusal,
  RegistrySlow,
  RegistryTimeout,
  RegistryUnavailable,
} from '../../errors.ts';
import { printable } from '../../hosts/redact.ts';
import { refuseTransport } from '../faults/transportFaults.ts';
import { attemptOf, canDecode, contentEncoding, decodeBody, requestOf } from '../transport/bodies.ts';
import type { HttpAnswer } from '../transport/transport.ts';

export interface BlobStreamOptions {
  /** How many bytes must still come. */
  readonly expectedBytes: number;
  readonly timeoutMs: number;
  /** Less than this within a whole timeout, though something came, is RegistrySlow. 0: never. */
  readonly leastBytes: number;
  readonly signal: AbortSignal;
  /** Told of bytes as they came over the wire. */
  readonly onBytes: (count: number) => void;
  /** Told before RegistrySlow. */
  readonly onSlow: () => void;
}

/**
 * A blob's body that ends only if all of it came; anything else is one of this room's refusals. A reader that pauses for
 * long gives its place at the host to others.
 */
export class BlobStream extends Readable {
  readonly #answer: HttpAnswer;
  readonly #source: Readable;
  readonly #options: BlobStreamOptions;
  readonly #watch: NodeJS.Timeout;
  #receivedBytes = 0;
  #windowBytes = 0;
  #paused = false;
  #fault: Error | undefined;
  #ended = false;

  constructor(answer: HttpAnswer, options: BlobStreamOptions) {
    super({ highWaterMark: 256 * 1024 });
    this.#answer = answer;
    this.#options = options;
    const plain =
      // One that nobody here can undo may be a label only: the blob's digest tells.
      !canDecode(answer) ||
      // Storage that labels a .tar.gz as "gzip" sends the blob itself: its length tells.
      Number(answer.headers['content-length'] ?? -1) === options.expectedBytes;
    this.#source = plain ? answer.body : decodeBody(answer);
    if (this.#source !== answer.body) answer.body.on('data', (chunk: Buffer) => this.#count(chunk.length));
    this.#source.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#source.once('end', () => this.#finish());
    this.#source.on('error', error => this.#break(error));
    this.#source.once('close', () => {
      if (!this.readableEnded && !this.destroyed) this.#finish();
    });
    this.#watch = setInterval(() => this.#checkPace(), options.timeoutMs);
  }

  /** What came before a break is handed on first: nobody need ask for those bytes again. */
  override read(size?: number): Buffer | null {
    const chunk = super.read(size) as Buffer | null;
    if (this.#fault !== undefined && this.readableLength === 0 && chunk === null) this.destroy(this.#fault);
    return chunk;
  }

  override _read(): void {
    if (!this.#paused) return;
    this.#paused = false;
    // The time of the pause was the reader's.
    this.#windowBytes = Math.max(1, this.#options.leastBytes);
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearInterval(this.#watch);
    this.#source.on('error', () => {});
    this.#source.destroy();
    this.#answer.body.on('error', () => {}).destroy();
    this.#answer.leave();
    callback(error === null ? null : this.#name(error));
  }

  #take(chunk: Buffer): void {
    if (this.destroyed || this.#ended || this.#fault !== undefined) return;
    if (this.#source === this.#answer.body) this.#count(chunk.length);
    // What follows the blob's end is nobody's: its digest tells whether what came before is right.
    const part = chunk.subarray(0, this.#options.expectedBytes - this.#receivedBytes);
    this.#receivedBytes += chunk.length;
    const goesOn = this.push(part);
    if (part.length < chunk.length) this.#end();
    if (goesOn || this.destroyed) return;
    this.#paused = true;
    this.#source.pause();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#watch);
    this.push(null);
    // A body that goes on and on is not waited for; one that has ended does not mind.
    if (this.#receivedBytes > this.#options.expectedBytes) this.#source.destroy();
  }

  #break(error: Error): void {
    if (this.#ended) return;
    clearInterval(this.#watch);
    this.#fault ??= error;
    this.#answer.leave();
    if (this.readableLength === 0) this.destroy(error);
  }

  #count(bytes: number): void {
    this.#windowBytes += bytes;
    this.#options.onBytes(bytes);
  }

  #finish(): void {
    if (this.destroyed || this.#fault !== undefined || this.#answer.body.errored) return;
    clearInterval(this.#watch);
    const { expectedBytes } = this.#options;
    if (this.#receivedBytes >= expectedBytes) {
      this.#end();
      return;
    }
    const { host } = this.#answer.request.url;
    this.#break(
      new RegistryUnavailable(`${host} ended the blob before its end`, {
        subject: host,
        request: requestOf(this.#answer),
        expected: `${expectedBytes} bytes`,
        found: `${this.#receivedBytes} bytes`,
        temporary: true,
        hint: 'Try again later; if it happens each time, a proxy on the way may cut large answers.',
      }),
    );
  }

  #checkPace(): void {
    if (this.#paused) {
      this.#answer.leave();
      return;
    }
    const received = this.#windowBytes;
    this.#windowBytes = 0;
    if (received >= Math.max(1, this.#options.leastBytes)) return;
    const { host } = this.#answer.request.url;
    if (received > 0) this.#options.onSlow();
    const Kind = received > 0 ? RegistrySlow : RegistryTimeout;
    this.#break(
      new Kind(`${host} sent ${received} bytes of the blob in ${this.#options.timeoutMs / 1000} s`, {
        subject: host,
        request: requestOf(this.#answer),
        temporary: true,
        hint: 'Try again later, or allow more time with --timeout.',
      }),
    );
  }

  #name(error: Error): Error | RegistryRefusal {
    const { signal, timeoutMs } = this.#options;
    if (signal.aborted) return signal.reason instanceof Error ? signal.reason : error;
    if (
      (error as NodeJS.ErrnoException).code?.startsWith('Z_') ||
      /^ERR_(?:_ERROR_)?BROTLI/.test((error as NodeJS.ErrnoException).code ?? '')
    )
      return new RegistryUnavailable(`The Content-Encoding of a blob from ${this.#answer.request.url.host} is broken`, {
        subject: this.#answer.request.url.host,
        request: requestOf(this.#answer),
        found: printable(contentEncoding(this.#answer) ?? '', 40),
        temporary: true,
        hint: 'A proxy on the way compresses what must not be changed: have the registry excluded there.',
        cause: error,
      });
    return refuseTransport(error, attemptOf(this.#answer, timeoutMs));
  }
}

/** A body that does not have the length that the descriptor says; what came of it may not be kept. */
export function refuseLength(answer: HttpAnswer, found: string, expectedBytes: number): RegistryProtocol {
  const { host } = answer.request.url;
  return new RegistryProtocol(`${host} sends a blob of another length than its manifest says`, {
    subject: host,
    status: answer.status,
    request: requestOf(answer),
    expected: `${expectedBytes} bytes`,
    found,
    temporary: true,
    retryLimit: 2,
    hint: 'The registry or a proxy on the way is damaged: try again, or another network.',
  });
}
