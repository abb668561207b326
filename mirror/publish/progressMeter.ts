import type { Descriptor } from '../../registry/image.ts';
import type { RegistryEvent } from '../../registry/registry.ts';
import type { SyncListener } from '../events.ts';

/** Turns a registry's news of blobs into news of versions; a blob that several versions share counts for each of them. */
export class ProgressMeter {
  readonly #listener: SyncListener;
  readonly #versions = new Map<string, { readonly received: Map<string, number>; readonly sizeBytes: number }>();
  readonly #keysOf = new Map<string, string[]>();

  constructor(listener: SyncListener) {
    this.#listener = listener;
  }

  start(key: string, layers: readonly Descriptor[]): void {
    const sizeBytes = layers.reduce((sum, layer) => sum + layer.size, 0);
    this.#versions.set(key, { received: new Map(), sizeBytes });
    for (const { digest } of layers) this.#keysOf.set(digest, [...(this.#keysOf.get(digest) ?? []), key]);
    this.#listener({ type: 'started', key, sizeBytes });
  }

  readonly hear = (event: RegistryEvent): void => {
    if (event.type === 'bytes') this.#advance(event.digest, event.receivedBytes);
    else this.#listener(event);
  };

  #advance(digest: string, received: number): void {
    for (const key of this.#keysOf.get(digest) ?? []) {
      const version = this.#versions.get(key);
      if (version === undefined) continue;
      version.received.set(digest, received);
      const receivedBytes = [...version.received.values()].reduce((sum, bytes) => sum + bytes, 0);
      this.#listener({ type: 'progress', key, receivedBytes, sizeBytes: version.sizeBytes });
    }
  }

  /** Forgets a version, however it ended. */
  end(key: string): void {
    this.#versions.delete(key);
  }
}
