import { similar } from '../../base/nearest.ts';
import type { Catalog } from '../../tree/catalog/catalog.ts';

const MOST_NAMES = 5;

/** Explains a 404: what does not exist, and what exists instead. */
export interface NotFound {
  readonly message: string;
  readonly plugin?: string;
  /** All versions of that plugin. */
  readonly versions?: readonly string[];
  /** All files of that version. */
  readonly files?: readonly string[];
  /** Names that may have been meant, if no plugin was recognised. */
  readonly nearest?: readonly string[];
  /** How many plugins there are, if none was recognised and none is near; /plugins/ lists them. */
  readonly pluginCount?: number;
}

/** `path`: decoded, without the base path. */
export function explainNotFound(catalog: Catalog, path: string): NotFound {
  const [top, name, version] = path.split('/').filter(part => part !== '');
  const names = catalog.plugins.map(plugin => plugin.name);
  if (top !== 'plugins' || name === undefined)
    return {
      message: 'Nothing is served at this path. Plugins are at /plugins/<name>/<version>/plugin.wasm.',
      ...countOf(names),
    };
  const plugin = catalog.plugins.find(candidate => candidate.name === name);
  if (plugin === undefined) {
    const message = `There is no plugin "${name}" here.`;
    const nearest = similar(name, names).slice(0, MOST_NAMES);
    return nearest.length === 0 ? { message, ...countOf(names) } : { message, nearest };
  }
  const versions = plugin.versions.map(known => known.version);
  const found = plugin.versions.find(known => known.version === version);
  if (found === undefined)
    return { message: `There is no version "${version ?? ''}" of ${name} here.`, plugin: name, versions };
  const files = found.files.map(file => file.name);
  return { message: `There is no such file in ${name} ${found.version}.`, plugin: name, versions, files };
}

export function notFoundText({ message, versions, files, nearest, pluginCount }: NotFound): string {
  const lines = [message];
  if (versions !== undefined) lines.push(`Versions: ${versions.join(', ')}`);
  if (files !== undefined) lines.push(`Files: ${files.join(', ')}`);
  if (nearest !== undefined) lines.push(`Did you mean ${nearest.join(', ')}?`);
  if (pluginCount !== undefined)
    lines.push(`There ${pluginCount === 1 ? 'is 1 plugin' : `are ${pluginCount} plugins`} here; /plugins/ lists them.`);
  return `${lines.join('\n')}\n`;
}

function countOf(names: readonly string[]): Pick<NotFound, 'pluginCount'> {
  return { pluginCount: names.length };
}
