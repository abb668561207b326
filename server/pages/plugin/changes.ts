import type { CatalogVersion } from '../../../tree/catalog.ts';
import type { SpecFile } from '../documents/specFile.ts';

/** The differences between a version and the one before it. */
export interface VersionChanges {
  readonly since: string;
  readonly sizeBytes: number;
  /** Keys of the configuration. */
  readonly keys: Difference;
  /** Names that the modules export. */
  readonly exports: Difference;
  /** `0.2.0 → 0.2.1`; absent if both have the same ABI. */
  readonly abi?: string;
  readonly sameModule: boolean;
}

interface Difference {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

export interface ComparedVersion {
  readonly version: CatalogVersion;
  readonly spec: SpecFile;
  /** Undefined if the module cannot be read. */
  readonly exports: ReadonlySet<string> | undefined;
}

/** Compares two versions. Keys are compared if both have a spec.yaml that can be read, exports if both modules can. */
export function changesBetween(before: ComparedVersion, after: ComparedVersion): VersionChanges {
  const [from, to] = [before.version.abi, after.version.abi];
  return {
    since: before.version.version,
    sizeBytes: after.version.sizeBytes - before.version.sizeBytes,
    keys: difference(keysOf(before.spec), keysOf(after.spec)),
    exports: difference(before.exports, after.exports),
    ...(from === to ? {} : { abi: `${from ?? '?'} → ${to ?? '?'}` }),
    sameModule: before.version.sha256 === after.version.sha256,
  };
}

function difference(old: ReadonlySet<string> | undefined, now: ReadonlySet<string> | undefined): Difference {
  if (old === undefined || now === undefined) return { added: [], removed: [] };
  return { added: [...now].filter(name => !old.has(name)), removed: [...old].filter(name => !now.has(name)) };
}

function keysOf({ fault, config, routeConfig }: SpecFile): ReadonlySet<string> | undefined {
  if (fault !== undefined) return undefined;
  return new Set([...(config?.rows ?? []), ...(routeConfig?.rows ?? [])].map(({ key }) => key));
}
