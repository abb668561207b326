import { similar } from '../../../base/nearest.ts';
import { MODULE_FILE } from '../../../tree/names.ts';
import { type NearestVersion, nearestVersion } from '../../../tree/nearestVersion.ts';
import { type HigressRequests, requestedBy } from '../../higressRequests.ts';
import type { TreeView } from '../../view/treeView.ts';
import { linesFor } from '../catalog/catalogPage.ts';

const MOST_NAMES = 5;
const MOST_CONSUMERS = 30;

/** Why a path leads nowhere, and what makes it lead somewhere. */
export interface MissingReason {
  /**
   * - placeholder: the path has `${name}` or `${version}` as it is: the pattern was not expanded.
   * - plugin, version, file: the first part of the path that does not exist.
   * - path: the path is not below /plugins/.
   * - served: the path exists now.
   */
  readonly kind: 'placeholder' | 'plugin' | 'version' | 'file' | 'path' | 'served';
  readonly name?: string;
  readonly version?: string;
  /** Plugins with similar names, if this one does not exist. */
  readonly nearest: readonly string[];
  /** Versions of the plugin that exist. */
  readonly versions: readonly string[];
  /** Files of the version that exist. */
  readonly files: readonly string[];
  /** The existing version that is nearest to the requested one; where the plugin does not exist, that of the first in `nearest`. */
  readonly nearestVersion?: string;
  /** Whether it is the requested version, written differently, such as `2.0.3` for `v2.0.3`. */
  readonly isSameVersion?: true;
  /** The path of the same file of that version, else of its module. */
  readonly nearestPath?: string;
  /** The line of manifest.json that adds the version. */
  readonly manifestLines: readonly string[];
  /** The releases of Higress that request this version. */
  readonly requestedBy: readonly string[];
}

/** @param path decoded, without the base path */
export function explainMissing(view: TreeView, path: string, higress: HigressRequests | undefined): MissingReason {
  const nothing = { nearest: [], versions: [], files: [], manifestLines: [], requestedBy: [] };
  if (view.files.has(path)) return { kind: 'served', ...nothing };
  if (/\$+(?:\{|name|version)|\{\{?\s*(?:name|version)/.test(path)) return { kind: 'placeholder', ...nothing };
  const [top, name, version, ...rest] = path.split('/').filter(part => part !== '');
  if (top !== 'plugins' || name === undefined) return { kind: 'path', ...nothing };
  const plugin = view.catalog.plugins.find(candidate => candidate.name === name);
  const known = plugin?.versions.find(candidate => candidate.version === version);
  if (plugin !== undefined && known !== undefined)
    return {
      ...nothing,
      kind: 'file',
      name,
      version: known.version,
      versions: plugin.versions.map(each => each.version),
      files: known.files.map(file => file.name),
    };
  const names = view.catalog.plugins.map(candidate => candidate.name);
  const nearest = plugin === undefined ? similar(name, names).slice(0, MOST_NAMES) : [];
  const asked = version === undefined || higress === undefined ? [] : requestedBy(higress, name, version);
  // A name that neither a release nor the tree knows is probably a slip, for which no line helps.
  const isModule = version !== undefined && rest.length === 1 && rest[0] === MODULE_FILE;
  const isReal = asked.length > 0 || plugin !== undefined || nearest.length === 0;
  const versions = plugin?.versions.map(each => each.version) ?? [];
  const near = version === undefined ? undefined : nearestVersion(version, versions);
  const meant = plugin === undefined && version !== undefined ? sameVersionOf(view, nearest[0], version) : undefined;
  const wanted = { name, version: version ?? '', ...(near?.isSame ? { sameAs: near.version } : {}) };
  return {
    kind: plugin === undefined ? 'plugin' : 'version',
    name,
    ...(version === undefined ? {} : { version }),
    nearest,
    ...(near === undefined ? {} : nearestFile(view, name, near, rest.join('/'))),
    ...(meant === undefined ? {} : nearestFile(view, nearest[0] ?? '', meant, rest.join('/'))),
    versions,
    files: [],
    manifestLines: isModule && isReal ? linesFor(higress, view, [wanted]) : [],
    requestedBy: asked.slice(0, MOST_CONSUMERS),
  };
}

/** Another plugin is offered only where it has the requested version. */
function sameVersionOf({ catalog }: TreeView, name: string | undefined, version: string): NearestVersion | undefined {
  const versions = catalog.plugins.find(plugin => plugin.name === name)?.versions ?? [];
  const near = nearestVersion(
    version,
    versions.map(each => each.version),
  );
  return near?.isSame ? near : undefined;
}

function nearestFile(
  { files }: TreeView,
  name: string,
  { version, isSame }: NearestVersion,
  file: string,
): Pick<MissingReason, 'nearestVersion' | 'isSameVersion' | 'nearestPath'> {
  const path = [file, MODULE_FILE].map(each => `/plugins/${name}/${version}/${each}`).find(each => files.has(each));
  return {
    nearestVersion: version,
    ...(isSame ? { isSameVersion: true } : {}),
    ...(path === undefined ? {} : { nearestPath: path }),
  };
}
