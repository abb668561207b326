import pc from 'picocolors';
import { addTo } from '../../base/groups.ts';
import { formatBytes, plural } from '../../base/words.ts';
import {
  countOutcomes,
  type Drift,
  type Extra,
  hasChanged,
  hasFailed,
  type Outcome,
  type SyncReport,
  versionKey,
} from '../../mirror/report.ts';
import type { VersionId } from '../../tree/names.ts';
import { type Failure, renderFailures, renderRefusal } from '../render/errors.ts';
import { wrapLines } from '../render/print.ts';
import { formatDuration, listed } from '../render/text.ts';

type Paint = ReturnType<typeof pc.createColors>;

/** Warnings that are shown in full, so that all of the summary fits a screen. */
const WARNINGS_SHOWN = 6;

const UPDATES_SHOWN = 12;

export interface FiguresOptions {
  readonly color: boolean;
  /** The tree as the user wrote it. */
  readonly treeDir: string;
  /** Whether only the last line is wanted, for --quiet. Default: no. */
  readonly isBrief?: boolean;
  /** Columns of a terminal: lines are broken between words. Commands to copy are not. Undefined in a file or a pipe. */
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

/**
 * Returns the last lines of a run: what changed, the figures, and what to do next. They are the same for a terminal whose
 * display is gone now and for a log that has a line for each version.
 */
export function renderFigures(report: SyncReport, { color, treeDir, isBrief = false, width }: FiguresOptions): string {
  const paint = pc.createColors(color);
  const arrow = `  ${paint.cyan('→')}`;
  const [before, after] = nextStep(report, treeDir);
  const lines = isBrief
    ? [renderTotals(report, treeDir, paint)]
    : [
        ...renderChanges(report, paint),
        ...renderExtras(report.extras),
        ...(before === undefined ? [] : [`${arrow} ${before}`]),
        renderTotals(report, treeDir, paint),
        ...(after === undefined ? [] : [`${arrow} ${after}`]),
      ];
  return wrapLines(lines.map(line => `${line}\n`).join(''), width);
}

function renderTotals(report: SyncReport, treeDir: string, paint: Paint): string {
  const counts = countOutcomes(report);
  const whole = counts.fetched + counts.kept + counts.aliased;
  const parts = (['fetched', 'kept', 'aliased', 'failed'] as const)
    .filter(status => counts[status] > 0)
    .map(status => `${counts[status]} ${status}`);
  const mark = report.interrupted ? paint.yellow('■') : hasFailed(report) ? paint.red('✗') : paint.green('✓');
  const head = report.interrupted
    ? `interrupted: ${whole} finished`
    : `${whole} of ${report.outcomes.length} in ${treeDir}`;
  const travelled = `${formatBytes(report.bytesDownloaded)} in ${formatDuration(report.durationMs)}, ${plural(report.requests, 'request')}`;
  return `${mark} ${paint.bold(head)}  ${[...parts, travelled].join(' · ')}`;
}

/**
 * Returns what to do next, for the line before the figures or for the one after them. What failed comes before them, so that
 * a log ends with the result.
 */
function nextStep(report: SyncReport, treeDir: string): readonly [before?: string | undefined, after?: string] {
  if (report.interrupted)
    return report.problems.length > 0 ? [] : ['Run sync again: it continues from what is finished.'];
  if (hasFailed(report)) return ['Then run sync again: it fetches only what is missing.'];
  return hasChanged(report) ? [undefined, serveCommand(treeDir)] : [];
}

/** Returns what the run changed: new versions and aliases, repaired ones, and those with another image than before. */
function renderChanges({ outcomes, drift }: SyncReport, paint: Paint): string[] {
  const line = (label: string, names: readonly string[]) =>
    names.length === 0 ? [] : [`${paint.green(label.padEnd(8))} ${listed(names)}`];
  const withChange = (change: Outcome['change']) => outcomes.filter(outcome => outcome.change === change);
  const aliases = outcomes.filter(({ status, unchanged }) => status === 'aliased' && !unchanged);
  // The tag of a version that is not locked was followed: its old digest is that of the tree.
  const followed = new Map(drift.flatMap(each => (each.followed ? [[versionKey(each), each.lockedDigest]] : [])));
  const digestBefore = (it: Outcome) =>
    it.previousDigest ?? (it.change === 'changed' ? followed.get(versionKey(it)) : undefined);
  const replaced = withChange('changed').filter(outcome => digestBefore(outcome) === undefined);
  return [
    ...line('new', withChange('missing').map(named)),
    ...line(
      'alias',
      aliases.map(alias => `${named(alias)} → ${alias.aliasOf}`),
    ),
    ...line('repaired', withChange('damaged').map(named)),
    ...line('replaced', replaced.map(named)),
    ...renderUpdates(outcomes, digestBefore, paint),
  ];
}

/** The images that replaced others, with both digests, so that a log shows what an update took. */
function renderUpdates(
  outcomes: readonly Outcome[],
  digestBefore: (outcome: Outcome) => string | undefined,
  paint: Paint,
): string[] {
  const updates = outcomes.flatMap(outcome => {
    const before = digestBefore(outcome);
    return before === undefined ? [] : `${paint.green('updated ')} ${named(outcome)}: ${before} → ${outcome.digest}`;
  });
  const more = updates.length - UPDATES_SHOWN;
  return more > 0
    ? [...updates.slice(0, UPDATES_SHOWN), `… and ${plural(more, 'more update')}; --report FILE.md lists every one`]
    : updates;
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
  paint: Paint,
): string[] {
  const groups = new Map<string, string[]>();
  for (const outcome of outcomes) for (const warning of outcome.warnings) addTo(groups, warning, named(outcome));
  const lines = [...groups].map(([warning, names]) => `${paint.yellow('warning')} ${listed(names)}: ${warning}`);
  const more = lines.length - WARNINGS_SHOWN;
  return more > 0
    ? [...lines.slice(0, WARNINGS_SHOWN), `… and ${plural(more, 'more warning')}; --format json lists every one`]
    : lines;
}

/** The policy is newer than these copies, or --only left them out. They are served all the same. */
function renderUnverified({ unverified }: SyncReport, paint: Paint): string[] {
  if (unverified.length === 0) return [];
  return [
    `${paint.yellow('warning')} published, but not verified under the manifest’s signature policy: ${listed(unverified.map(named))}`,
    `  ${paint.cyan('→')} Run plugin-mirror sync without --only to verify them. A version that fails stays published until you remove it from the manifest and run sync --prune.`,
  ];
}

function named({ name, version }: VersionId): string {
  return `${name} ${version}`;
}

/** Drifts that are shown in full, so that all of them fit a screen. */
const DRIFTS_SHOWN = 4;

/** Returns lines for tags that have moved, for local files that have changed, and for the command that takes the new images. */
export function renderDrifts(drifts: readonly Drift[], paint: ReturnType<typeof pc.createColors>): string[] {
  if (drifts.length === 0) return [];
  const more = drifts.slice(DRIFTS_SHOWN).map(({ name, version }) => `${name} ${version}`);
  const names = [...new Set(drifts.filter(({ local, followed }) => !local && !followed).map(({ name }) => name))];
  const which = names.length > DRIFTS_SHOWN ? 'NAME…' : names.join(' ');
  return [
    ...drifts.slice(0, DRIFTS_SHOWN).flatMap(drift => renderDrift(drift, paint)),
    ...(more.length === 0
      ? []
      : [`… and ${more.length} more: ${listed(more)}; plugin-mirror check lists every digest`]),
    ...(names.length === 0
      ? []
      : [
          `  ${paint.cyan('→')} Run plugin-mirror sync --update ${which} to take ${names.length === 1 ? 'it' : 'them'}; until then the locked images are mirrored.`,
        ]),
  ];
}

function renderDrift(drift: Drift, paint: ReturnType<typeof pc.createColors>): string[] {
  const what = drift.local
    ? `${drift.reference} has changed since it was locked; a local file is always published in its current form`
    : drift.followed
      ? `the tag ${drift.reference} has moved since it was published; it is not locked, so this run takes the new image`
      : `the tag ${drift.reference} has moved`;
  const before = drift.followed ? 'before ' : 'locked ';
  const made = drift.foundCreated === undefined ? '' : `, made ${drift.foundCreated}`;
  return [
    `${paint.yellow('drift')} ${drift.name} ${drift.version}: ${what}`,
    `  ${before} ${drift.lockedDigest}`,
    `  now     ${drift.foundDigest}${made}`,
  ];
}

/** Returns lines about all versions that the manifest does not name: removed, kept, or left in place. */
export function renderExtras(extras: readonly Extra[]): string[] {
  const line = (words: string, found: readonly Extra[], hint = '') =>
    found.length === 0 ? [] : [`  ${words}: ${listed(found.map(withDamage))}${hint}`];
  const stay = extras.filter(({ removed, leftPaths, unlisted }) => !removed && leftPaths === undefined && !unlisted);
  const left = extras.flatMap(({ leftPaths }) => leftPaths ?? []);
  const unlisted = extras.filter(it => it.unlisted);
  return [
    ...line(
      'removed, no longer in the manifest',
      extras.filter(({ removed }) => removed),
    ),
    ...line(
      'kept although no longer in the manifest, because a version of the same plugin failed',
      stay.filter(({ kept }) => kept === 'failed'),
    ),
    ...line(
      'also in the tree, not in the manifest',
      stay.filter(({ kept }) => kept === undefined),
      ' (--prune removes them)',
    ),
    ...line(
      'also in the tree, not in the manifest',
      stay.filter(({ kept }) => kept === 'unselected'),
      ' (--prune removes those that --only selects)',
    ),
    ...line('damaged and not in the manifest, so no longer in the catalog', unlisted, ' (delete their files by hand)'),
    ...(left.length === 0
      ? []
      : [
          `  left in place, because these files are not as sync published them: ${listed(left)} (move them away by hand)`,
        ]),
  ];
}

function withDamage({ name, version, damage, leftPaths }: Extra): string {
  const aside = leftPaths === undefined ? damage : 'some files were not removed';
  return aside === undefined ? `${name}/${version}` : `${name}/${version} (${aside})`;
}
