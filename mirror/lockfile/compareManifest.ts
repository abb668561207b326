import { formatReference } from '../../registry/reference.ts';
import type { PluginManifest, WantedVersion } from '../manifest/wanted.ts';
import { versionKey } from '../report.ts';
import type { Lockfile, LockfileEntry } from './lockfile.ts';

/** A manifest compared with a lockfile. The lists are in the manifest's order, `removed` is in the lockfile's. */
export interface LockfileComparison {
  readonly agreeing: readonly { readonly wanted: WantedVersion; readonly locked: LockfileEntry }[];
  /** In the manifest, not in the lockfile. */
  readonly added: readonly WantedVersion[];
  /** In the lockfile, not in the manifest. */
  readonly removed: readonly LockfileEntry[];
  /** In both, with different references. `words` says how, e.g. `ai-proxy 2.0.1: locked as A, the manifest asks for B`. */
  readonly changed: readonly {
    readonly wanted: WantedVersion;
    readonly locked: LockfileEntry;
    readonly words: string;
  }[];
}

/**
 * Compares a manifest with a lockfile; pure. Of a local file only the path is compared: its bytes are compared when they are
 * read. The manifest must have its own references, not those of --registry.
 */
export function compareLockfile(manifest: PluginManifest, lockfile: Lockfile): LockfileComparison {
  const entries = new Map(lockfile.entries.map(entry => [versionKey(entry), entry]));
  const wanted = new Set(manifest.versions.map(versionKey));
  const agreeing: { wanted: WantedVersion; locked: LockfileEntry }[] = [];
  const added: WantedVersion[] = [];
  const changed: { wanted: WantedVersion; locked: LockfileEntry; words: string }[] = [];
  for (const version of manifest.versions) {
    const locked = entries.get(versionKey(version));
    if (locked === undefined) added.push(version);
    else {
      const words = differenceOf(version, locked);
      if (words === undefined) agreeing.push({ wanted: version, locked });
      else changed.push({ wanted: version, locked, words });
    }
  }
  return { agreeing, added, removed: lockfile.entries.filter(entry => !wanted.has(versionKey(entry))), changed };
}

function differenceOf(wanted: WantedVersion, locked: LockfileEntry): string | undefined {
  const was = locked.kind === 'file' ? `file ${locked.file}` : locked.reference;
  const is = wanted.source.kind === 'file' ? `file ${wanted.source.written}` : formatReference(wanted.source.reference);
  if (was !== is) return `${wanted.name} ${wanted.version}: locked as ${was}, the manifest asks for ${is}`;
  const pin = wanted.source.kind === 'image' ? wanted.source.reference.digest : undefined;
  if (pin === undefined || locked.kind === 'file' || locked.digest === pin) return undefined;
  return `${wanted.name} ${wanted.version}: locked at ${locked.digest}, the manifest pins ${pin}`;
}
