import { asError } from '../../base/refusal.ts';
import type { Publishing } from '../../tree/publish/openPublisher.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { WantedAlias } from '../manifest/wanted.ts';
import { AliasTargetFailed, isAliasOf } from '../plan/aliases.ts';
import type { AliasStep } from '../plan/plan.ts';
import { versionKey } from '../report.ts';
import type { Session } from '../session.ts';
import type { Done } from './publishVersion.ts';

/** Publishes the aliases of what was published. A copy that is its target's already is left alone. */
export async function publishAliases(
  steps: readonly AliasStep[],
  versions: readonly Done[],
  publishing: Publishing,
  { signal, onEvent }: Session,
): Promise<Done[]> {
  const targets = new Map(versions.map(done => [versionKey(done.outcome), done]));
  const done: Done[] = [];
  for (const step of steps) {
    const target = targets.get(`${step.alias.name}/${step.alias.target}`);
    if (signal.aborted || target === undefined) continue;
    const result = await publishAlias(step, target, publishing).catch(error => failed(step.alias, target, error));
    done.push(result);
    onEvent({ type: 'finished', outcome: result.outcome });
  }
  return done;
}

async function publishAlias(step: AliasStep, target: Done, publishing: Publishing): Promise<Done> {
  const { alias } = step;
  if (target.metadata === undefined) throw new AliasTargetFailed(alias, target.outcome.error);
  if (step.action === 'fail') throw step.error;
  // The target may have changed since the plan was made: its origin, or its compressed forms.
  const isCurrent = step.action === 'keep' && isAliasOf(step.copy, target.metadata);
  if (isCurrent) return aliasOutcome(alias, step.copy, { unchanged: true });
  return aliasOutcome(alias, await publishing.publishAlias(target.metadata, alias.version));
}

/** The outcome of an alias that the tree has. */
export function aliasOutcome(
  alias: WantedAlias,
  metadata: PublishedVersion,
  changes: { readonly unchanged?: true } = {},
): Done {
  const { name, version, reference, digest, sha256, sizeBytes } = metadata;
  return {
    metadata,
    outcome: {
      name,
      version,
      status: 'aliased',
      aliasOf: alias.target,
      reference,
      digest,
      sha256,
      sizeBytes,
      ...changes,
      warnings: [],
    },
  };
}

function failed(alias: WantedAlias, target: Done, error: unknown): Done {
  const { name, version } = alias;
  const { reference } = target.outcome;
  const reason = asError(error);
  return {
    outcome: { name, version, status: 'failed', aliasOf: alias.target, reference, error: reason, warnings: [] },
  };
}
