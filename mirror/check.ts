import pMap from 'p-map';
import { formatReference } from '../registry/reference.ts';
import type { Registry } from '../registry/registry.ts';
import { inspectVersion } from '../tree/inspectVersion.ts';
import { listVersions } from '../tree/listVersions.ts';
import { readVersion } from '../tree/readVersion.ts';
import type { Stamps } from '../tree/stamps.ts';
import { hashLocal } from './ask.ts';
import { isFrom } from './lock/compareTree.ts';
import type { HeldVersions } from './lock/heldVersions.ts';
import type { PluginManifest, WantedVersion } from './manifest/wanted.ts';
import { type Held, isHeldModule, isVouched, type Present } from './plan.ts';
import { versionKey } from './report.ts';
import { asListed, listedMetadata } from './survey.ts';

/**
 * - `missing`: not in the tree; `damaged`: there, but not as it was published
 * - `stale`: another image than the lock holds, or one that no lock says was verified under today's signature policy
 * - `moved`: the tag leads to another digest than the lock (without a lock: the tree) holds
 * - `unlocked`: the lock does not have it, or has it from another place
 * - `extra`: in the tree or the lock, not in the manifest
 * - `gone`: the registry has no such tag (any more)
 * - `unreachable`: its tag could not be asked
 */
export type FindingKind = 'missing' | 'damaged' | 'stale' | 'moved' | 'unlocked' | 'extra' | 'gone' | 'unreachable';

export interface CheckFinding {
  readonly kind: FindingKind;
  readonly name: string;
  readonly version: string;
  /** In words, for people. */
  readonly detail: string;
  readonly expectedDigest?: string;
  readonly foundDigest?: string;
  /** Paths below the tree where something stands that sync leaves alone: it has to be moved away by hand. */
  readonly foreign?: readonly string[];
  readonly error?: Error;
}

export interface CheckOptions {
  /** The whole list, with the registry's place as it is to be asked. */
  readonly manifest: PluginManifest;
  readonly treeDir: string;
  readonly held: HeldVersions;
  readonly registry: () => Promise<Registry>;
  readonly stamps?: Stamps;
  readonly rehash?: boolean;
  /** Tags asked at once. */
  readonly concurrency: number;
  readonly signal: AbortSignal;
}

/** Holds manifest, lock, tree and registry against each other. One HEAD per tag; changes nothing. */
export async function check(options: CheckOptions): Promise<CheckFinding[]> {
  const { manifest, concurrency, signal } = options;
  const listed = await listedMetadata(options.treeDir);
  const found = { concurrency, signal };
  const changes = new Map(options.held.comparison.changed.map(it => [versionKey(it.wanted), it.words]));
  const known = { ...options, listed, changes };
  const ofVersions = await pMap(manifest.versions, wanted => checkVersion(wanted, known), found);
  const ofAliases = await pMap(manifest.aliases, alias => checkAlias(alias, listed, options), found);
  return [...ofVersions.flat(), ...ofAliases.flat(), ...(await findExtras(options))];
}

function ofCatalog(
  name: string,
  version: string,
  present: Present,
  listed: ReadonlyMap<string, string>,
): CheckFinding[] {
  if (present.state !== 'sound') return [];
  const isListed = listed.has(`${name}/${version}`) && asListed(present, listed).state === 'sound';
  return isListed ? [] : [{ kind: 'damaged', name, version, detail: 'it is not what the tree’s index.json lists' }];
}

/** What is worked out once for all versions. */
interface Known extends CheckOptions {
  /** As listedMetadata gives it. */
  readonly listed: ReadonlyMap<string, string>;
  /** By version key, in words: entries of the lock that are from another place than the manifest's. */
  readonly changes: ReadonlyMap<string, string>;
}

async function checkVersion(wanted: WantedVersion, options: Known): Promise<CheckFinding[]> {
  const { treeDir, held, listed, changes } = options;
  const { name, version } = wanted;
  const present = await inspectVersion(treeDir, name, version, inspection(options));
  const locked = held.locked(wanted);
  const findings = [
    ...ofPresence(name, version, present, locked).map(finding => ({
      ...finding,
      detail:
        wanted.signatures === undefined
          ? finding.detail
          : `${finding.detail}; sync fetches it only if its signature satisfies the manifest’s policy`,
    })),
    ...ofCatalog(name, version, present, listed),
    ...(wanted.source.kind === 'file'
      ? await ofFile(wanted, wanted.source, present, options)
      : await ofTag(wanted, present, locked?.digest, options)),
  ];
  if (present.state === 'sound' && !isVouched(wanted, present.metadata, locked))
    findings.push({
      kind: 'stale',
      name,
      version,
      detail: 'no lock says that its signature was verified under the manifest’s policy',
    });
  const change = changes.get(versionKey(wanted));
  if (change !== undefined) findings.push({ kind: 'unlocked', name, version, detail: change });
  else if (held.exists && !held.agreeing.has(versionKey(wanted)))
    findings.push({ kind: 'unlocked', name, version, detail: 'in the manifest, not in the lock' });
  return findings;
}

