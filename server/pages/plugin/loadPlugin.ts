import type { CatalogPlugin, CatalogVersion } from '../../../tree/catalog/catalog.ts';
import type { HigressRequests } from '../../higressRequests.ts';
import { type PluginFacts, readDocument, SPEC_FILE } from '../catalog/facts.ts';
import type { Html } from '../site/html.ts';
import type { Language } from '../site/language.ts';
import type { Reader } from '../site/layout.ts';
import { changesBetween, type VersionChanges, versionBefore } from './changes.ts';
import { type PluginReadme, pluginBody } from './pluginPage.ts';
import { type ReadmeFile, readmesOf, renderReadme } from './readme.ts';
import { MOST_SPEC_BYTES, parseSpec, type SpecFile } from './specFile.ts';

const MOST_README_BYTES = 4 * 1024 * 1024;
/** Changes are shown for so many of the highest versions: each needs its spec.yaml. */
const MOST_COMPARED = 12;
const MOST_KEPT = 64;

export interface PluginQuery {
  readonly version: CatalogVersion;
  /** Of the README. */
  readonly language: Language;
}

/** Reads the documents of plugins for their pages. Parsed files are kept by their sha256. */
export class PluginLoader {
  readonly #rootOf: () => string;
  readonly #specs = new Map<string, SpecFile>();

  /** @param rootOf returns the folder of the tree */
  constructor(rootOf: () => string) {
    this.#rootOf = rootOf;
  }

  async pageBody(
    reader: Reader,
    facts: PluginFacts,
    { version, language }: PluginQuery,
    higress: HigressRequests | undefined,
  ): Promise<Html> {
    const { plugin } = facts;
    const readmes = readmesOf(version);
    const file = readmes.find(each => each.language === language) ?? readmes[0];
    const [spec, readme, changes] = await Promise.all([
      this.#spec(plugin, version),
      file && this.#readme(plugin, version, file),
      this.#changes(plugin),
    ]);
    return pluginBody(reader, { facts, version, spec, readme, readmes, changes, higress });
  }

  async #spec(plugin: CatalogPlugin, version: CatalogVersion): Promise<SpecFile> {
    const sha256 = version.files.find(({ name }) => name === SPEC_FILE)?.sha256 ?? '';
    const known = this.#specs.get(sha256);
    if (known !== undefined) return known;
    const read = await readDocument(this.#rootOf(), plugin.name, version, SPEC_FILE, MOST_SPEC_BYTES);
    if (!('text' in read)) return { fault: read.fault };
    const spec = parseSpec(read.text);
    this.#specs.set(sha256, spec);
    const [oldest] = this.#specs.keys();
    if (this.#specs.size > MOST_KEPT && oldest !== undefined) this.#specs.delete(oldest);
    return spec;
  }

  async #readme(plugin: CatalogPlugin, version: CatalogVersion, file: ReadmeFile): Promise<PluginReadme> {
    const read = await readDocument(this.#rootOf(), plugin.name, version, file.name, MOST_README_BYTES);
    return 'text' in read ? { ...file, ...renderReadme(read.text) } : { ...file, body: undefined, cut: false };
  }

  async #changes(plugin: CatalogPlugin): Promise<ReadonlyMap<CatalogVersion, VersionChanges>> {
    const changes = new Map<CatalogVersion, VersionChanges>();
    for (const version of plugin.versions.slice(-MOST_COMPARED)) {
      const before = version.aliasOf === undefined ? versionBefore(plugin, version) : undefined;
      if (before === undefined) continue;
      const [old, now] = [await this.#spec(plugin, before), await this.#spec(plugin, version)];
      changes.set(version, changesBetween({ version: before, spec: old }, { version, spec: now }));
    }
    return changes;
  }
}
