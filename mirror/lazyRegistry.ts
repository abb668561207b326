import type { Registry, RegistryEvent, Traffic } from '../registry/registry.ts';

export type OpenRegistry = (onEvent: (event: RegistryEvent) => void) => Promise<Registry>;

/** A registry that is opened at the first question, once: a run that has nothing to ask loads no network code. */
export class LazyRegistry {
  readonly #open: OpenRegistry;
  readonly #onEvent: (event: RegistryEvent) => void;
  #opening: Promise<Registry> | undefined;
  #opened: Registry | undefined;

  constructor(open: OpenRegistry, onEvent: (event: RegistryEvent) => void) {
    this.#open = open;
    this.#onEvent = onEvent;
  }

  async get(): Promise<Registry> {
    this.#opening ??= this.#open(this.#onEvent);
    this.#opened = await this.#opening;
    return this.#opened;
  }

  get traffic(): Traffic {
    const { requests = 0, bytesDownloaded = 0 } = this.#opened?.traffic ?? {};
    return { requests, bytesDownloaded };
  }

  async close(): Promise<void> {
    await this.#opened?.close();
  }
}
