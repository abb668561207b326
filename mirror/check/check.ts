import pMap from 'p-map';
import { formatReference } from '../../registry/reference.ts';
import { TreeUnreadable } from '../../tree/errors.ts';
import { foreignInTheWay } from '../../tree/publish/ownership.ts';
import { inspectVersion } from '../../tree/version/inspectVersion.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { readVersion } from '../../tree/version/readVersion.ts';
import { differences, falseFacts } from '../lockfile/compareTree.ts';
import { type Held, isHeldModule } from '../lockfile/held.ts';
import { hashLocal } from '../manifest/localFile.ts';
import { isFrom, originOf } from '../manifest/origin.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import { isVouched, type Present } from '../plan/plan.ts';
import { asListed, metadataHashes, otherPlatform } from '../plan/survey.ts';
import { versionKey } from '../report.ts';
import type { CheckFinding, CheckOptions, VersionFinding } from './checkFinding.ts';
import { checkTree, oldCatalog } from './checkTree.ts';

/** Holds manifest, lock, tree and registry against each other. One HEAD per tag; changes nothing. @throws CatalogNewer */
export async function check(options: CheckOptions): Promise<CheckFinding[]> {
  const { manifest, concurrency, signal } = options;
  const catalog = await oldCatalog(options.treeDir);
  const listed = typeof catalog === 'string' ? undefined : metadataHashes(catalog);
  const found = { concurrency, signal };
  const changes = new Map(options.held.comparison.changed.map(it => [versionKey(it.wanted), it.words]));
  const sound: PublishedVersion[] = [];
  const known = { ...options, listed, changes, sound };
  const ofVersions = await pMap(manifest.versions, wanted => checkVersion(wanted, known), found);
  const ofAliases = await pMap(manifest.aliases, alias => checkAlias(alias, known), found);
  const ofList = [...ofVersions.flat(), ...ofAliases.flat()];
  return [...ofList, ...(await checkTree(options, catalog, sound, ofList))];
}

function ofCatalog(
  name: string,
  version: string,
  present: Present,
  listed: ReadonlyMap<string, string> | undefined,
): VersionFinding[] {
  if (present.state !== 'sound' || listed === undefined) return [];
  const isListed = listed.has(`${name}/${version}`) && asListed(present, listed).state === 'sound';
  return isListed ? [] : [{ kind: 'damaged', name, version, detail: 'it is not what the tree’s index.json lists' }];
}

/** What is worked out once for all versions. */
interface Known extends CheckOptions {
  /** As metadataHashes gives it; undefined where there is no catalog to go by, which is a finding of its own. */
  readonly listed: ReadonlyMap<string, string> | undefined;
  /** By version key, in words: entries of the lock that are from another place than the manifest's. */
  readonly changes: ReadonlyMap<string, string>;
  /** Filled with what stands as its metadata.json says. */
  readonly sound: PublishedVersion[];
}

