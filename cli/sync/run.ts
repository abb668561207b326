import process from 'node:process';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { hasFailed, type SyncReport, versionKey } from '../../mirror/report.ts';
import { Session, type SyncListener } from '../../mirror/session.ts';
import { sync } from '../../mirror/sync/sync.ts';
import { EXIT, exitCodeOf, failureOf } from '../exit.ts';
import { openerOf } from '../options/openerOf.ts';
import type { SyncFlags } from '../options/tables.ts';
import { wantsColor } from '../render/colors.ts';
import { lateBy, SyncDeadline } from './deadline.ts';
import { type SyncRun, syncJob } from './flags.ts';
import { syncJson } from './json.ts';
import { syncLines } from './lines.ts';
import { renderSummary } from './summary.ts';

/** `plugin-mirror sync`, once its arguments are read. Returns the exit code. */
export async function runSync(run: SyncRun): Promise<number> {
  const { flags, registryOptions, signal } = run;
  const manifest = await readPluginManifest(flags.manifest);
  const job = await syncJob(run, manifest);
  if (flags.dryRun) {
    const { runDryRun } = await import('./dryRun.ts');
    return runDryRun(run, job);
  }
  const out = flags.format === 'json' ? process.stderr : process.stdout;
  const progress = await showProgress(out, flags);
  const openRegistry = openerOf(manifest, registryOptions, flags.registry);
  const session = new Session({ openRegistry, signal, onEvent: progress.hear });
  let report: SyncReport;
  try {
    report = await sync(job, session);
  } finally {
    progress.stop();
    await session.registry.close();
  }
  if (report.interrupted && signal.reason instanceof SyncDeadline) {
    const { versions, aliases } = job.selection;
    const late = lateBy(signal.reason, report, [...versions, ...aliases].map(versionKey));
    report = { ...report, problems: [...report.problems, late] };
  }
  const { problems, figures } = renderSummary(report, { color: wantsColor(out), treeDir: flags.out });
  process.stderr.write(problems);
  out.write(figures);
  if (flags.format === 'json') process.stdout.write(`${JSON.stringify(syncJson(report), null, 2)}\n`);
  if (report.interrupted && !(signal.reason instanceof SyncDeadline)) return EXIT.interrupted;
  return hasFailed(report) ? exitOf(report) : EXIT.good;
}

/** Where every plugin fails of wrong options, the command line is at fault and not the plugins. */
function exitOf({ outcomes, problems }: SyncReport): number {
  const errors = [...outcomes.map(({ error }) => error), ...problems];
  const met = errors.filter(error => error !== undefined);
  const isUsage = met.length === errors.length && met.every(error => exitCodeOf(error) === EXIT.usage);
  return outcomes.length > 0 && isUsage ? EXIT.usage : (failureOf(met) ?? EXIT.failed);
}

/** Live lines on a terminal, plain ones anywhere else, and where a line for each request would come in between. */
async function showProgress(
  out: NodeJS.WriteStream,
  { logLevel }: SyncFlags,
): Promise<{ hear: SyncListener; stop: () => void }> {
  if (out.isTTY && process.env.TERM !== 'dumb' && logLevel !== 'debug') {
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
