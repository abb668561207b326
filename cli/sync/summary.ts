import { stripVTControlCharacters } from 'node:util';
import pc from 'picocolors';
import { formatBytes, plural } from '../../base/words.ts';
import { countOutcomes, hasFailed, type Outcome, type SyncReport } from '../../mirror/report.ts';
import { renderDrifts } from '../render/drifts.ts';
import { renderExtras } from '../render/extras.ts';
import { type Failure, listed, renderFailures } from '../render/failures.ts';
import { formatDuration } from '../render/format.ts';
import { renderRefusal } from '../render/refusal.ts';

/** Warnings that are shown in full, so that all of the summary fits a screen. */
const WARNINGS_SHOWN = 6;

const UPDATES_SHOWN = 12;
/** Of the rows of a long line after its first one. */
const INDENT = 2;

export interface FiguresOptions {
  readonly color: boolean;
  /** The tree as the user wrote it. */
  readonly treeDir: string;
  /** Whether the run was shown by lines that are gone now: the figures then list what is new, and the next command. Default: no. */
  readonly isLive?: boolean;
  /** Columns of the terminal: with isLive, lines are broken between words. Commands to copy are not. */
  readonly width?: number | undefined;
}

/** Returns what went wrong in a run, or was unusual. The causes of failure come last: the tail of a build log has them. */
export function renderProblems(report: SyncReport, color: boolean): string {
  const paint = pc.createColors(color);
  const lines = [
    ...renderWarnings(report.outcomes, paint),
    ...renderDrifts(report.drift, paint),
    ...renderUnverified(report, paint),
    ...report.problems.map(problem => renderRefusal(problem, { color }).trimEnd()),
    ...renderFailures(failuresOf(report.outcomes), paint),
  ];
  return lines.map(line => `${line}\n`).join('');
}

/** Returns the last lines of a run. */
export function renderFigures(report: SyncReport, { color, treeDir, isLive = false, width }: FiguresOptions): string {
  const paint = pc.createColors(color);
  const counts = countOutcomes(report);
  const failed = hasFailed(report);
  const arrow = `  ${paint.cyan('→')}`;
  const whole = counts.fetched + counts.kept + counts.aliased;
  const parts = (['fetched', 'kept', 'aliased', 'failed'] as const)
    .filter(status => counts[status] > 0)
    .map(status => `${counts[status]} ${status}`);
  const mark = report.interrupted ? paint.yellow('■') : failed ? paint.red('✗') : paint.green('✓');
  const head = report.interrupted
    ? `interrupted: ${whole} finished`
    : `${whole} of ${report.outcomes.length} in ${treeDir}`;
  const travelled = `${formatBytes(report.bytesDownloaded)} in ${formatDuration(report.durationMs)}, ${report.requests} requests`;
  const last = `${mark} ${paint.bold(head)}  ${[...parts, travelled].join(' · ')}`;
  const lines = [
    ...(isLive ? renderNew(report.outcomes, paint) : []),
    ...renderUpdates(report.outcomes, paint),
    ...renderExtras(report.extras),
    ...(isLive && failed ? [`${arrow} Then run sync again: it fetches only what is missing.`] : []),
    last,
    ...(isLive && !failed && counts.fetched > 0 ? [`${arrow} ${serveCommand(treeDir)}`] : []),
  ];
  const columns = isLive && width !== undefined && width > 0 ? width : Number.POSITIVE_INFINITY;
  return lines.map(line => `${line.startsWith(arrow) ? line : wrapped(line, columns)}\n`).join('');
}

/** Breaks a line between words, so that none of its parts is wider than a terminal, and indents what follows. */
function wrapped(line: string, columns: number): string {
  if (stripVTControlCharacters(line).length <= columns) return line;
  const rows: string[] = [];
  for (const word of line.split(' ')) {
    const longer = `${rows.at(-1) ?? ''} ${word}`;
    if (rows.length > 0 && stripVTControlCharacters(longer).length <= columns) rows[rows.length - 1] = longer;
    else rows.push(rows.length === 0 ? word : `${' '.repeat(INDENT)}${word}`);
  }
  return rows.map(row => row.trimEnd()).join('\n');
}

/** The images that replaced locked ones, with both digests, so that a log shows what an update took. */
function renderUpdates(outcomes: readonly Outcome[], paint: ReturnType<typeof pc.createColors>): string[] {
  const updates = outcomes.flatMap(({ name, version, previousDigest, digest }) =>
    previousDigest === undefined ? [] : `${paint.green('updated')} ${name} ${version}: ${previousDigest} → ${digest}`,
  );
  const more = updates.length - UPDATES_SHOWN;
  return more > 0
    ? [...updates.slice(0, UPDATES_SHOWN), `… and ${plural(more, 'more update')}; --report FILE.md lists every one`]
    : updates;
}

/** The versions that the tree lacked, and those whose files were damaged. */
function renderNew(outcomes: readonly Outcome[], paint: ReturnType<typeof pc.createColors>): string[] {
  const labels = { missing: 'new', damaged: 'repaired' } as const;
  return (['missing', 'damaged'] as const).flatMap(change => {
    const found = outcomes.filter(outcome => outcome.change === change);
    return found.length === 0 ? [] : `${paint.green(labels[change].padEnd(8))} ${listed(found.map(named))}`;
  });
}

/** Returns the command that serves the tree, as a shell reads it. */
function serveCommand(treeDir: string): string {
  const word = /^[\w./~@+-]+$/.test(treeDir) ? treeDir : `'${treeDir.replaceAll("'", "'\\''")}'`;
  return treeDir === 'plugins' ? 'plugin-mirror serve' : `plugin-mirror serve --tree ${word}`;
}

export function failuresOf(outcomes: readonly Outcome[]): Failure[] {
  return outcomes.flatMap(({ name, version, aliasOf, error }) =>
    error === undefined ? [] : { name, version, isAlias: aliasOf !== undefined, error },
  );
}

/** Returns one line for each text, however many plugins have it. */
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

/** The policy is newer than these copies, or --only left them out. They are served all the same. */
function renderUnverified({ unverified }: SyncReport, paint: ReturnType<typeof pc.createColors>): string[] {
  if (unverified.length === 0) return [];
  return [
    `${paint.yellow('warning')} published, but not verified under the manifest’s signature policy: ${listed(unverified.map(named))}`,
    `  ${paint.cyan('→')} Run plugin-mirror sync without --only to verify them. A version that fails stays published until you remove it from the manifest and run sync --prune.`,
  ];
}

function named({ name, version }: { readonly name: string; readonly version: string }): string {
  return `${name} ${version}`;
}