async function checkVersion(wanted: WantedVersion, options: Known): Promise<VersionFinding[]> {
  const { held, listed, changes } = options;
  const { name, version } = wanted;
  const locked = held.locked(wanted);
  const present = await look(name, version, options, locked?.module?.sha256);
  const findings: VersionFinding[] = [
    ...ofPresence(name, version, present, locked).map(finding => ({
      ...finding,
      detail:
        wanted.signatures === undefined
          ? finding.detail
          : `${finding.detail}; sync fetches it only if its signature satisfies the manifest’s policy`,
      ...(wanted.signatures === undefined ? {} : { governed: true }),
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
      governed: true,
    });
  const change = changes.get(versionKey(wanted));
  const entry = held.agreeing.get(versionKey(wanted));
  const other = present.state === 'sound' ? otherPlatform(present.metadata, options.platform) : undefined;
  // Of a locked one the lock tells.
  if (other !== undefined && change === undefined) findings.push({ kind: 'stale', name, version, detail: other });
  if (change !== undefined) findings.push({ kind: 'unlocked', name, version, detail: change });
  else if (held.exists && !held.agreeing.has(versionKey(wanted)))
    findings.push({ kind: 'unlocked', name, version, detail: 'in the manifest, not in the lock' });
  else if (entry !== undefined && present.state === 'sound' && !findings.some(({ kind }) => kind === 'stale')) {
    // The lock has the manifest's own names, `wanted` the place that --registry puts for them.
    const says = isFrom(present.metadata, originOf(wanted)) ? falseFacts : differences;
    for (const words of says(entry, present.metadata))
      findings.push({ kind: 'unlocked', name, version, detail: `it ${words}` });
  }
  return findings;
}

/** What stands in the tree, and what lies in the way of what should. */
async function look(name: string, version: string, options: Known, moduleSha256?: string): Promise<Looked> {
  const { treeDir, sound } = options;
  try {
    const present = await inspectVersion(treeDir, name, version, inspection(options));
    if (present.state === 'sound') sound.push(present.metadata);
    if (present.state !== 'damaged' || present.foreign !== undefined) return present;
    const foreign = await foreignInTheWay(treeDir, name, version, moduleSha256);
    if (foreign?.subject === undefined) return present;
    const problems = [...present.problems, `${foreign.subject} is ${foreign.found}`];
    return { ...present, problems, foreign: [foreign.subject] };
  } catch (error) {
    if (!(error instanceof TreeUnreadable)) throw error;
    return { state: 'damaged', problems: [error.message], unreadable: true };
  }
}

type Looked = Present & { readonly unreadable?: boolean };

function ofPresence(name: string, version: string, present: Looked, locked: Held | undefined): VersionFinding[] {
  if (present.state === 'missing') return [{ kind: 'missing', name, version, detail: 'not in the tree' }];
  if (present.state === 'damaged') {
    const { problems, foreign, unreadable } = present;
    const detail = problems.join('; ');
    const known = { ...(foreign === undefined ? {} : { foreign }), ...(unreadable ? { unreadable } : {}) };
    return [{ kind: 'damaged', name, version, detail, ...known }];
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
): Promise<VersionFinding[]> {
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
): Promise<VersionFinding[]> {
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
      const detail =
        metadata.reference === named
          ? `the tree has ${metadata.digest} from ${named}, which is ${foundDigest} now`
          : `the tree has it from ${metadata.reference} (${metadata.digest}), the manifest names ${named}, another image`;
      return [{ kind: 'stale', name, version, detail, expectedDigest: foundDigest, foundDigest: metadata.digest }];
    }
    const detail = `its tag has moved from ${expectedDigest} to ${foundDigest}`;
    return [{ kind: 'moved', name, version, detail, expectedDigest, foundDigest }];
  } catch (error) {
    signal.throwIfAborted();
    const reason = error instanceof Error ? error : new Error(String(error));
    const { goneOf } = await import('../plan/registryAnswers.ts');
    if (goneOf(error) !== undefined) {
      const detail = `the registry has no ${formatReference(source.reference)}, says its answer to HEAD`;
      return [{ kind: 'gone', name, version, detail, error: reason }];
    }
    const { isHeadMute } = await import('../plan/registryAnswers.ts');
    if (isHeadMute(error)) {
      const detail = 'HEAD tells no digest, so whether its tag has moved is not known; sync asks by GET';
      return [{ kind: 'untold', name, version, detail }];
    }
    return [{ kind: 'unreachable', name, version, detail: reason.message, error: reason }];
  }
}

async function checkAlias(
  { name, version, target }: { readonly name: string; readonly version: string; readonly target: string },
  options: Known,
): Promise<VersionFinding[]> {
  const present = await look(name, version, options);
  if (present.state !== 'sound') return ofPresence(name, version, present, undefined);
  if (present.metadata.aliasOf === target) {
    const real = await readVersion(options.treeDir, name, target).catch(() => undefined);
    if (real !== undefined && real.sha256 !== present.metadata.sha256)
      return [{ kind: 'stale', name, version, detail: `it is not what ${target} is now` }];
    return ofCatalog(name, version, present, options.listed);
  }
  const was =
    present.metadata.aliasOf === undefined ? 'a version of its own' : `an alias of ${present.metadata.aliasOf}`;
  return [{ kind: 'stale', name, version, detail: `in the tree it is ${was}, in the manifest an alias of ${target}` }];
}

function inspection({ stamps, rehash, signal }: CheckOptions) {
  return { signal, ...(stamps === undefined ? {} : { stamps }), ...(rehash === undefined ? {} : { rehash }) };
}
