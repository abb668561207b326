import { closest } from 'fastest-levenshtein';
import type { Catalog } from '../tree/catalog.ts';

/** Why there is nothing at a path, and what there is instead. */
export interface NotFound {
  readonly message: string;
  readonly plugin?: string;
  /** Of that plugin. */
  readonly versions?: readonly string[];
  /** Of that version. */
  readonly files?: readonly string[];
  /** Of the tree, if no plugin was recognised. */
  readonly plugins?: readonly string[];
}

/** `path` is decoded, below the base path. */
export function explainNotFound(catalog: Catalog, path: string): NotFound {
  const [top, name, version] = path.split('/').filter(part => part !== '');
  const names = catalog.plugins.map(plugin => plugin.name);
  if (top !== 'plugins' || name === undefined)
    return {
      message: 'Nothing is served at this path. Plugins are at /plugins/<name>/<version>/plugin.wasm.',
      plugins: names,
    };
  const plugin = catalog.plugins.find(candidate => candidate.name === name);
  if (plugin === undefined) {
    const nearest = names.length === 0 ? '' : ` The nearest name is ${closest(name, names)}.`;
    return { message: `There is no plugin "${name}" here.${nearest}`, plugins: names };
  }
  const versions = plugin.versions.map(known => known.version);
  const found = plugin.versions.find(known => known.version === version);
  if (found === undefined)
    return { message: `There is no version "${version ?? ''}" of ${name} here.`, plugin: name, versions };
  const files = found.files.map(file => file.name);
  return { message: `There is no such file in ${name} ${found.version}.`, plugin: name, versions, files };
}

export function notFoundText({ message, versions, files, plugins }: NotFound): string {
  const lines = [message];
  if (versions !== undefined) lines.push(`Versions: ${versions.join(', ')}`);
  if (files !== undefined) lines.push(`Files: ${files.join(', ')}`);
  if (plugins !== undefined) lines.push(`Plugins: ${plugins.join(', ')}`);
  return `${lines.join('\n')}\n`;
}