function ofPresence(name: string, version: string, present: Present, locked: Held | undefined): CheckFinding[] {
  if (present.state === 'missing') return [{ kind: 'missing', name, version, detail: 'not in the tree' }];
  if (present.state === 'damaged') {
    const { problems, foreign } = present;
    return [
      { kind: 'damaged', name, version, detail: problems.join('; '), ...(foreign === undefined ? {} : { foreign }) },
    ];
  }
  const foundDigest = present.metadata.digest;
  if (locked === undefined) return [];
  if (foundDigest !== locked.digest) {
    const detail = `the tree has ${foundDigest}, the lock holds ${locked.digest}`;
    return [{ kind: 'stale', name, version, detail, expectedDigest: locked.digest, foundDigest }];
  }
  if (locked.module === undefined || isHeldModule(locked.module, present.metadata)) return [];
  const detail = `the tree has a plugin.wasm of sha256 ${present.metadata.sha256}, the lock holds another or from another layer (${locked.module.sha256})`;
  return [{ kind: 'stale', name, version, detail }];
}

/** A local file is what it is now. */
async function ofFile(
  { name, version }: WantedVersion,
  { path, written }: { readonly path: string; readonly written: string },
  present: Present,
  { signal }: CheckOptions,
): Promise<CheckFinding[]> {
  if (present.state !== 'sound') return [];
  const expectedDigest = await hashLocal(path, signal);
  const foundDigest = present.metadata.digest;
  if (foundDigest === expectedDigest) return [];
  const { reference } = present.metadata;
  const detail =
    reference === `file:${written}`
      ? `${written} has changed since`
      : `the tree has it from ${reference}, the manifest names file:${written}`;
  return [{ kind: 'stale', name, version, detail, expectedDigest, foundDigest }];
}

async function ofTag(
  wanted: WantedVersion,
  present: Present,
  locked: string | undefined,
  { registry, changes, signal }: Known,
): Promise<CheckFinding[]> {
  const { name, version, source } = wanted;
  if (source.kind === 'file') return [];
  const metadata = present.state === 'sound' ? present.metadata : undefined;
  const expectedDigest = locked ?? metadata?.digest;
  try {
    const foundDigest = source.reference.digest ?? (await (await registry()).resolve(source.reference, signal));
    if (expectedDigest === undefined || foundDigest === expectedDigest) return [];
    const named = formatReference(source.reference);
    const isRenamed = changes.has(versionKey(wanted));
    if (metadata !== undefined && (isRenamed || source.reference.digest !== undefined || !isFrom(metadata, named))) {
      const detail = `the tree has it from ${metadata.reference} (${metadata.digest}), the manifest names ${named}, another image`;
      return [{ kind: 'stale', name, version, detail, expectedDigest: foundDigest, foundDigest: metadata.digest }];
    }
    const detail = `its tag has moved from ${expectedDigest} to ${foundDigest}`;
    return [{ kind: 'moved', name, version, detail, expectedDigest, foundDigest }];
  } catch (error) {
    signal.throwIfAborted();
    const reason = error instanceof Error ? error : new Error(String(error));
    const { goneOf } = await import('./gone.ts');
    if (goneOf(error) !== undefined) {
      const detail = `the registry has no ${formatReference(source.reference)}`;
      return [{ kind: 'gone', name, version, detail, error: reason }];
    }
    return [{ kind: 'unreachable', name, version, detail: reason.message, error: reason }];
  }
}

async function checkAlias(
  { name, version, target }: { readonly name: string; readonly version: string; readonly target: string },
  listed: ReadonlyMap<string, string>,
  options: CheckOptions,
): Promise<CheckFinding[]> {
  const present = await inspectVersion(options.treeDir, name, version, inspection(options));
  if (present.state !== 'sound') return ofPresence(name, version, present, undefined);
  if (present.metadata.aliasOf === target) {
    const real = await readVersion(options.treeDir, name, target);
    if (real !== undefined && real.sha256 !== present.metadata.sha256)
      return [{ kind: 'stale', name, version, detail: `it is not what ${target} is now` }];
    return ofCatalog(name, version, present, listed);
  }
  const was =
    present.metadata.aliasOf === undefined ? 'a version of its own' : `an alias of ${present.metadata.aliasOf}`;
  return [{ kind: 'stale', name, version, detail: `in the tree it is ${was}, in the manifest an alias of ${target}` }];
}

async function findExtras({ manifest, treeDir, held }: CheckOptions): Promise<CheckFinding[]> {
  const named = new Set([...manifest.versions, ...manifest.aliases].map(versionKey));
  const inTree = (await listVersions(treeDir)).filter(it => !named.has(versionKey(it)));
  const places = new Map<string, CheckFinding>();
  for (const [place, versions] of [
    ['tree', inTree],
    ['lock', held.comparison.removed],
  ] as const)
    for (const { name, version } of versions) {
      const key = versionKey({ name, version });
      const where = places.has(key) ? 'in the tree and the lock' : `in the ${place}`;
      places.set(key, { kind: 'extra', name, version, detail: `${where}, not in the manifest` });
    }
  return [...places.values()];
}

function inspection({ stamps, rehash, signal }: CheckOptions) {
  return { signal, ...(stamps === undefined ? {} : { stamps }), ...(rehash === undefined ? {} : { rehash }) };
}
