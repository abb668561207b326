import type { LockChoice } from '../../mirror/lockfile/lockedVersions.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import type { Coding } from '../../tree/version/codings.ts';
import { OptionConflict } from '../options/errors.ts';
import type { RegistryFlags } from '../options/registryFlags.ts';

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
  readonly compress: readonly Coding[];
  readonly dryRun?: boolean;
  readonly wait: number;
  /** Milliseconds, for the whole run. Default: none. */
  readonly deadline?: number;
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

/**
 * How the lock is to be used. A build machine (CI) freezes by itself, unless it is asked to update or to go without a lock.
 * @throws OptionConflict
 */
export function lockChoiceOf({ flags: { frozen, update, lock }, ci }: SyncRun): {
  readonly frozen: LockChoice['frozen'];
  readonly update: boolean | readonly string[];
} {
  const refuse = (option: string) =>
    new OptionConflict(`--frozen and ${option} contradict each other`, {
      expected: 'one of them',
      hint: `Leave ${option} out to take exactly what the lock holds; say --no-frozen to ask the tags.`,
    });
  if (frozen === true && update !== undefined) throw refuse('--update');
  if (frozen === true && !lock) throw refuse('--no-lock');
  return { frozen: frozen ?? (ci && lock && update === undefined ? 'in CI' : false), update: update ?? false };
}
