import { resolve } from 'node:path';
import process from 'node:process';
import type { SyncListener } from '../../mirror/events.ts';
import { readPluginManifest, withRegistry } from '../../mirror/manifest/readManifest.ts';
import { requireNamed, selects, selectVersions } from '../../mirror/plan/selection.ts';
import { hasFailed, type SyncReport, versionKey } from '../../mirror/report.ts';
import { lockedSync } from '../../mirror/sync/syncWithLockfile.ts';
import { listVersions } from '../../tree/version/listVersions.ts';
import { EXIT, exitCodeOf, failureOf } from '../exit.ts';
import { openerOf } from '../options/openerOf.ts';
import { wantsColor } from '../render/colors.ts';
import { lateBy, SyncDeadline } from './deadline.ts';
import { lockChoiceOf, type SyncRun } from './flags.ts';
import { syncJson } from './json.ts';
import { syncLines } from './lines.ts';
import { renderSummary } from './summary.ts';

/** `plugin-mirror sync`, once its arguments are read; answers the exit code. */
export async function runSync(run: SyncRun): Promise<number> {
  const { flags, registryOptions, stampsFile, signal } = run;
  const lockChoice = lockChoiceOf(run);
  const list = await readPluginManifest(flags.manifest);
  const only = flags.only ?? [];
  const left = flags.prune && only.length > 0 ? await listVersions(resolve(flags.out), { tolerant: true }) : [];
  const selected = selectVersions(list, only, left);
  if (Array.isArray(flags.update)) requireNamed(list, selected, flags.update);
  const manifest = flags.registry === undefined ? selected : withRegistry(selected, flags.registry);
  if (flags.dryRun) {
    const { runDryRun } = await import('./dryRun.ts');
    return runDryRun(run, list, manifest);
  }
  const out = flags.format === 'json' ? process.stderr : process.stdout;
  const progress = await showProgress(out);
  let report: SyncReport;
  try {
    report = await lockedSync({
      list,
      manifest,
      treeDir: flags.out,
      ...lockChoice,
      useLock: flags.lock,
      openRegistry: openerOf(list, registryOptions, flags.registry),
      concurrency: flags.concurrency,
      prune: flags.prune ?? false,
      selected: selects(only),
      rehash: flags.rehash ?? false,
      codings: flags.compress,
      waitMs: flags.wait,
      stampsFile,
      signal,
      onEvent: progress.hear,
      ...(flags.platform === undefined ? {} : { platform: flags.platform }),
    });
  } finally {
    progress.stop();
  }
  if (report.interrupted && signal.reason instanceof SyncDeadline) {
    const late = lateBy(signal.reason, report, [...manifest.versions, ...manifest.aliases].map(versionKey));
    report = { ...report, problems: [...report.problems, late] };
  }
  const { problems, figures } = renderSummary(report, { color: wantsColor(out), treeDir: flags.out });
  process.stderr.write(problems);
  out.write(figures);
  if (flags.format === 'json') process.stdout.write(`${JSON.stringify(syncJson(report), null, 2)}\n`);
  if (report.interrupted && !(signal.reason instanceof SyncDeadline)) return EXIT.interrupted;
  return hasFailed(report) ? exitOf(report) : EXIT.good;
}

/** Options that could be used for nothing are a matter of the command line, though each plugin fails by itself. */
function exitOf({ outcomes, problems }: SyncReport): number {
  const errors = [...outcomes.map(({ error }) => error), ...problems];
  const told = errors.filter(error => error !== undefined);
  const isUsage = told.length === errors.length && told.every(error => exitCodeOf(error) === EXIT.usage);
  return outcomes.length > 0 && isUsage ? EXIT.usage : (failureOf(told) ?? EXIT.failed);
}

/** Live lines on a terminal, plain ones anywhere else. */
async function showProgress(out: NodeJS.WriteStream): Promise<{ hear: SyncListener; stop: () => void }> {
  if (out.isTTY && process.env.TERM !== 'dumb') {
    const { SyncProgress } = await import('./progress.ts');
    return new SyncProgress(out, wantsColor(out));
  }
  const lineOf = syncLines();
  const hear: SyncListener = event => {
    const line = lineOf(event);
    if (line !== undefined) out.write(`${line}\n`);
  };
  return { hear, stop: () => undefined };
}
