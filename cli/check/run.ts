import process from 'node:process';
import pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { causeKeyOf } from '../../base/refusal.ts';
import { plural } from '../../base/words.ts';
import { type CheckFinding, check, checkLockfile, type VersionFinding } from '../../mirror/check/check.ts';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { Session } from '../../mirror/session.ts';
import { jobToInspect } from '../../mirror/sync/sync.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { EXIT } from '../exit.ts';
import { openerOf } from '../options/openerOf.ts';
import type { CheckFlags } from '../options/tables.ts';
import { wantsColor } from '../render/colors.ts';
import { listed } from '../render/failures.ts';
import { errorJson } from '../render/jsonErrors.ts';
import { print, printError, printJson } from '../render/print.ts';
import { renderRefusal } from '../render/refusal.ts';
import type { CiReport } from '../report/ciReport.ts';

export interface CheckRun {
  readonly flags: CheckFlags;
  /** True on a build machine, where sync requires a lockfile. */
  readonly ci: boolean;
  readonly registryOptions: RegistryOptions;
  readonly stampsFile: string | undefined;
  readonly signal: AbortSignal;
  /** Takes the report for CI. */
  readonly collect: (report: () => Promise<CiReport>) => void;
}

/** `plugin-mirror check`, once its arguments are read. Returns the exit code. */
export async function runCheck({ flags, ci, registryOptions, stampsFile, signal, collect }: CheckRun): Promise<number> {
  const { tree: dir, lock, registry, platform, rehash, concurrency } = flags;
  const manifest = await readPluginManifest(flags.manifest);
  const mode = ci ? 'frozen in CI' : 'renewed';
  const job = jobToInspect(manifest, { dir, stampsFile, lock, mode, registry, platform, rehash, concurrency });
  const openRegistry = openerOf(manifest, { ...registryOptions, headsOnly: true }, registry);
  const session = new Session({ openRegistry, signal });
  try {
    const checked = await (flags.lockOnly ? checkLockfile : check)(job, session);
    const { findings, problems, hasLockfile, agrees } = checked;
    const looked = flags.lockOnly ? manifest.versions : [...manifest.versions, ...manifest.aliases];
    const versions = looked.length;
    const subjects = looked.map(({ name, version }) => `${name} ${version}`);
    collect(async () => (await import('../report/ciReport.ts')).ofCheck(flags.manifest, subjects, checked));
    const { requests } = session.registry.traffic;
    if (flags.format === 'json') printJson(report(findings, problems, versions, requests));
    else if (!flags.quiet || !agrees) {
      const parts = flags.lockOnly ? ['manifest'] : ['manifest', 'tree'];
      print(render(printableValue(findings), versions, hasLockfile, parts, wantsColor(process.stdout)));
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
    findings: findings.map(({ error, ...finding }) => ({
      ...finding,
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

function render(
  findings: readonly CheckFinding[],
  versions: number,
  hasLockfile: boolean,
  [manifest, tree]: readonly string[],
  color: boolean,
): string {
  const paint = pc.createColors(color);
  const untold = findings.filter(({ kind }) => kind === 'untold').length;
  const differences = findings.length - untold;
  const registry = untold === 0 ? ' and registry' : ` and registry (except for ${untold} whose HEAD has no digest)`;
  const compared = [manifest, ...(hasLockfile ? ['lockfile'] : []), ...(tree === undefined ? [] : [tree])];
  const agreement = `${compared.join(', ')}${registry} agree${hasLockfile ? '' : '; there is no lockfile'}`;
  // A registry that is down is reported once, not for each of its tags.
  const groups = new Map<string, CheckFinding[]>();
  for (const finding of findings) {
    const { kind, detail } = finding;
    const key =
      kind === 'unreachable'
        ? `${kind} ${finding.error === undefined ? subjectOf(finding) : causeKeyOf(finding.error)}`
        : kind === 'untold'
          ? kind
          : JSON.stringify([kind, subjectOf(finding), detail]);
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  const lines = [...groups.values()].flatMap(group => {
    const [first] = group;
    if (first === undefined) return [];
    const names = listed(group.map(subjectOf));
    return [`${paint.yellow(first.kind.padEnd(11))} ${names}  ${first.detail}`];
  });
  const head =
    differences === 0
      ? `${paint.green('✓')} ${plural(versions, 'version')}: ${agreement}`
      : `${paint.red('✗')} ${plural(differences, 'difference')} in ${plural(versions, 'version')}`;
  return `${[...lines, head, ...remedies(findings).map(words => `  ${paint.cyan('→')} ${words}`)].join('\n')}\n`;
}

const FIXED_BY_SYNC: ReadonlySet<CheckFinding['kind']> = new Set(['missing', 'damaged', 'stale', 'unlocked']);

/** What to do about each kind that was found. A sync without options neither follows a moved tag nor removes anything. */
function remedies(findings: readonly CheckFinding[]): string[] {
  const has = (...kinds: readonly CheckFinding['kind'][]) => findings.some(({ kind }) => kinds.includes(kind));
  const foreign = findings.flatMap(it => it.foreign ?? []);
  const namesOf = (wanted: CheckFinding['kind']) => [
    ...new Set(findings.flatMap(it => (it.kind === wanted && isOfVersion(it) ? [it.name] : []))),
  ];
  const [gone, moved] = [namesOf('gone'), namesOf('moved')];
  const fixed = findings.filter(it => FIXED_BY_SYNC.has(it.kind) && it.foreign === undefined && !it.unreadable);
  return [
    ...(foreign.length > 0
      ? [
          `sync leaves alone what it did not publish: move ${listed(foreign)} away by hand, then run plugin-mirror sync.`,
        ]
      : []),
    ...(findings.some(it => it.unreadable)
      ? ['What this user may not read may be sound: give the right to read it, then check again.']
      : []),
    ...(fixed.length === 0
      ? []
      : fixed.some(it => it.governed)
        ? [
            'plugin-mirror sync brings the tree and the lockfile in line, as far as the signatures satisfy the policy; sync --dry-run lists those that do not.',
          ]
        : ['plugin-mirror sync brings the tree and the lockfile in line.']),
    ...(moved.length > 0
      ? [`plugin-mirror sync --update ${moved.join(' ')} takes the images that the tags lead to now.`]
      : []),
    ...(has('extra') ? ['plugin-mirror sync --prune removes versions that the manifest no longer names.'] : []),
    ...(gone.length > 0
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
