import pMap from 'p-map';
import type { Registry } from '../../registry/registry.ts';
import { TreeDiskFull, TreeUnreadable } from '../../tree/errors.ts';
import { requireSpace } from '../../tree/freeSpace.ts';
import { foreignInTheWay, foreignRootFiles } from '../../tree/publish/ownership.ts';
import type { Stamps } from '../../tree/stamps.ts';
import { inspectVersion } from '../../tree/version/inspectVersion.ts';
import type { WantedAlias } from '../manifest/wanted.ts';
import type { PlanStep, Present } from '../plan/plan.ts';
import { neededBytes, type Prepared } from '../plan/prepare.ts';
import { barred } from '../plan/survey.ts';
import { isAliasOf, targetFailed } from '../publish/publishAliases.ts';
import { versionKey } from '../report.ts';

export interface ForeseeOptions {
  readonly aliases: readonly WantedAlias[];
  readonly treeDir: string;
  readonly registry: () => Promise<Registry>;
  readonly stamps?: Stamps;
  /** Images whose signatures are verified at once. */
  readonly questions: number;
  readonly signal: AbortSignal;
}

/** What would become of an alias. */
export type AliasStep =
  | { readonly action: 'keep'; readonly alias: WantedAlias }
  /** `because` says in words what stands there now. */
  | { readonly action: 'alias'; readonly alias: WantedAlias; readonly because: string }
  | { readonly action: 'fail'; readonly alias: WantedAlias; readonly error: Error };

export interface Foreseen {
  /** The plan, in which a fetch whose signature would be refused, or in whose way something lies, is a failure. */
  readonly prepared: Prepared;
  readonly aliases: readonly AliasStep[];
  /** What the run as a whole would meet: a disk that is too small, something foreign in the place of the catalog. */
  readonly problems: readonly Error[];
}

/** Takes a plan as far as it can be carried without a blob of a plugin and without a byte written. */
export async function foresee(planned: Prepared, options: ForeseeOptions): Promise<Foreseen> {
  const { questions, signal, treeDir } = options;
  const steps = await pMap(
    planned.plan.steps,
    async step => withRoom(await withModule(await withSignature(step, planned, options)), treeDir),
    { concurrency: questions, signal },
  );
  const failed = new Set(steps.filter(({ action }) => action === 'fail').map(({ wanted }) => versionKey(wanted)));
  const images = new Map([...planned.images].filter(([key]) => !failed.has(key)));
  const prepared = { images, plan: { ...planned.plan, steps } };
  const targets = new Map(steps.map(step => [versionKey(step.wanted), step]));
  const aliases = await pMap(
    options.aliases,
    alias => aliasStep(alias, targets.get(`${alias.name}/${alias.target}`), options),
    { concurrency: 8, signal },
  );
  const problems: Error[] = await foreignRootFiles(treeDir);
  await requireSpace(treeDir, neededBytes(prepared)).catch((error: unknown) => {
    if (!(error instanceof TreeDiskFull)) throw error;
    problems.push(error);
  });
  return { prepared, aliases, problems };
}

async function withSignature(step: PlanStep, { images }: Prepared, options: ForeseeOptions): Promise<PlanStep> {
  const found = images.get(versionKey(step.wanted));
  const policy = step.wanted.signatures;
  if (step.action !== 'fetch' || policy === undefined || found === undefined) return step;
  const { signal } = options;
  try {
    const { verifySignatures } = await import('../signatures/verifySignatures.ts');
    await verifySignatures(policy, found.image, found.reference, await options.registry(), signal);
    return step;
  } catch (error) {
    signal.throwIfAborted();
    return { action: 'fail', wanted: step.wanted, error: error instanceof Error ? error : new Error(String(error)) };
  }
}

/** A local file can be looked into before it is taken. */
async function withModule(step: PlanStep): Promise<PlanStep> {
  const { wanted } = step;
  if (step.action !== 'fetch' || wanted.source.kind !== 'file') return step;
  const { inspectModule } = await import('../extract/module/inspectModule.ts');
  try {
    await inspectModule(wanted.source.path, `${wanted.name} ${wanted.version}`, 'built');
    return step;
  } catch (error) {
    return { action: 'fail', wanted, error: error instanceof Error ? error : new Error(String(error)) };
  }
}

/** What lies in the way of a version fails it, before anything of it travels. */
async function withRoom(step: PlanStep, treeDir: string): Promise<PlanStep> {
  if (step.action !== 'fetch') return step;
  const { wanted, module } = step;
  const error = await foreignInTheWay(treeDir, wanted.name, wanted.version, module?.sha256).catch(unreadable);
  return error === undefined ? step : { action: 'fail', wanted, error };
}

/** What would become of an alias, if nothing lies in its way. */
async function aliasStep(
  alias: WantedAlias,
  target: PlanStep | undefined,
  options: ForeseeOptions,
): Promise<AliasStep> {
  const step = await plannedAlias(alias, target, options);
  if (step.action !== 'alias') return step;
  const error = await foreignInTheWay(options.treeDir, alias.name, alias.version).catch(unreadable);
  return error === undefined ? step : { action: 'fail', alias, error };
}

/** A folder that may not be looked into is in the way, too. */
function unreadable(error: unknown): TreeUnreadable {
  if (error instanceof TreeUnreadable) return error;
  throw error;
}

async function plannedAlias(
  alias: WantedAlias,
  target: PlanStep | undefined,
  { treeDir, stamps, signal }: ForeseeOptions,
): Promise<AliasStep> {
  if (target === undefined || target.action === 'fail')
    return { action: 'fail', alias, error: targetFailed(alias, target?.error) };
  const present: Present = await inspectVersion(treeDir, alias.name, alias.version, {
    signal,
    ...(stamps === undefined ? {} : { stamps }),
  }).catch(barred);
  if (present.state === 'missing') return { action: 'alias', alias, because: 'not in the tree' };
  if (present.state === 'damaged' && present.barred !== undefined)
    return { action: 'fail', alias, error: present.barred };
  if (present.state === 'damaged') return { action: 'alias', alias, because: present.problems.join('; ') };
  const { aliasOf } = present.metadata;
  if (aliasOf !== alias.target)
    return {
      action: 'alias',
      alias,
      because: `was ${aliasOf === undefined ? 'a version of its own' : `→ ${aliasOf}`}`,
    };
  const stands = target.action === 'keep' && isAliasOf(present.metadata, target.metadata);
  return stands ? { action: 'keep', alias } : { action: 'alias', alias, because: `follows ${alias.target}` };
}
