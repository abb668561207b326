import { Readable } from 'node:stream';
import { shortLine } from '../../../base/printable.ts';
import {
  RegistryDigestMismatch,
  RegistryProtocol,
  type RegistryRefusal,
  RegistrySlow,
  RegistryTimeout,
  RegistryUnavailable,
} from '../../errors.ts';
import { replyFault } from '../faults/blame.ts';
import { transportError } from '../faults/transportErrors.ts';
import type { Reply } from '../http/reply.ts';
import { canDecode, contentEncoding, decodeBody, failedRequestOf } from '../transport/bodies.ts';

export interface BlobStreamOptions {
  /** How many bytes the body must have. */
  readonly expectedBytes: number;
  /**
   * True to take a body that is labelled as compressed, and has no length, as the blob itself: some storage labels a .tar.gz
   * as "gzip". Only the digest shows which it is.
   */
  readonly asStored: boolean;
  /** Called when such a body has ended or cannot be decoded: if it was not the blob, the other way should be tried. */
  readonly onDoubtfulEnd: () => void;
  readonly timeoutMs: number;
  /** Fewer bytes than this within `timeoutMs`, but not none, are RegistrySlow. 0: never. */
  readonly leastBytes: number;
  readonly signal: AbortSignal;
  /** Called with the number of bytes received, before any Content-Encoding is undone. */
  readonly onBytes: (count: number) => void;
  /** Called before RegistrySlow. */
  readonly onSlow: () => void;
}

/**
 * A blob's body. It ends only when all its bytes have arrived; otherwise it is destroyed with one of this room's refusals. A
 * reader that pauses longer than `timeoutMs` gives its slot at the host back.
 */
export class BlobStream extends Readable {
  readonly #reply: Reply;
  readonly #source: Readable;
  readonly #options: BlobStreamOptions;
  readonly #watch: NodeJS.Timeout;
  readonly #isDoubtful: boolean;
  #receivedBytes = 0;
  #windowBytes = 0;
  #paused = false;
  #fault: Error | undefined;
  #ended = false;

