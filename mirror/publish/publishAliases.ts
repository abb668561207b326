import { Refusal } from '../../base/refusal.ts';
import type { Publishing } from '../../tree/publish/openPublisher.ts';
import { inspectVersion } from '../../tree/version/inspectVersion.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { SyncListener } from '../events.ts';
import type { WantedAlias } from '../manifest/wanted.ts';
import { versionKey } from '../report.ts';
import type { Done } from './publishVersion.ts';

export class AliasTargetFailed extends Refusal {
  readonly code = 'ALIAS_TARGET_FAILED';
}

/** Publishes the second paths of what was published; one that stands as it should is left alone. */
export async function publishAliases(
  aliases: readonly WantedAlias[],
  versions: readonly Done[],
  publishing: Publishing,
  onEvent: SyncListener,
  signal: AbortSignal,
): Promise<Done[]> {
  const targets = new Map(versions.map(done => [versionKey(done.outcome), done]));
  const done: Done[] = [];
  for (const alias of aliases) {
    const target = targets.get(`${alias.name}/${alias.target}`);
    if (signal.aborted || target === undefined) continue;
    const result = await publishAlias(alias, target, publishing, signal).catch(error => failed(alias, target, error));
    done.push(result);
    onEvent({ type: 'finished', outcome: result.outcome });
  }
  return done;
}

async function publishAlias(
  alias: WantedAlias,
  target: Done,
  publishing: Publishing,
  signal: AbortSignal,
): Promise<Done> {
  if (target.metadata === undefined) throw targetFailed(alias, target.outcome.error);
  const { stamps, treeDir } = publishing;
  const present = await inspectVersion(treeDir, alias.name, alias.version, { stamps, signal });
  const stands = present.state === 'sound' && isAliasOf(present.metadata, target.metadata);
  return linked(alias, stands ? present.metadata : await publishing.publishAlias(target.metadata, alias.version));
}

/** An alias that stands in the tree. */
export function linked(alias: WantedAlias, metadata: PublishedVersion): Done {
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
      warnings: [],
    },
  };
}

/** Everything but the version is the target's. */
export function isAliasOf(alias: PublishedVersion, target: PublishedVersion): boolean {
  if (alias.aliasOf !== target.version) return false;
  const { aliasOf: _, ...rest } = alias;
  return canonical({ ...rest, version: target.version }) === canonical(target);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort())
      : part,
  );
}

/** The refusal of an alias whose target could not be had, or cannot be. */
export function targetFailed(alias: WantedAlias, cause: Error | undefined): AliasTargetFailed {
  return new AliasTargetFailed(`${versionKey(alias)} stands for version ${alias.target}, which could not be mirrored`, {
    subject: versionKey(alias),
    expected: `a published ${alias.name}/${alias.target}`,
    hint: `Mend ${alias.name}/${alias.target}; the alias follows by itself.`,
    consequenceOf: cause,
  });
}

function failed(alias: WantedAlias, target: Done, error: unknown): Done {
  const { name, version } = alias;
  const { reference } = target.outcome;
  const reason = error instanceof Error ? error : new Error(String(error));
  return {
    outcome: { name, version, status: 'failed', aliasOf: alias.target, reference, error: reason, warnings: [] },
  };
}
