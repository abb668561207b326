import pMap from 'p-map';
import { canonicalJson } from '../../base/canonicalJson.ts';
import { Refusal } from '../../base/refusal.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { WantedAlias } from '../manifest/wanted.ts';
import { versionKey } from '../report.ts';
import { obstacleTo } from './images.ts';
import type { ReadableTree, SyncJob } from './job.ts';
import type { AliasStep, VersionStep } from './plan.ts';
import { damageOf, inspect, type Present, servable } from './survey.ts';

/** An alias fails because its target does: a consequence of `cause`, never a fault of its own. */
export class AliasTargetFailed extends Refusal {
  readonly code = 'ALIAS_TARGET_FAILED';
  /** Of the target, `NAME/VERSION`. */
  readonly target: string;

  constructor(alias: WantedAlias, cause: Error | undefined) {
    const target = `${alias.name}/${alias.target}`;
    super(`${versionKey(alias)} is an alias of version ${alias.target}, which could not be mirrored`, {
      subject: versionKey(alias),
      expected: `a published ${target}`,
      hint: `Fix ${target}; the next sync publishes its aliases as well.`,
      consequenceOf: cause,
    });
    this.target = target;
  }
}

/** Decides what becomes of each alias, from the steps of its target and its own copy in the tree. @throws TreeFault */
export function planAliases(
  { selection, limits }: SyncJob,
  versions: readonly VersionStep[],
  tree: ReadableTree,
  signal: AbortSignal,
): Promise<AliasStep[]> {
  const targets = new Map(versions.map(step => [versionKey(step.wanted), step]));
  return pMap(
    selection.aliases,
    async alias => {
      const present = await inspect(tree, alias, { signal });
      const step = decideAlias(alias, targets.get(`${alias.name}/${alias.target}`), present);
      if (step.action !== 'alias') return step;
      const error = await obstacleTo(tree.treeDir, alias);
      return error === undefined ? step : { action: 'fail', alias, error, copy: step.copy };
    },
    { concurrency: limits.files, signal },
  );
}

function decideAlias(alias: WantedAlias, target: VersionStep | undefined, present: Present): AliasStep {
  const copy = servable(present);
  const fail = (error: Error): AliasStep => ({ action: 'fail', alias, error, copy });
  const link = (because: string): AliasStep => ({ action: 'alias', alias, because, copy });
  if (target === undefined || target.action === 'fail') return fail(new AliasTargetFailed(alias, target?.error));
  if (present.state === 'missing') return link('not in the tree');
  if (present.state === 'damaged')
    return present.inaccessible === undefined ? link(damageOf(present)) : fail(present.inaccessible);
  const { metadata } = present;
  if (metadata.aliasOf !== alias.target)
    return link(`was ${metadata.aliasOf === undefined ? 'a version of its own' : `→ ${metadata.aliasOf}`}`);
  const isCurrent = target.action === 'keep' && target.origin === undefined && isAliasOf(metadata, target.metadata);
  return isCurrent ? { action: 'keep', alias, copy: metadata } : link(`follows ${alias.target}`);
}

/** True if an alias' metadata is its target's, except for the version. */
export function isAliasOf(alias: PublishedVersion, target: PublishedVersion): boolean {
  if (alias.aliasOf !== target.version) return false;
  const { aliasOf: _, ...rest } = alias;
  return canonicalJson({ ...rest, version: target.version }) === canonicalJson(target);
}
