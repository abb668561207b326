import type { RegistryEvent } from '../registry/registry.ts';
import type { Outcome, Published } from './report.ts';

/** What a run tells while it works; for people, never for decisions. A `key` is `NAME/VERSION`. */
export type SyncEvent =
  /** Another run holds the tree; this one waits. */
  | { readonly type: 'waiting'; readonly message: string }
  | { readonly type: 'asking'; readonly versions: number }
  /** The plan stands: so many versions will travel, so many bytes at most. */
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
  /** These are about to be removed from the tree. */
  | { readonly type: 'pruning'; readonly extras: readonly Published[] }
  | Extract<RegistryEvent, { type: 'retry' | 'warning' }>;

export type SyncListener = (event: SyncEvent) => void;
