import { resolve } from 'node:path';
import process from 'node:process';
import pc from 'picocolors';
import { type AliasStep, foresee } from '../../mirror/dryRun/foresee.ts';
import { LazyRegistry } from '../../mirror/lazyRegistry.ts';
import { readHeldVersions } from '../../mirror/lockfile/lockedVersions.ts';
import { type KnownVersion, untrueLock } from '../../mirror/lockfile/untrue.ts';
import type { PluginManifest } from '../../mirror/manifest/wanted.ts';
import type { PlanStep } from '../../mirror/plan/plan.ts';
import { layerSizes, type Prepared, prepare } from '../../mirror/plan/prepare.ts';
import { selects } from '../../mirror/plan/selection.ts';
import { lostBeside } from '../../mirror/publish/extras.ts';
import { foreseePruning, gatherCatalog } from '../../mirror/publish/publishCatalog.ts';
import { type Extra, versionKey } from '../../mirror/report.ts';
import { TreeUnreadable } from '../../tree/errors.ts';
import { openStamps } from '../../tree/stamps.ts';
import { EXIT, failureOf } from '../exit.ts';
import { openerOf } from '../options/openerOf.ts';
import { wantsColor } from '../render/colors.ts';
import { renderDrifts } from '../render/drifts.ts';
import { listed, renderFailures } from '../render/failures.ts';
import { formatBytes } from '../render/format.ts';
import { errorJson } from '../render/jsonErrors.ts';
import { renderRefusal } from '../render/refusal.ts';
import { lockChoiceOf, type SyncRun } from './flags.ts';
import { renderWarnings } from './summary.ts';

/** `sync --dry-run`: the plan and what it would download; no folder, no lock and no cache is touched. */
export async function runDryRun(run: SyncRun, list: PluginManifest, manifest: PluginManifest): Promise<number> {
  const { flags, signal } = run;
  const { cacheDir: _, ...registryOptions } = run.registryOptions;
  const registry = new LazyRegistry(openerOf(list, registryOptions, flags.registry), () => undefined);
  try {
    const held = flags.lock
      ? await readHeldVersions({
          list,
          ...lockChoiceOf(run),
          ...(flags.platform === undefined ? {} : { platform: flags.platform }),
          signal,
        })
      : undefined;
    const stamps = await openStamps(run.stampsFile, resolve(flags.out));
    const planned = await prepare({
      manifest,
      treeDir: resolve(flags.out),
      registry: () => registry.get(),
      tags: held?.frozen !== true,
      rehash: flags.rehash ?? false,
      stamps,
      questions: flags.concurrency * 4,
      signal,
      onEvent: () => undefined,
      ...(held === undefined ? {} : { locked: held.locked, before: held.before }),
      ...(flags.platform === undefined ? {} : { platform: flags.platform }),
    });
    const { prepared, aliases, ...foreseen } = await foresee(planned, {
      aliases: manifest.aliases,
      treeDir: resolve(flags.out),
      registry: () => registry.get(),
      stamps,
      questions: flags.concurrency * 4,
      signal,
    });
    const named = new Set([...list.versions, ...list.aliases].map(versionKey));
    const problems = [...foreseen.problems];
    const gathering = gatherCatalog(resolve(flags.out), stamps, {
      settled: prepared.plan.steps.flatMap(step => (step.action === 'keep' ? [step.metadata] : [])),
      named,
      pinned: () => true,
      prune: flags.prune ?? false,
      failed: new Set([
        ...prepared.plan.steps.flatMap(step => (step.action === 'fail' ? [step.wanted.name] : [])),
        ...aliases.flatMap(step => (step.action === 'fail' ? [step.alias.name] : [])),
      ]),
      selected: selects(flags.only ?? []),
      inspect: true,
    });
    const { extras, doomed, lost } = await gathering.catch((error: unknown) => {
      if (!(error instanceof TreeUnreadable)) throw error;
      problems.push(error);
      return { extras: [], doomed: [], lost: [] };
    });
    problems.push(...lostBeside(lost, manifest));
    const untrue = held?.frozen ? untrueLock(knownIn(prepared), held) : undefined;
    if (untrue !== undefined) problems.push(untrue);
    const pruned = await foreseePruning(resolve(flags.out), doomed, stamps);
    const plan = { prepared, aliases, problems, extras: [...pruned, ...extras] };
    process.stdout.write(flags.format === 'json' ? `${JSON.stringify(planJson(plan), null, 2)}\n` : renderPlan(plan));
    const color = wantsColor(process.stderr);
    const failures = prepared.plan.steps.flatMap(step =>
      step.action === 'fail' ? [{ ...step.wanted, error: step.error }] : [],
    );
    process.stderr.write(
      [
        ...renderFailures(failures, pc.createColors(color)),
        ...problems.map(problem => renderRefusal(problem, { color }).trimEnd()),
      ]
        .map(line => `${line}\n`)
        .join(''),
    );
    const errors = [...prepared.plan.steps, ...aliases].flatMap(step => (step.action === 'fail' ? [step.error] : []));
    return failureOf([...errors, ...problems]) ?? EXIT.good;
  } finally {
    await registry.close();
  }
}

