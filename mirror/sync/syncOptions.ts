import type { Coding } from '../../tree/version/codings.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { OpenRegistry } from '../lazyRegistry.ts';
import type { PrepareOptions } from '../plan/prepare.ts';
import type { SyncReport } from '../report.ts';

export interface SyncOptions extends Omit<PrepareOptions, 'registry' | 'stamps' | 'questions'> {
  readonly openRegistry: OpenRegistry;
  /**
   * Blobs that travel at once. Twice as many plugins are in work, since some of them are being extracted or made durable,
   * and four times as many manifests, which are small, are asked for.
   */
  readonly concurrency: number;
  /** Keys of everything the user's list names, where `manifest` is only a selection of it. Default: those of `manifest`. */
  readonly named?: ReadonlySet<string>;
  /** True of what the list wants signed and no lock says was. Default: of nothing. */
  readonly unvouched?: (metadata: PublishedVersion) => boolean;
  /** Remove what the list no longer names. Default false. */
  readonly prune?: boolean;
  /** What may be pruned: the part of everything that `--only` selects. Default: all. */
  readonly selected?: (it: { readonly name: string; readonly version: string }) => boolean;
  /** In which compressed forms to publish each plugin.wasm besides. Default: none. */
  readonly codings?: readonly Coding[];
  /** How long to wait for another run that holds the tree. Default 0: refuse at once. */
  readonly waitMs?: number;
  /** What another run may have changed while this one waited for it; asked for once the tree is held. Default: nothing. */
  readonly renewed?: () => Promise<Pick<SyncOptions, 'locked' | 'before' | 'unvouched'>>;
  /** Where this machine keeps the stamps of the tree's files. Default: nowhere, every file is hashed. */
  readonly stampsFile?: string;
}

/** A report with the metadata of everything that the run settled. */
export interface SyncedReport extends SyncReport {
  readonly published: readonly PublishedVersion[];
}
