import { resolve } from 'node:path';
import process from 'node:process';
import pc from 'picocolors';
import { Refusal } from '../../base/refusal.ts';
import { check } from '../../mirror/check/check.ts';
import type { CheckFinding, VersionFinding } from '../../mirror/check/checkFinding.ts';
import { plural } from '../../mirror/json/problem.ts';
import { LazyRegistry } from '../../mirror/lazyRegistry.ts';
import { missingLock } from '../../mirror/lockfile/frozen.ts';
import { type HeldVersions, readHeldVersions } from '../../mirror/lockfile/lockedVersions.ts';
import { readPluginManifest, withRegistry } from '../../mirror/manifest/readManifest.ts';
import { versionKey } from '../../mirror/report.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { TreeDiskFull } from '../../tree/errors.ts';
import { requireSpace } from '../../tree/freeSpace.ts';
import { openStamps } from '../../tree/stamps.ts';
import { EXIT } from '../exit.ts';
import { openerOf } from '../options/openerOf.ts';
import type { RegistryFlags } from '../options/registryFlags.ts';
import { wantsColor } from '../render/colors.ts';
import { listed } from '../render/failures.ts';
import { errorJson } from '../render/jsonErrors.ts';
import { renderRefusal } from '../render/refusal.ts';

export interface CheckFlags extends RegistryFlags {
  readonly manifest: string;
  readonly out: string;
  readonly rehash?: boolean;
  readonly format: 'text' | 'json';
}

export interface CheckRun {
  readonly flags: CheckFlags;
  /** True on a build machine, where sync wants a lock. */
  readonly ci: boolean;
  readonly registryOptions: RegistryOptions;
  readonly stampsFile: string;
  readonly signal: AbortSignal;
}

/** `plugin-mirror check`, once its arguments are read; answers the exit code. */
export async function runCheck({ flags, ci, registryOptions, stampsFile, signal }: CheckRun): Promise<number> {
  const list = await readPluginManifest(flags.manifest);
  const platform = flags.platform === undefined ? {} : { platform: flags.platform };
  const held = await readHeldVersions({ list, frozen: false, update: false, signal, ...platform });
  const registry = new LazyRegistry(
    openerOf(list, { ...registryOptions, headsOnly: true }, flags.registry),
    () => undefined,
  );
  try {
    const findings = await check({
      manifest: flags.registry === undefined ? list : withRegistry(list, flags.registry),
      treeDir: resolve(flags.out),
      held,
      registry: () => registry.get(),
      stamps: await openStamps(stampsFile, resolve(flags.out)),
      ...platform,
      rehash: flags.rehash ?? false,
      concurrency: flags.concurrency * 4,
      signal,
    });
    const unlocked = ci && !held.exists ? [missingLock(held.path, true)] : [];
    const problems = [...unlocked, ...(await lackOfSpace(findings, held, resolve(flags.out)))];
    const versions = list.versions.length + list.aliases.length;
    if (flags.format === 'json')
      process.stdout.write(
        `${JSON.stringify(report(findings, problems, versions, registry.traffic.requests), null, 2)}\n`,
      );
    else process.stdout.write(render(findings, versions, held.exists, wantsColor(process.stdout)));
    process.stderr.write(
      problems.map(problem => renderRefusal(problem, { color: wantsColor(process.stderr) })).join(''),
    );
    return unlocked.length === 0 && findings.every(({ kind }) => kind === 'untold') ? EXIT.good : EXIT.drift;
  } finally {
    await registry.close();
  }
}

/** Of what is to be fetched the lock knows the sizes: whether there is room for it can be told without asking anybody. */
async function lackOfSpace(findings: readonly CheckFinding[], held: HeldVersions, treeDir: string): Promise<Error[]> {
  const keys = new Set(findings.filter(isOfVersion).flatMap(it => (FETCHED.has(it.kind) ? [versionKey(it)] : [])));
  const sizes = [...keys].map(key => held.agreeing.get(key)?.sizeBytes ?? 0);
  try {
    await requireSpace(
      treeDir,
      sizes.reduce((sum, size) => sum + size, 0),
    );
    return [];
  } catch (error) {
    if (error instanceof TreeDiskFull) return [error];
    throw error;
  }
}

