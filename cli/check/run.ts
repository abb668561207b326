import process from 'node:process';
import pc from 'picocolors';
import { groupBy } from '../../base/groups.ts';
import { printable, printableValue } from '../../base/printable.ts';
import { causeKeyOf } from '../../base/refusal.ts';
import { plural } from '../../base/words.ts';
import { type CheckFinding, check, checkLockfile, type VersionFinding } from '../../mirror/check/check.ts';
import { Session, type SyncEvent } from '../../mirror/session.ts';
import { makeJob } from '../../mirror/sync/sync.ts';
import { EXIT } from '../exit.ts';
import { isBuildMachine } from '../options/environment.ts';
import { openerOf, type Source, withSource } from '../options/source.ts';
import type { CheckFlags } from '../options/tables.ts';
import { stampsFileOf } from '../options/userFolders.ts';
import { startCounter } from '../render/counter.ts';
import { errorJson, renderRefusal } from '../render/errors.ts';
import { printError, printJson, printText, wantsColor, warningPrinter } from '../render/print.ts';
import { listed } from '../render/text.ts';
import type { Collect } from '../report/reporting.ts';
import type { RegistryRun } from '../runCommand.ts';

interface CheckRun extends RegistryRun {
  readonly flags: CheckFlags;
  /** The manifest that the user named. */
  readonly named: string | undefined;
  readonly collect: Collect;
}

/** `plugin-mirror check`, once its arguments are read. Returns the exit code. */
export function runCheck(run: CheckRun): Promise<number> {
  return withSource(run.flags, run.named, source => checkFrom(run, source));
}

async function checkFrom({ flags, registryOptions, signal, collect }: CheckRun, source: Source): Promise<number> {
  const { tree: dir, registry, platform, rehash, concurrency } = flags;
  const { manifest, bundle, only = [] } = source;
  const job = makeJob(manifest, {
    only,
    registry,
    platform,
    lock: flags.lock,
    mode: isBuildMachine(process.env) ? 'frozen in CI' : 'renewed',
    partial: only.length > 0,
    dir,
    stampsFile: stampsFileOf(process.env, dir),
    rehash,
    concurrency,
    bundle,
  });
  const openRegistry = openerOf(source, { ...registryOptions, headsOnly: true }, registry);
  const counter = startCounter('checking', 'versions', { quiet: flags.quiet });
  const events: SyncEvent[] = [];
  const onEvent = (event: SyncEvent): void => {
    if (event.type === 'answered') counter.count(event.done, event.versions);
    else events.push(event);
  };
  const stop = (): void => {
    counter.stop();
    events.splice(0).forEach(warningPrinter());
  };
  const session = new Session({ openRegistry, signal, onEvent });
  try {
    const checked = await (flags.lockOnly ? checkLockfile : check)(job, session).finally(stop);
    const { findings, problems, hasLockfile, agrees } = checked;
    const { versions: chosen, aliases } = job.selection;
    const looked = flags.lockOnly ? chosen : [...chosen, ...aliases];
    const versions = looked.length;
    const subjects = looked.map(({ name, version }) => `${name} ${version}`);
    collect(async () => (await import('../report/ciReport.ts')).ofCheck(flags.manifest, subjects, checked));
    const { requests } = session.registry.traffic;
    if (flags.format === 'json') printJson(report(findings, problems, versions, requests));
    else if (!flags.quiet || !agrees) {
      const parts = flags.lockOnly ? ['manifest'] : ['manifest', 'tree'];
      const shown = { findings: printableValue(findings), versions, hasLockfile, parts };
      printText(render({ ...shown, bundle: bundle && printable(bundle.path) }, wantsColor(process.stdout)));
    }
    const color = wantsColor(process.stderr);
    printError(problems.map(problem => renderRefusal(problem, { color })).join(''));
    return agrees ? EXIT.good : EXIT.drift;
  } finally {
    await session.registry.close();
  }
}

function report(
  findings: readonly CheckFinding[],
  problems: readonly Error[],
  versions: number,
  requests: number,
): object {
  return {
    schemaVersion: 1,
    findings: findings.map(({ error, needsSignature, ...finding }) => ({
      ...finding,
      ...(needsSignature === undefined ? {} : { governed: needsSignature }),
      ...(error === undefined ? {} : { error: errorJson(error) }),
    })),
    ...(problems.length === 0 ? {} : { errors: problems.map(errorJson) }),
    totals: { versions, findings: findings.length, requests },
  };
}

function isOfVersion(finding: CheckFinding): finding is VersionFinding {
  return 'name' in finding;
}

function subjectOf(finding: CheckFinding): string {
  return isOfVersion(finding) ? `${finding.name} ${finding.version}` : finding.path;
}

interface Shown {
  readonly findings: readonly CheckFinding[];
  readonly versions: number;
  readonly hasLockfile: boolean;
  readonly parts: readonly string[];
  /** The path of --from. */
  readonly bundle: string | undefined;
}

