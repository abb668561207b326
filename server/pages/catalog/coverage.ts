import { MODULE_FILE } from '../../../tree/names.ts';
import type { HigressReleaseRequests, HigressRequests, RequestedVersion } from '../../higressRequests.ts';
import type { TreeView } from '../../view/treeView.ts';

/** How much of a Higress release a tree serves. */
export interface ReleaseCoverage {
  readonly release: string;
  readonly requested: number;
  readonly missing: readonly RequestedVersion[];
}

/** Compares the requests of a release with the paths of the tree. */
export function coverageOf(view: TreeView, { release, plugins }: HigressReleaseRequests): ReleaseCoverage {
  const missing = plugins.filter(({ name, version }) => !view.files.has(`/plugins/${name}/${version}/${MODULE_FILE}`));
  return { release, requested: plugins.length, missing };
}

/**
 * Returns the requests of a release of Higress Console by its name, or of all builds under that name: an image tag that was
 * rebuilt does not tell them apart. Undefined if the data has no such release.
 */
export function releaseNamed(higress: HigressRequests | undefined, name: string): HigressReleaseRequests | undefined {
  const builds = (higress?.releases ?? []).filter(({ release }) => release === name || release.startsWith(`${name}-`));
  if (builds.length === 0 || name === '') return undefined;
  const plugins = new Map<string, RequestedVersion>();
  for (const build of builds) for (const each of build.plugins) plugins.set(`${each.name} ${each.version}`, each);
  return { release: name, plugins: [...plugins.values()] };
}

/** Returns the lines of manifest.json that add these versions to those of the tree. */
export function linesFor(
  higress: HigressRequests | undefined,
  view: TreeView,
  missing: readonly RequestedVersion[],
): readonly string[] {
  const present = (name: string) => view.catalog.plugins.find(plugin => plugin.name === name)?.versions ?? [];
  return higress?.manifestLines(missing, present) ?? [];
}
