import type { CatalogVersion } from '../../../tree/catalog/catalog.ts';
import type { SpecFile } from '../documents/specFile.ts';

/** What a version has that the one before has not, and the reverse. */
export interface VersionChanges {
  readonly since: string;
  readonly sizeBytes: number;
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** `0.2.0 → 0.2.1`; absent if both have the same ABI. */
  readonly abi?: string;
  readonly sameModule: boolean;
}

/** Compares two versions and the keys of their configuration, where both have a spec.yaml that can be read. */
export function changesBetween(
  before: { readonly version: CatalogVersion; readonly spec: SpecFile | undefined },
  after: { readonly version: CatalogVersion; readonly spec: SpecFile | undefined },
): VersionChanges {
  const [old, now] = [keysOf(before.spec), keysOf(after.spec)];
  const [from, to] = [before.version.abi, after.version.abi];
  return {
    since: before.version.version,
    sizeBytes: after.version.sizeBytes - before.version.sizeBytes,
    added: old === undefined || now === undefined ? [] : [...now].filter(key => !old.has(key)),
    removed: old === undefined || now === undefined ? [] : [...old].filter(key => !now.has(key)),
    ...(from === to ? {} : { abi: `${from ?? '?'} → ${to ?? '?'}` }),
    sameModule: before.version.sha256 === after.version.sha256,
  };
}

function keysOf(spec: SpecFile | undefined): ReadonlySet<string> | undefined {
  if (spec === undefined || spec.fault !== undefined) return undefined;
  return new Set([...(spec.config?.rows ?? []), ...(spec.routeConfig?.rows ?? [])].map(({ key }) => key));
}
