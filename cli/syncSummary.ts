import pc from 'picocolors';
import { countOutcomes, type Drift, hasFailed, type Outcome, type SyncReport } from '../mirror/report.ts';
import { Refusal } from '../refusal/refusal.ts';
import { formatBytes, formatDuration } from './format.ts';
import { refusalDetails, renderRefusal } from './renderRefusal.ts';

/** Names that one line lists before it says how many more there are. */
const NAMES_SHOWN = 6;
/** Kinds of failure that are told in full; with their hints they still fit a screen. */
const KINDS_SHOWN = 6;

export interface SummaryOptions {
  readonly color: boolean;
  /** The tree as the user wrote it. */
  readonly treeDir: string;
}

/** What stays on the terminal after a run: problems first, grouped by what mends them, then one line with the figures. */
export function renderSummary(
  report: SyncReport,
  { color, treeDir }: SummaryOptions,
): { problems: string; figures: string } {
  const paint = pc.createColors(color);
  const lines = [
    ...renderWarnings(report.outcomes, paint),
    ...report.drift.flatMap(drift => renderDrift(drift, paint)),
    ...renderFailures(
      report.outcomes.filter(outcome => outcome.status === 'failed'),
      paint,
    ),
    ...report.problems.map(problem => renderRefusal(problem, { color }).trimEnd()),
  ];
  return {
    problems: lines.map(line => `${line}\n`).join(''),
    figures: `${figures(report, treeDir, paint).join('\n')}\n`,
  };
}

function figures(report: SyncReport, treeDir: string, paint: ReturnType<typeof pc.createColors>): string[] {
  const counts = countOutcomes(report);
  const whole = counts.fetched + counts.kept + counts.aliased;
  const parts = (['fetched', 'kept', 'aliased', 'failed'] as const)
    .filter(status => counts[status] > 0)
    .map(status => `${counts[status]} ${status}`);
  const mark = report.interrupted ? paint.yellow('■') : hasFailed(report) ? paint.red('✗') : paint.green('✓');
  const head = report.interrupted
    ? `interrupted: ${whole} finished`
    : `${whole} of ${report.outcomes.length} in ${treeDir}`;
  const travelled = `${formatBytes(report.bytesDownloaded)} in ${formatDuration(report.durationMs)}, ${report.requests} requests`;
  return [`${mark} ${paint.bold(head)}  ${[...parts, travelled].join(' · ')}`, ...extras(report)];
}

function extras({ extras: found, pruned }: SyncReport): string[] {
  if (found.length === 0) return [];
  const names = listed(found.map(extra => `${extra.name}/${extra.version}`));
  return pruned
    ? [`  removed, no longer in the manifest: ${names}`]
    : [`  also in the tree, not in the manifest: ${names} (--prune removes them)`];
}

/** One line for each text, however many plugins it is about. */
function renderWarnings(outcomes: readonly Outcome[], paint: ReturnType<typeof pc.createColors>): string[] {
  const groups = new Map<string, string[]>();
  for (const outcome of outcomes)
    for (const warning of outcome.warnings) groups.set(warning, [...(groups.get(warning) ?? []), named(outcome)]);
  return [...groups].map(([warning, names]) => `${paint.yellow('warning')} ${listed(names)}: ${warning}`);
}

function renderDrift(drift: Drift, paint: ReturnType<typeof pc.createColors>): string[] {
  const made = drift.foundCreated === undefined ? '' : `, made ${drift.foundCreated}`;
  return [
    `${paint.yellow('drift')} ${drift.name} ${drift.version}: the tag ${drift.reference} has moved`,
    `  locked  ${drift.lockedDigest}`,
    `  now     ${drift.foundDigest}${made}`,
    `  ${paint.cyan('→')} Run plugin-mirror sync --update ${drift.name} to take it; until then the locked image is mirrored.`,
  ];
}

/** Failures of one kind with one remedy are one paragraph: a registry that is down is told once, not for each plugin. */
function renderFailures(failures: readonly Outcome[], paint: ReturnType<typeof pc.createColors>): string[] {
  const groups = new Map<string, Outcome[]>();
  for (const failure of failures) {
    const { error } = failure;
    const key = error instanceof Refusal ? `${error.code}\n${error.hint}` : String(error?.message);
    groups.set(key, [...(groups.get(key) ?? []), failure]);
  }
  const shown = [...groups.values()].slice(0, KINDS_SHOWN).flatMap(group => renderGroup(group, paint));
  const more = groups.size - KINDS_SHOWN;
  return more > 0 ? [...shown, `… and ${more} more kinds of failure; --format json lists every one`] : shown;
}

function renderGroup(group: readonly Outcome[], paint: ReturnType<typeof pc.createColors>): string[] {
  const error = group[0]?.error;
  if (error === undefined) return [];
  const code = error instanceof Refusal ? error.code : 'INTERNAL';
  const lines = [`${paint.red('failed')} ${paint.bold(code)}  ${listed(group.map(named))}`, `  ${error.message}`];
  if (!(error instanceof Refusal))
    return [...lines, `  ${paint.cyan('→')} This is a fault in plugin-mirror, please report it.`];
  return [...lines, ...refusalDetails(error, paint)];
}

function named({ name, version }: { readonly name: string; readonly version: string }): string {
  return `${name} ${version}`;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_SHOWN).join(', ');
  return names.length > NAMES_SHOWN ? `${shown} and ${names.length - NAMES_SHOWN} more` : shown;
}