const FETCHED: ReadonlySet<CheckFinding['kind']> = new Set(['missing', 'damaged', 'stale']);

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

function render(findings: readonly CheckFinding[], versions: number, hasLock: boolean, color: boolean): string {
  const paint = pc.createColors(color);
  const untold = findings.filter(({ kind }) => kind === 'untold').length;
  const differences = findings.length - untold;
  const registry = untold === 0 ? ' and registry' : ` and what the registry tells to HEAD (not of ${untold})`;
  const lock = hasLock ? `manifest, lock, tree${registry} agree` : `manifest, tree${registry} agree; there is no lock`;
  // A registry that is down is told once, not for each of its tags.
  const groups = new Map<string, CheckFinding[]>();
  for (const finding of findings) {
    const { kind, detail } = finding;
    const key =
      kind === 'unreachable'
        ? `${kind} ${hostFault(finding)}`
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
      ? `${paint.green('✓')} ${plural(versions, 'version')}: ${lock}`
      : `${paint.red('✗')} ${plural(differences, 'difference')} in ${plural(versions, 'version')}`;
  return `${[...lines, head, ...remedies(findings).map(words => `  ${paint.cyan('→')} ${words}`)].join('\n')}\n`;
}

const MENDED_BY_SYNC: ReadonlySet<CheckFinding['kind']> = new Set(['missing', 'damaged', 'stale', 'unlocked']);

/** What one registry fails of; each tag's message names the tag, too. */
function hostFault(finding: CheckFinding): string {
  const { error } = finding;
  if (!(error instanceof Refusal)) return subjectOf(finding);
  const host = error.subject?.split('/')[0] ?? '';
  return `${error.code} ${host} ${error.hint}`;
}

/** What to do about each kind that was found; a plain sync neither takes a moved tag nor removes anything. */
function remedies(findings: readonly CheckFinding[]): string[] {
  const has = (...kinds: readonly CheckFinding['kind'][]) => findings.some(({ kind }) => kinds.includes(kind));
  const foreign = findings.flatMap(it => it.foreign ?? []);
  const namesOf = (wanted: CheckFinding['kind']) => [
    ...new Set(findings.flatMap(it => (it.kind === wanted && isOfVersion(it) ? [it.name] : []))),
  ];
  const [gone, moved] = [namesOf('gone'), namesOf('moved')];
  const mended = findings.filter(it => MENDED_BY_SYNC.has(it.kind) && it.foreign === undefined && !it.unreadable);
  return [
    ...(foreign.length > 0
      ? [
          `sync leaves alone what it did not publish: move ${listed(foreign)} away by hand, then run plugin-mirror sync.`,
        ]
      : []),
    ...(findings.some(it => it.unreadable)
      ? ['What may not be read may be sound: give this user the right to read it, then check again.']
      : []),
    ...(mended.length === 0
      ? []
      : mended.some(it => it.governed)
        ? [
            'plugin-mirror sync brings the tree and the lock in line, as far as the signatures satisfy the policy; sync --dry-run says which do not.',
          ]
        : ['plugin-mirror sync brings the tree and the lock in line.']),
    ...(moved.length > 0 ? [`plugin-mirror sync --update ${moved.join(' ')} takes what the tags lead to now.`] : []),
    ...(has('extra') ? ['plugin-mirror sync --prune removes what the manifest no longer names.'] : []),
    ...(gone.length > 0
      ? [
          `A tag that is gone may have been renamed: plugin-mirror sync --dry-run --only ${gone.join(' ')} names the nearest that there are.`,
        ]
      : []),
    ...(has('unknown') ? ['What is unknown is never touched by plugin-mirror: move it out of the tree.'] : []),
    ...(has('unreachable')
      ? ['What could not be asked may have moved: mend the way to the registry, then check again.']
      : []),
  ];
}
