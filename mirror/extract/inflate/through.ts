import type { Transform } from 'node:stream';
import { asError } from '../../../base/refusal.ts';

/**
 * Yields what an engine makes of the stored bytes. An error of the source comes before one of the engine, and the source is read to
 * its end in either case. Not `pipeline`: it would wait forever for an engine that has stopped at padding after the compressed data.
 */
export async function* through(engine: Transform, stored: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const feed = new Feed(engine, stored);
  try {
    for await (const chunk of engine) yield chunk as Buffer;
    await feed.done;
  } catch (error) {
    await feed.done; // throws the error of the source, if there is one
    throw error;
  } finally {
    feed.stop();
  }
}

class Feed {
  /** Resolves or rejects at the end of the source, even if the engine fails before. */
  readonly done: Promise<void>;
  readonly #engine: Transform;
  #over = false;
  #wake: () => void = () => {};

  constructor(engine: Transform, stored: AsyncIterable<Buffer>) {
    this.#engine = engine;
    const wake = () => this.#wake();
    const over = () => {
      this.#over = true;
      this.#wake();
    };
    engine.on('drain', wake).on('end', over).on('error', over).on('close', over);
    this.done = this.#run(stored);
    this.done.catch(() => {}); // through() awaits it; the error of an abandoned layer is not needed
  }

  stop(): void {
    this.#over = true;
    this.#engine.destroy();
    this.#wake();
  }

  async #run(stored: AsyncIterable<Buffer>): Promise<void> {
    try {
      for await (const chunk of stored) {
        if (this.#over || this.#engine.write(chunk)) continue;
        await new Promise<void>(resolve => {
          this.#wake = resolve;
        });
      }
      if (!this.#over) this.#engine.end();
    } catch (error) {
      this.#engine.destroy(asError(error));
      throw error;
    }
  }
}
