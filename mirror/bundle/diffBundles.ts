import type { Digest } from '../../base/digest.ts';
import { nameOf, SUBJECT } from '../../layout/layoutIndex.ts';
import { byNameThenVersion, type ServedModule } from '../coverage/served.ts';
import { readLockfile } from '../lockfile/lockfile.ts';
import { versionKey } from '../report.ts';
import { isJson } from './base.ts';
import { modulesOf } from './bundledModules.ts';
import { openBundle } from './openBundle.ts';

/** A version of a plugin in one of two bundles. */
export interface DiffRow {
  readonly name: string;
  readonly version: string;
  /** Another version of the plugin, whose bytes these are. */
  readonly aliasOf?: string;
  /** `HOST/REPOSITORY:TAG`, or the path of a local module. */
  readonly from?: string;
  /** Of the image's manifest; of a local module, of its bytes. */
  readonly digest?: string;
}

/** The difference between two bundles, as the receiver of the newer one sees it. */
export interface BundleDiff {
  readonly old: string;
  readonly new: string;
  readonly added: readonly DiffRow[];
  /** Versions that lead to another image than before. */
  readonly changed: readonly (DiffRow & { readonly oldDigest?: string })[];
  readonly removed: readonly DiffRow[];
  readonly unchanged: number;
  /** Blobs that are only in the newer bundle, and their bytes. Absent if one of both is a lockfile. */
  readonly blobs?: { readonly count: number; readonly sizeBytes: number };
  /** Signatures and other referrers that only the newer bundle names. Absent if one of both is a lockfile. */
  readonly referrers?: number;
  /** If the newer one is a delta: versions that it leaves to its base, and that the older one does not have. */
  readonly lacking: readonly DiffRow[];
}

interface Side {
  readonly isLockfile: boolean;
  readonly modules: readonly ServedModule[];
  readonly requires: ReadonlySet<string>;
  readonly sizes: ReadonlyMap<Digest, number>;
  /** Digests of signatures and other referrers. */
  readonly referrers: ReadonlySet<string>;
}

/**
 * Compares two bundles, or the lockfiles of bundles. Reads no blob but the documents of both.
 * @throws as openBundle, and the lockfile's refusals
 */
export async function diffBundles(oldPath: string, newPath: string): Promise<BundleDiff> {
  const [before, after] = [await readSide(oldPath), await readSide(newPath)];
  const isBundles = !before.isLockfile && !after.isLockfile;
  // Aliases are in manifests only.
  const compared = ({ modules }: Side): Map<string, ServedModule> =>
    new Map(
      modules
        .filter(({ aliasOf }) => isBundles || aliasOf === undefined)
        .sort(byNameThenVersion)
        .map(module => [versionKey(module), module]),
    );
  const [olds, news] = [compared(before), compared(after)];
  const common = [...news].flatMap(([key, module]) => {
    const old = olds.get(key);
    return old === undefined ? [] : [{ module, old }];
  });
  const changed = common.filter(({ module, old }) => digestOf(module) !== digestOf(old));
  const brought = [...after.sizes].filter(([digest]) => !before.sizes.has(digest));
  const known = new Set(before.modules.map(digestOf));
  return {
    old: oldPath,
    new: newPath,
    added: [...news].filter(([key]) => !olds.has(key)).map(([, module]) => rowOf(module)),
    changed: changed.map(({ module, old }) => {
      const oldDigest = digestOf(old);
      return { ...rowOf(module), ...(oldDigest === undefined ? {} : { oldDigest }) };
    }),
    removed: [...olds].filter(([key]) => !news.has(key)).map(([, module]) => rowOf(module)),
    unchanged: common.length - changed.length,
    ...(isBundles
      ? {
          blobs: { count: brought.length, sizeBytes: brought.reduce((sum, [, size]) => sum + size, 0) },
          referrers: [...after.referrers].filter(digest => !before.referrers.has(digest)).length,
        }
      : {}),
    lacking: [...news.values()]
      .filter(({ aliasOf, digest = '' }) => aliasOf === undefined && after.requires.has(digest) && !known.has(digest))
      .map(rowOf),
  };
}

async function readSide(path: string): Promise<Side> {
  const empty = { requires: new Set<string>(), sizes: new Map(), referrers: new Set<string>() };
  if (await isJson(path)) {
    const entries = (await readLockfile(path))?.entries ?? [];
    const modules = entries.map((entry): ServedModule => {
      const { name, version, sha256, sizeBytes } = entry;
      const from = entry.kind === 'image' ? entry.reference : entry.file;
      return { name, version, from, sha256, sizeBytes, ...(entry.kind === 'image' ? { digest: entry.digest } : {}) };
    });
    return { ...empty, isLockfile: true, modules };
  }
  const bundle = await openBundle(path);
  try {
    const { layout, requires } = bundle;
    const sizes = new Map<Digest, number>();
    for (const digest of await layout.digests()) sizes.set(digest, (await layout.sizeOf(digest)) ?? 0);
    const { modules } = await modulesOf(bundle, path);
    const attached = layout.index.entries.filter(
      entry => entry.annotations?.[SUBJECT] !== undefined || /\.sig$/.test(nameOf(entry) ?? ''),
    );
    return { isLockfile: false, modules, requires, sizes, referrers: new Set(attached.map(({ digest }) => digest)) };
  } finally {
    await bundle.close();
  }
}

function digestOf({ digest, sha256 }: ServedModule): string | undefined {
  return digest ?? (sha256 === undefined ? undefined : `sha256:${sha256}`);
}

function rowOf(module: ServedModule): DiffRow {
  const { name, version, aliasOf, from } = module;
  const digest = digestOf(module);
  return {
    name,
    version,
    ...(aliasOf === undefined ? {} : { aliasOf }),
    ...(from === undefined ? {} : { from }),
    ...(digest === undefined ? {} : { digest }),
  };
}
