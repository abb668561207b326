import process from 'node:process';
import { printable, printableValue } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';
import { plural } from '../../base/words.ts';
import {
  countOutcomes,
  hasChanged,
  hasFailed,
  type Outcome,
  type SyncReport,
  versionKey,
} from '../../mirror/report.ts';
import { Session } from '../../mirror/session.ts';
import { sync } from '../../mirror/sync/sync.ts';
import { EXIT, exitCodeOf, failureOf } from '../exit.ts';
import { openerOf, type Source, withSource } from '../options/source.ts';
import { errorJson } from '../render/errors.ts';
import { printError, printJson, printTo, wantsColor } from '../render/print.ts';
import { listed } from '../render/text.ts';
import { type SyncRun, syncJob } from './flags.ts';
import { showProgress } from './showProgress.ts';
import { renderFigures, renderProblems } from './summary.ts';

/** `plugin-mirror sync`, once its arguments are read. Returns the exit code. */
export function runSync(run: SyncRun): Promise<number> {
  return withSource(run.flags, run.named, source => syncFrom(run, source));
}

async function syncFrom(run: SyncRun, source: Source): Promise<number> {
  const { flags, registryOptions, signal } = run;
  const job = await syncJob(run, source);
  if (flags.dryRun) {
    const { runDryRun } = await import('./dryRun.ts');
    return runDryRun(run, job, source);
  }
  const out = flags.format === 'json' ? process.stderr : process.stdout;
  const progress = await showProgress(out, flags);
  const openRegistry = openerOf(source, registryOptions, flags.registry);
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

/** If every plugin fails because of wrong options, the exit code is that of a usage error. */
function exitOf({ outcomes, problems }: SyncReport): number {
  const errors = [...outcomes.map(({ error }) => error), ...problems];
  const met = errors.filter(error => error !== undefined);
  const isUsage = met.length === errors.length && met.every(error => exitCodeOf(error) === EXIT.usage);
  return outcomes.length > 0 && isUsage ? EXIT.usage : (failureOf(met) ?? EXIT.failed);
}

/** The one object that `sync --format json` prints; `schemaVersion` rises when a reader would break. */
export function syncJson(report: SyncReport): object {
  const { tree, outcomes, drift, extras, unverified, problems, interrupted, bytesDownloaded, requests, durationMs } =
    report;
  return {
    schemaVersion: 1,
    tree,
    changed: hasChanged(report),
    plugins: outcomes.map(pluginJson),
    drift,
    extras,
    ...(unverified.length === 0 ? {} : { unverified }),
    ...(problems.length === 0 ? {} : { errors: problems.map(errorJson) }),
    ...(interrupted ? { interrupted } : {}),
    totals: { ...countOutcomes(report), bytesDownloaded, requests, durationMs },
  };
}

function pluginJson({ error, warnings, change: _, ...outcome }: Outcome): object {
  return {
    ...outcome,
    ...(warnings.length === 0 ? {} : { warnings }),
    ...(error === undefined ? {} : { error: errorJson(error) }),
  };
}

/** The time of `--deadline` is over. As an AbortSignal's reason it stops the run like Ctrl-C. */
export class SyncDeadline extends Refusal {
  readonly code = 'SYNC_DEADLINE';
  readonly deadlineMs: number;

  constructor(deadlineMs: number, found = 'nothing was finished') {
    super(`The run did not finish within ${deadlineMs / 1000} s and was stopped`, {
      expected: `the whole run within ${deadlineMs / 1000} s`,
      found,
      hint: 'Run it again: it continues from what is finished. Or allow more time with --deadline.',
    });
    this.deadlineMs = deadlineMs;
  }
}

/** The same with what a stopped run finished. `names` are all versions and aliases that it was asked for. */
export function lateBy(reason: SyncDeadline, report: SyncReport, names: readonly string[]): SyncDeadline {
  const whole = report.outcomes.filter(({ status }) => status !== 'failed').map(versionKey);
  const failed = report.outcomes.filter(({ status }) => status === 'failed').length;
  const known = new Set(report.outcomes.map(versionKey));
  const open = names.filter(name => !known.has(name));
  const parts = [
    whole.length === 0 ? 'nothing was finished' : `${whole.length} of ${names.length} finished: ${listed(whole)}`,
    ...(failed === 0 ? [] : [`${plural(failed, 'failure')}`]),
    ...(open.length === 0 ? [] : [`not finished: ${listed(open)}`]),
  ];
  return new SyncDeadline(reason.deadlineMs, parts.join('; '));
}
