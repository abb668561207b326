import { realpath } from 'node:fs/promises';
import { isCatalogUnchanged } from '../../tree/catalog/differingFiles.ts';
import { openStamps, type Stamps } from '../../tree/stamps.ts';
import { inspectVersion } from '../../tree/version/inspectVersion.ts';
import type { WantedAlias } from '../manifest/wanted.ts';
import { prepare } from '../plan/prepare.ts';
import { barred } from '../plan/survey.ts';
import { isAliasOf, linked } from '../publish/publishAliases.ts';
import { gatherCatalog, namedIn, pinnedIn } from '../publish/publishCatalog.ts';
import { isSettled } from '../publish/publishVariants.ts';
import { type Done, keepVersion } from '../publish/publishVersion.ts';
import { versionKey } from '../report.ts';
import type { SyncedReport, SyncOptions } from './syncOptions.ts';

/**
 * The report of a frozen run that has nothing to write: every version, alias, compressed form and the catalog stand as they
 * are to be. undefined if anything is missing, or if the run was to ask tags. For a tree that cannot be written to (a
 * read-only mount): it has no other writer from here, so it is read without its lock.
 */
export async function reportStanding(options: SyncOptions): Promise<SyncedReport | undefined> {
  const { manifest, tags = true, stampsFile, codings = [], prune = false, signal, onEvent } = options;
  const treeDir = await realpath(options.treeDir).catch(() => undefined);
  if (tags || treeDir === undefined) return undefined;
  const stamps = await openStamps(stampsFile, treeDir);
  const registry = () => Promise.reject(new Error('nothing is asked of a registry'));
  const { plan } = await prepare({ ...options, treeDir, registry, stamps, questions: 8, onEvent: () => undefined });
  const versions = plan.steps.flatMap(step => (step.action === 'keep' ? [keepVersion(step)] : []));
  if (versions.length < plan.steps.length) return undefined;
  if (versions.some(({ metadata }) => metadata === undefined || !isSettled(metadata, codings))) return undefined;
  const aliases = await standingAliases(manifest.aliases, versions, treeDir, stamps, signal);
  if (aliases === undefined) return undefined;
  const done = [...versions, ...aliases];
  const published = done.flatMap(({ metadata }) => metadata ?? []);
  const [named, pinned] = [namedIn(options), pinnedIn(options)];
  const selected = options.selected ?? (() => true);
  const settled = { settled: published, named, pinned, prune, inspect: true, failed: new Set<string>(), selected };
  const { entries, extras, doomed, left } = await gatherCatalog(treeDir, stamps, settled);
  if (doomed.length > 0 || !(await isCatalogUnchanged(treeDir, entries))) return undefined;
  for (const { outcome } of done) onEvent({ type: 'finished', outcome });
  return {
    tree: treeDir,
    outcomes: done.map(({ outcome }) => outcome),
    drift: plan.drift,
    extras,
    unverified: left.filter(options.unvouched ?? (() => false)).map(({ name, version }) => ({ name, version })),
    problems: [],
    interrupted: false,
    requests: 0,
    bytesDownloaded: 0,
    durationMs: 0,
    published,
  };
}

/** undefined if one of them is not as it is to be. */
async function standingAliases(
  aliases: readonly WantedAlias[],
  versions: readonly Done[],
  treeDir: string,
  stamps: Stamps,
  signal: AbortSignal,
): Promise<Done[] | undefined> {
  const targets = new Map(versions.map(done => [versionKey(done.outcome), done.metadata]));
  const done: Done[] = [];
  for (const alias of aliases) {
    const target = targets.get(`${alias.name}/${alias.target}`);
    const present = await inspectVersion(treeDir, alias.name, alias.version, { stamps, signal }).catch(barred);
    if (target === undefined || present.state !== 'sound' || !isAliasOf(present.metadata, target)) return undefined;
    done.push(linked(alias, present.metadata));
  }
  return done;
}
