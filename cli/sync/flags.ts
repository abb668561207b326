import { resolve } from 'node:path';
import process from 'node:process';
import { type LockfileUse, makeJob, requireNamed, type SyncJob } from '../../mirror/sync/sync.ts';
import { listVersions } from '../../tree/version/inspectVersion.ts';
import { isBuildMachine } from '../options/environment.ts';
import { OptionConflict } from '../options/errors.ts';
import type { Source } from '../options/source.ts';
import type { SyncFlags } from '../options/tables.ts';
import { stampsFileOf } from '../options/userFolders.ts';
import type { Collect } from '../report/reporting.ts';
import type { RegistryRun } from '../runCommand.ts';

/** A run of sync, with everything that its process knows. */
export interface SyncRun extends RegistryRun {
  readonly flags: SyncFlags;
  /** The manifest that the user named. */
  readonly named: string | undefined;
  readonly collect: Collect;
}

/** Turns the command line into a job. @throws OptionConflict, SelectionEmpty, ReferenceInvalid */
export async function syncJob({ flags }: SyncRun, source: Source): Promise<SyncJob> {
  const { manifest, bundle } = source;
  const { tree: dir, only = source.only ?? [], registry, platform, update = false, lock, rehash, prune } = flags;
  const onUnreadable = () => undefined;
  const job = makeJob(manifest, {
    only,
    registry,
    platform,
    inTree: prune && only.length > 0 ? await listVersions(resolve(dir), { onUnreadable }) : [],
    lock: lock === false ? undefined : lock,
    mode: lockfileMode(flags, isBuildMachine(process.env)),
    update,
    partial: (source.only ?? []).length > 0,
    dir,
    stampsFile: stampsFileOf(process.env, dir),
    rehash,
    prune,
    codings: flags.compress,
    waitMs: flags.wait,
    concurrency: flags.concurrency,
    bundle,
  });
  if (Array.isArray(update)) requireNamed(manifest, job.selection, update);
  return job;
}

/**
 * How the lockfile is used. A bundle (--from) freezes it, and so does a build machine (CI), unless the options ask for an update
 * or for no lockfile.
 * @throws OptionConflict
 */
function lockfileMode({ frozen, update, lock, from }: SyncFlags, ci: boolean): LockfileUse['mode'] {
  const conflict = (option: string) =>
    new OptionConflict(`--frozen and ${option} contradict each other`, {
      expected: 'one of them',
      hint: `Leave ${option} out to take exactly what the lockfile has; use --no-frozen to resolve the tags.`,
    });
  if (frozen === true && update !== undefined) throw conflict('--update');
  if (frozen === true && lock === false) throw conflict('--no-lock');
  if (lock === false) return 'off';
  if (frozen === true || (from !== undefined && frozen === undefined)) return 'frozen';
  return frozen === undefined && ci && update === undefined ? 'frozen in CI' : 'renewed';
}
