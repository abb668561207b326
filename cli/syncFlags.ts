import type { RegistryOptions } from '../registry/registry.ts';
import type { RegistryFlags } from './registryOptions.ts';

/** The options of sync, as commander gives them. */
export interface SyncFlags extends RegistryFlags {
  readonly manifest: string;
  readonly out: string;
  readonly only?: readonly string[];
  readonly frozen?: boolean;
  readonly update?: true | readonly string[];
  readonly lock: boolean;
  readonly prune?: boolean;
  readonly rehash?: boolean;
  readonly dryRun?: boolean;
  readonly wait: number;
  readonly format: 'text' | 'json';
}

/** A run of sync, with everything that its process knows. */
export interface SyncRun {
  readonly flags: SyncFlags;
  readonly ci: boolean;
  readonly registryOptions: RegistryOptions;
  readonly stampsFile: string;
  readonly signal: AbortSignal;
}