function render({ findings, versions, hasLockfile, parts, bundle }: Shown, color: boolean): string {
  const [manifest, tree] = parts;
  const paint = pc.createColors(color);
  const untold = findings.filter(({ kind }) => kind === 'untold').length;
  const differences = findings.length - untold;
  const source = bundle === undefined ? 'registry' : 'bundle';
  const registry = untold === 0 ? ` and ${source}` : ` and ${source} (except for ${untold} whose HEAD has no digest)`;
  // Without a lockfile, --lock-only has compared nothing with the registry.
  const isBlind = tree === undefined && !hasLockfile;
  const compared = [manifest, ...(hasLockfile ? ['lockfile'] : []), ...(tree === undefined ? [] : [tree])];
  const agreement = `${compared.join(', ')}${registry} agree${hasLockfile ? '' : '; there is no lockfile'}`;
  // A registry that is down is reported once, not for each of its tags.
  const groups = groupBy(findings, finding => {
    const { kind, detail, error } = finding;
    if (kind === 'unreachable') return `${kind} ${error === undefined ? subjectOf(finding) : causeKeyOf(error)}`;
    return kind === 'untold' ? kind : JSON.stringify([kind, subjectOf(finding), detail]);
  });
  const lines = groups.flatMap(group => {
    const [first] = group;
    if (first === undefined) return [];
    const names = listed(group.map(subjectOf));
    return [`${paint.yellow(first.kind.padEnd(11))} ${names}  ${first.detail}`];
  });
  const head = isBlind
    ? `${paint.red('✗')} ${plural(versions, 'version')}: there is no lockfile to compare with the registry`
    : differences === 0
      ? `${paint.green('✓')} ${plural(versions, 'version')}: ${agreement}`
      : `${paint.red('✗')} ${plural(differences, 'difference')} in ${plural(versions, 'version')}`;
  return `${[...lines, head, ...remedies(findings, bundle).map(words => `  ${paint.cyan('→')} ${words}`)].join('\n')}\n`;
}

const FIXED_BY_SYNC: ReadonlySet<CheckFinding['kind']> = new Set(['missing', 'damaged', 'stale', 'unlocked']);

/** Returns a remedy for each kind of finding. A sync without options neither follows a moved tag nor removes anything. */
function remedies(findings: readonly CheckFinding[], bundle: string | undefined): string[] {
  const sync = bundle === undefined ? 'plugin-mirror sync' : `plugin-mirror sync --from ${bundle}`;
  const has = (...kinds: readonly CheckFinding['kind'][]) => findings.some(({ kind }) => kinds.includes(kind));
  const foreign = findings.flatMap(it => it.foreign ?? []);
  const namesOf = (wanted: CheckFinding['kind']) => [
    ...new Set(findings.flatMap(it => (it.kind === wanted && isOfVersion(it) ? [it.name] : []))),
  ];
  const [gone, moved] = [namesOf('gone'), namesOf('moved')];
  const fixed = findings.filter(it => FIXED_BY_SYNC.has(it.kind) && it.foreign === undefined && !it.unreadable);
  return [
    ...(foreign.length > 0
      ? [`sync leaves alone what it did not publish: move ${listed(foreign)} away by hand, then run ${sync}.`]
      : []),
    ...(findings.some(it => it.unreadable)
      ? ['A file that this user may not read may be intact: give this user read permission, then check again.']
      : []),
    ...(fixed.length === 0
      ? []
      : fixed.some(it => it.needsSignature)
        ? [
            `${sync} brings the tree and the lockfile in line, as far as the signatures satisfy the policy; sync --dry-run lists those that do not.`,
          ]
        : [`${sync} brings the tree and the lockfile in line.`]),
    ...(findings.some(it => it.inBase)
      ? ['Load the bundle that the delta was made from (--since) first, or use a whole bundle.']
      : []),
    ...(bundle !== undefined && gone.length + moved.length > 0
      ? ['The manifest asks for other images than the bundle has: make the bundle again from this manifest.']
      : []),
    ...(bundle === undefined && moved.length > 0
      ? [`plugin-mirror sync --update ${moved.join(' ')} takes the images that the tags lead to now.`]
      : []),
    ...(has('extra') ? [`${sync} --prune removes versions that the manifest no longer names.`] : []),
    ...(bundle === undefined && gone.length > 0
      ? [
          `A tag that is gone may have been renamed: plugin-mirror sync --dry-run --only ${gone.join(' ')} suggests the nearest existing tags.`,
        ]
      : []),
    ...(has('unknown') ? ['plugin-mirror never touches unknown files: move them out of the tree.'] : []),
    ...(has('unreachable')
      ? ['Tags that could not be checked may have moved: make the registry reachable, then check again.']
      : []),
  ];
}