  constructor(reply: Reply, options: BlobStreamOptions) {
    super({ highWaterMark: 256 * 1024 });
    this.#reply = reply;
    this.#options = options;
    const length = reply.headers['content-length'];
    this.#isDoubtful = canDecode(reply) && length === undefined;
    const plain =
      // An encoding that cannot be undone here may be only a label: the blob's digest decides.
      !canDecode(reply) ||
      // Some storage labels a .tar.gz as "gzip" and sends the blob itself: then the length fits.
      (length === undefined ? options.asStored : Number(length) === options.expectedBytes);
    this.#source = plain ? reply.body : decodeBody(reply);
    if (this.#source !== reply.body) reply.body.on('data', (chunk: Buffer) => this.#count(chunk.length));
    this.#source.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#source.once('end', () => this.#finish());
    this.#source.on('error', error => this.#fail(error));
    this.#source.once('close', () => {
      if (!this.readableEnded && !this.destroyed) this.#finish();
    });
    this.#watch = setInterval(() => this.#checkPace(), options.timeoutMs);
  }

  /** The bytes received before a failure are delivered first, so that they need not be requested again. */
  override read(size?: number): Buffer | null {
    const chunk = super.read(size) as Buffer | null;
    if (this.#fault !== undefined && this.readableLength === 0 && chunk === null) this.destroy(this.#fault);
    return chunk;
  }

  override _read(): void {
    if (!this.#paused) return;
    this.#paused = false;
    // The reader paused, not the server: the current window counts as full.
    this.#windowBytes = Math.max(1, this.#options.leastBytes);
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearInterval(this.#watch);
    this.#source.on('error', () => {});
    this.#source.destroy();
    this.#reply.body.on('error', () => {}).destroy();
    this.#reply.release();
    callback(error === null ? null : this.#refusalOf(error));
  }

  #take(chunk: Buffer): void {
    if (this.destroyed || this.#ended || this.#fault !== undefined) return;
    if (this.#source === this.#reply.body) this.#count(chunk.length);
    // Bytes beyond the blob's end are ignored: the digest decides about those before it.
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
    if (this.#isDoubtful) this.#options.onDoubtfulEnd();
    this.push(null);
    // The rest of a body that is too long is not waited for.
    if (this.#receivedBytes > this.#options.expectedBytes) this.#source.destroy();
  }

  #fail(error: Error): void {
    if (this.#ended) return;
    clearInterval(this.#watch);
    this.#fault ??= error;
    this.#reply.release();
    if (this.readableLength === 0) this.destroy(error);
  }

  #count(bytes: number): void {
    this.#windowBytes += bytes;
    this.#reply.countBytes(bytes);
    this.#options.onBytes(bytes);
  }

  #finish(): void {
    if (this.destroyed || this.#fault !== undefined || this.#reply.body.errored) return;
    clearInterval(this.#watch);
    const { expectedBytes } = this.#options;
    if (this.#receivedBytes >= expectedBytes) {
      this.#end();
      return;
    }
    if (this.#isDoubtful) {
      this.#fail(this.#doubtfulError());
      return;
    }
    this.#fail(
      new RegistryUnavailable(
        ...replyFault(
          this.#reply,
          this.#receivedBytes === 0
            ? 'sent an empty reply instead of the blob'
            : 'ended the reply before the end of the blob',
          'Try again later; if it happens each time, a proxy on the way may cut large replies.',
          { expected: `${expectedBytes} bytes`, found: `${this.#receivedBytes} bytes`, temporary: true },
        ),
      ),
    );
  }

  #checkPace(): void {
    if (this.#paused) {
      this.#reply.release();
      return;
    }
    const received = this.#windowBytes;
    this.#windowBytes = 0;
    if (received >= Math.max(1, this.#options.leastBytes)) return;
    if (received > 0) this.#options.onSlow();
    const Kind = received > 0 ? RegistrySlow : RegistryTimeout;
    this.#fail(
      new Kind(
        ...replyFault(
          this.#reply,
          `sent ${received} bytes of the blob in ${this.#options.timeoutMs / 1000} s`,
          'Try again later, or allow more time with --timeout.',
          { temporary: true },
        ),
      ),
    );
  }

  /** The bytes so far may be of another form of the blob: none of them may be kept. */
  #doubtfulError(): RegistryDigestMismatch {
    this.#options.onDoubtfulEnd();
    const encoding = shortLine(contentEncoding(this.#reply) ?? '', 40);
    return new RegistryDigestMismatch(
      ...replyFault(
        this.#reply,
        `sent something other than the blob, labelled as ${encoding}`,
        'A proxy on the way compresses registry data, or the storage labels it wrongly: exclude the registry there.',
        { expected: `${this.#options.expectedBytes} bytes`, found: `${this.#receivedBytes} bytes` },
      ),
    );
  }

  #refusalOf(error: Error): Error | RegistryRefusal {
    const { signal, timeoutMs } = this.#options;
    if (signal.aborted) return signal.reason instanceof Error ? signal.reason : error;
    if (
      (error as NodeJS.ErrnoException).code?.startsWith('Z_') ||
      /^ERR_(?:_ERROR_|BROTLI)/.test((error as NodeJS.ErrnoException).code ?? '')
    ) {
      if (this.#isDoubtful) return this.#doubtfulError();
      return new RegistryUnavailable(
        ...replyFault(
          this.#reply,
          'sent a blob with a broken Content-Encoding',
          'A proxy on the way compresses registry data, which must not be changed: exclude the registry there.',
          { found: shortLine(contentEncoding(this.#reply) ?? '', 40), temporary: true, cause: error },
        ),
      );
    }
    return transportError(error, failedRequestOf(this.#reply, timeoutMs));
  }
}

/** Returns the error for a body whose length is not the descriptor's; none of its bytes may be kept. */
export function lengthError(reply: Reply, found: string, expectedBytes: number): RegistryProtocol {
  return new RegistryProtocol(
    ...replyFault(
      reply,
      'sends a blob with another length than its manifest says',
      'The registry or a proxy on the way is broken: try again, or use another network.',
      { status: reply.status, expected: `${expectedBytes} bytes`, found, temporary: true, retryLimit: 2 },
    ),
  );
}
