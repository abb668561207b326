import { addTo } from '../base/groups.ts';
import type { Descriptor } from '../registry/image.ts';
import type { Registry, RegistryEvent, Traffic } from '../registry/registry.ts';
import type { VersionId } from '../tree/names.ts';
import type { Outcome } from './report.ts';

/** Progress of a run; for people, never for decisions. A `key` is `NAME/VERSION`. */
export type SyncEvent =
  /** Another run holds the tree's writer lock; this one waits. */
  | { readonly type: 'waiting'; readonly message: string }
  | { readonly type: 'asking'; readonly versions: number }
  /** So many versions have been compared with what the registry has, or with what fixes their digest. */
  | { readonly type: 'answered'; readonly done: number; readonly versions: number }
  /** The versions are decided: so many will be fetched, of so many bytes at most. */
  | {
      readonly type: 'planned';
      readonly fetch: number;
      readonly keep: number;
      readonly fail: number;
      readonly sizeBytes: number;
    }
  | { readonly type: 'started'; readonly key: string; readonly sizeBytes: number }
  | { readonly type: 'progress'; readonly key: string; readonly receivedBytes: number; readonly sizeBytes: number }
  | { readonly type: 'finished'; readonly outcome: Outcome }
  /** So many modules are about to be compressed. */
  | { readonly type: 'compressing'; readonly versions: number }
  /** These versions are about to be removed from the tree. */
  | { readonly type: 'pruning'; readonly extras: readonly VersionId[] }
  | Extract<RegistryEvent, { type: 'retry' | 'warning' }>;

export type SyncListener = (event: SyncEvent) => void;

export type OpenRegistry = (onEvent: (event: RegistryEvent) => void) => Promise<Registry>;

/** A registry that is opened once, at the first question: a run with no question loads no network code. */
export class LazyRegistry {
  readonly #open: OpenRegistry;
  readonly #onEvent: (event: RegistryEvent) => void;
  #opening: Promise<Registry> | undefined;
  #opened: Registry | undefined;

  constructor(open: OpenRegistry, onEvent: (event: RegistryEvent) => void = () => undefined) {
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

/** Turns a registry's events of blobs into events of versions. A blob that several versions share counts for each of them. */
class ProgressMeter {
  readonly #listener: SyncListener;
  readonly #versions = new Map<string, { readonly received: Map<string, number>; readonly sizeBytes: number }>();
  readonly #keysOf = new Map<string, string[]>();

  constructor(listener: SyncListener) {
    this.#listener = listener;
  }

  start(key: string, layers: readonly Descriptor[]): void {
    const sizeBytes = layers.reduce((sum, layer) => sum + layer.size, 0);
    this.#versions.set(key, { received: new Map(), sizeBytes });
    for (const { digest } of layers) addTo(this.#keysOf, digest, key);
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

export interface SessionOptions {
  readonly openRegistry: OpenRegistry;
  /** Stops the run: what has been published stays, and the report says what was finished. */
  readonly signal: AbortSignal;
  /** Default: no events. */
  readonly onEvent?: SyncListener;
}

/** Everything that the stages of one run share: the registry, the signal that stops the run, and the listener. */
export class Session {
  readonly registry: LazyRegistry;
  readonly signal: AbortSignal;
  readonly onEvent: SyncListener;
  readonly meter: ProgressMeter;

  constructor({ openRegistry, signal, onEvent = () => undefined }: SessionOptions) {
    this.signal = signal;
    this.onEvent = onEvent;
    this.meter = new ProgressMeter(onEvent);
    this.registry = new LazyRegistry(openRegistry, this.meter.hear);
  }
}
