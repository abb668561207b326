import pc from 'picocolors';
import { plural } from '../mirror/document/problem.ts';
import { countOutcomes, type Drift, hasFailed, type Outcome, type SyncReport } from '../mirror/report.ts';
import { formatBytes, formatDuration } from './format.ts';
import { renderExtras } from './renderExtras.ts';
import { listed, renderFailures } from './renderFailures.ts';
import { renderRefusal } from './renderRefusal.ts';

/** What is told in full, so that the whole fits a screen. */
const WARNINGS_SHOWN = 6;
const DRIFTS_SHOWN = 4;

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
    ...renderDrifts(report.drift, paint),
    ...renderFailures(
      report.outcomes.flatMap(outcome =>
        outcome.error === undefined ? [] : { what: named(outcome), error: outcome.error },
      ),
      paint,
    ),
    ...renderUnverified(report, paint),
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
  return [`${mark} ${paint.bold(head)}  ${[...parts, travelled].join(' · ')}`, ...renderExtras(report.extras)];
}

/** One line for each text, however many plugins it is about. */
export function renderWarnings(
  outcomes: readonly Pick<Outcome, 'name' | 'version' | 'warnings'>[],
  paint: ReturnType<typeof pc.createColors>,
): string[] {
  const groups = new Map<string, string[]>();
  for (const outcome of outcomes)
    for (const warning of outcome.warnings) groups.set(warning, [...(groups.get(warning) ?? []), named(outcome)]);
  const lines = [...groups].map(([warning, names]) => `${paint.yellow('warning')} ${listed(names)}: ${warning}`);
  const more = lines.length - WARNINGS_SHOWN;
  return more > 0
    ? [...lines.slice(0, WARNINGS_SHOWN), `… and ${plural(more, 'more warning')}; --format json lists every one`]
    : lines;
}

/** A policy that came after the copies, or a version that this run was not to touch: they are served all the same. */
function renderUnverified({ unverified }: SyncReport, paint: ReturnType<typeof pc.createColors>): string[] {
  if (unverified.length === 0) return [];
  return [
    `${paint.yellow('warning')} published, and not verified under the manifest’s signature policy: ${listed(unverified.map(named))}`,
    `  ${paint.cyan('→')} Run plugin-mirror sync over all of the manifest to verify. What fails stays published until you take it out of the manifest and run sync --prune.`,
  ];
}

/** Where every tag was pushed again, the first few say all that there is to say. */
function renderDrifts(drifts: readonly Drift[], paint: ReturnType<typeof pc.createColors>): string[] {
  if (drifts.length === 0) return [];
  const more = drifts.slice(DRIFTS_SHOWN);
  const names = [...new Set(drifts.filter(({ local, followed }) => !local && !followed).map(({ name }) => name))];
  const which = names.length > DRIFTS_SHOWN ? 'NAME…' : names.join(' ');
  return [
    ...drifts.slice(0, DRIFTS_SHOWN).flatMap(drift => renderDrift(drift, paint)),
    ...(more.length === 0
      ? []
      : [`… and ${more.length} more: ${listed(more.map(named))}; plugin-mirror check lists every digest`]),
    ...(names.length === 0
      ? []
      : [
          `  ${paint.cyan('→')} Run plugin-mirror sync --update ${which} to take ${names.length === 1 ? 'it' : 'them'}; until then the locked images are mirrored.`,
        ]),
  ];
}

function renderDrift(drift: Drift, paint: ReturnType<typeof pc.createColors>): string[] {
  const what = drift.local
    ? `${drift.reference} has changed since it was locked; a local file is taken as it is`
    : drift.followed
      ? `the tag ${drift.reference} has moved since it was published; no lock holds it, so it is followed`
      : `the tag ${drift.reference} has moved`;
  const before = drift.followed ? 'before ' : 'locked ';
  const made = drift.foundCreated === undefined ? '' : `, made ${drift.foundCreated}`;
  return [
    `${paint.yellow('drift')} ${drift.name} ${drift.version}: ${what}`,
    `  ${before} ${drift.lockedDigest}`,
    `  now     ${drift.foundDigest}${made}`,
  ];
}

function named({ name, version }: { readonly name: string; readonly version: string }): string {
  return `${name} ${version}`;
}
