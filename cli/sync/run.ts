import process from 'node:process';
import { printable, printableValue } from '../../base/printable.ts';
import type { OpenBundle } from '../../mirror/bundle/openBundle.ts';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { hasFailed, type SyncReport, versionKey } from '../../mirror/report.ts';
import { Session } from '../../mirror/session.ts';
import { sync } from '../../mirror/sync/sync.ts';
import { EXIT, exitCodeOf, failureOf } from '../exit.ts';
import { openerOf, openFrom } from '../options/openerOf.ts';
import { wantsColor } from '../render/colors.ts';
import { printError, printJson, printTo } from '../render/print.ts';
import { lateBy, SyncDeadline } from './deadline.ts';
import { type SyncRun, syncJob } from './flags.ts';
import { syncJson } from './json.ts';
import { showProgress } from './showProgress.ts';
import { renderFigures, renderProblems } from './summary.ts';

/** `plugin-mirror sync`, once its arguments are read. Returns the exit code. */
export async function runSync(run: SyncRun): Promise<number> {
  const { flags } = run;
  const from = flags.from === undefined ? undefined : await openFrom(flags.from, flags, run.manifestPath);
  try {
    return await syncFrom(run, from);
  } finally {
    await from?.close();
  }
}

async function syncFrom(run: SyncRun, from: OpenBundle | undefined): Promise<number> {
  const { flags, registryOptions, signal } = run;
  const manifest = from?.manifest ?? (await readPluginManifest(flags.manifest));
  const job = await syncJob(run, manifest, from);
  if (flags.dryRun) {
    const { runDryRun } = await import('./dryRun.ts');
    return runDryRun(run, job, from);
  }
  const out = flags.format === 'json' ? process.stderr : process.stdout;
  const progress = await showProgress(out, flags);
  const openRegistry = openerOf(manifest, registryOptions, flags.registry, from?.layout);
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
  const finished = report;
  run.collect(async () => (await import('../report/ciReport.ts')).ofSync(flags.manifest, finished));
  const shown = printableValue(report);
  const problems = renderProblems(shown, wantsColor(process.stderr));
  printError(problems);
  if (!flags.quiet || problems !== '') {
    const isBrief = flags.quiet === true;
    const treeDir = printable(flags.tree);
    printTo(out, renderFigures(shown, { color: wantsColor(out), treeDir, isBrief, width: out.columns }));
  }
  if (flags.format === 'json') printJson(syncJson(report));
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
