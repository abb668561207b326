import { resolve } from 'node:path';
import type { OpenBundle } from '../../mirror/bundle/openBundle.ts';
import type { PluginManifest } from '../../mirror/manifest/readManifest.ts';
import {
  type LockfileUse,
  limitsOf,
  lockfilePath,
  requireNamed,
  type SyncJob,
  selectVersions,
} from '../../mirror/sync/sync.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { listVersions } from '../../tree/version/inspectVersion.ts';
import { OptionConflict } from '../options/errors.ts';
import type { SyncFlags } from '../options/tables.ts';
import type { CiReport } from '../report/ciReport.ts';

/** A run of sync, with everything that its process knows. */
export interface SyncRun {
  readonly flags: SyncFlags;
  readonly ci: boolean;
  readonly registryOptions: RegistryOptions;
  readonly stampsFile: string | undefined;
  /** The manifest, if the command line or the environment names one. Default: that of --from, else manifest.json. */
  readonly manifestPath: string | undefined;
  readonly signal: AbortSignal;
  /** Takes the report for CI. */
  readonly collect: (report: () => Promise<CiReport>) => void;
}

/** Turns the command line into a job. @throws OptionConflict, SelectionEmpty, ReferenceInvalid */
export async function syncJob(run: SyncRun, manifest: PluginManifest, from?: OpenBundle): Promise<SyncJob> {
  const { flags, stampsFile } = run;
  const { tree, only = from?.only ?? [], registry, platform, update, lock } = flags;
  const mode = lockfileMode(run);
  // A bundle brings its lockfile along, unless it is read with another manifest.
  const usesOwn = from !== undefined && run.manifestPath === undefined;
  const inTree =
    flags.prune && only.length > 0 ? await listVersions(resolve(tree), { onUnreadable: () => undefined }) : [];
  const selection = selectVersions(manifest, { only, registry, platform, inTree });
  if (Array.isArray(update)) requireNamed(manifest, selection, update);
  return {
    manifest,
    selection,
    lockfile: {
      path: lockfilePath(manifest.file, usesOwn ? undefined : lock || undefined),
      mode,
      update: update ?? false,
      partial: (from?.only.length ?? 0) > 0,
    },
    tree: {
      dir: tree,
      stampsFile,
      rehash: flags.rehash ?? false,
      prune: flags.prune ?? false,
      codings: flags.compress,
      waitMs: flags.wait,
    },
    limits: limitsOf(flags.concurrency),
    ...(from === undefined
      ? {}
      : { bundle: { path: from.layout.path, requires: from.requires, lacking: from.lacking } }),
  };
}

/**
 * How the lockfile is used. A bundle (--from) freezes it, and so does a build machine (CI), unless the options ask for an update
 * or for no lockfile.
 * @throws OptionConflict
 */
function lockfileMode({ flags: { frozen, update, lock, from }, ci }: SyncRun): LockfileUse['mode'] {
  const conflict = (option: string) =>
    new OptionConflict(`--frozen and ${option} contradict each other`, {
      expected: 'one of them',
      hint: `Leave ${option} out to take exactly what the lockfile has; use --no-frozen to ask for the tags.`,
    });
  if (frozen === true && update !== undefined) throw conflict('--update');
  if (frozen === true && lock === false) throw conflict('--no-lock');
  if (lock === false) return 'off';
  if (frozen === true || (from !== undefined && frozen === undefined)) return 'frozen';
  return frozen === undefined && ci && update === undefined ? 'frozen in CI' : 'renewed';
}