/** What the run would see of each version without a blob. */
function knownIn({ plan, images }: Prepared): KnownVersion[] {
  return plan.steps.flatMap(step => {
    const key = versionKey(step.wanted);
    const is = step.action === 'keep' ? step.metadata : step.action === 'fetch' ? images.get(key)?.image : undefined;
    return is === undefined ? [] : [{ key, is }];
  });
}

interface ShownPlan {
  readonly prepared: Prepared;
  readonly aliases: readonly AliasStep[];
  readonly problems: readonly Error[];
  /** `removed` is what --prune would remove. */
  readonly extras: readonly Extra[];
}

function bytesToDownload(prepared: Prepared): number {
  return [...layerSizes(prepared).values()].reduce((sum, size) => sum + size, 0);
}

function layersOf(step: PlanStep, { images }: Prepared): number {
  const layers = images.get(versionKey(step.wanted))?.image.manifest.layers ?? [];
  return layers.reduce((sum, layer) => sum + layer.size, 0);
}

function planJson({ prepared, aliases, problems, extras }: ShownPlan): object {
  const { steps, drift } = prepared.plan;
  const plugins = steps.map(step => {
    const { name, version } = step.wanted;
    if (step.action === 'keep') {
      const warnings = step.warnings.length === 0 ? {} : { warnings: step.warnings };
      return { name, version, action: 'keep', digest: step.metadata.digest, ...warnings };
    }
    if (step.action === 'fail') return { name, version, action: 'fail', error: errorJson(step.error) };
    const { digest, reason, because } = step;
    return { name, version, action: 'fetch', digest, reason, because, sizeBytes: layersOf(step, prepared) };
  });
  const linked = aliases.map(step => {
    const { name, version, target } = step.alias;
    if (step.action === 'keep') return { name, version, action: 'keep', aliasOf: target };
    if (step.action === 'fail') return { name, version, action: 'fail', aliasOf: target, error: errorJson(step.error) };
    return { name, version, action: 'alias', aliasOf: target, because: step.because };
  });
  const count = (action: string) => [...plugins, ...linked].filter(it => it.action === action).length;
  return {
    schemaVersion: 1,
    dryRun: true,
    plugins: [...plugins, ...linked],
    drift,
    extras: extras.map(({ removed, ...it }) => ({ ...it, action: removed ? 'remove' : 'leave' })),
    ...(problems.length === 0 ? {} : { errors: problems.map(errorJson) }),
    totals: {
      fetch: count('fetch'),
      keep: count('keep'),
      alias: count('alias'),
      fail: count('fail'),
      bytesToDownload: bytesToDownload(prepared),
    },
  };
}

function renderPlan({ prepared, aliases, extras }: ShownPlan): string {
  const paint = pc.createColors(wantsColor(process.stdout));
  const { steps, drift } = prepared.plan;
  const lines = steps.flatMap(step => {
    const subject = `${step.wanted.name} ${step.wanted.version}`;
    if (step.action === 'keep') return [];
    if (step.action === 'fail') return [`${paint.red('fail ')}  ${subject}  ${step.error.message}`];
    return [
      `${paint.green('fetch')}  ${subject}  ${formatBytes(layersOf(step, prepared))}  ${paint.dim(step.because)}`,
    ];
  });
  for (const step of aliases) {
    const subject = `${step.alias.name} ${step.alias.version} → ${step.alias.target}`;
    if (step.action === 'fail') lines.push(`${paint.red('fail ')}  ${subject}  ${step.error.message}`);
    if (step.action === 'alias') lines.push(`${paint.green('alias')}  ${subject}  ${paint.dim(step.because)}`);
  }
  const count = (action: string) => [...steps, ...aliases].filter(step => step.action === action).length;
  const warned = steps.flatMap(step => (step.action === 'keep' ? [{ ...step.wanted, warnings: step.warnings }] : []));
  const parts = [
    `${count('fetch')} to fetch`,
    `${count('keep')} to keep`,
    `${count('alias')} ${count('alias') === 1 ? 'alias' : 'aliases'}`,
    `${count('fail')} impossible`,
  ];
  return `${[
    ...lines,
    ...renderWarnings(warned, paint),
    ...renderDrifts(drift, paint),
    ...extras.map(it => `${paint.yellow(it.removed ? 'prune' : 'extra')}  ${it.name} ${it.version}  ${fateOf(it)}`),
    `${parts.join(', ')}; at most ${formatBytes(bytesToDownload(prepared))} to download. Nothing was touched.`,
  ].join('\n')}\n`;
}

function fateOf({ removed, kept, damage, unlisted, leftPaths }: Extra): string {
  const facts = [
    'not in the manifest',
    ...(kept === 'failed' ? ['kept, since a version of the same plugin fails'] : []),
    ...(kept === 'unselected' ? ['kept, since --only leaves it out'] : []),
    ...(damage === undefined ? [] : [`damaged (${damage})${unlisted ? ', so it leaves the catalog' : ''}`]),
    ...(leftPaths === undefined
      ? []
      : [`${removed ? 'some of it stays' : 'it stays'}, since it is not what was published: ${listed(leftPaths)}`]),
  ];
  return facts.join('; ');
}
