import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import type { CatalogPlugin, CatalogVersion } from '../../../tree/catalog.ts';
import type { HigressRequests } from '../../higressRequests.ts';
import type { PluginFacts } from '../catalog/facts.ts';
import type { Documents } from '../documents/documents.ts';
import { type ReadmeFile, readmesOf } from '../documents/readmeFiles.ts';
import type { DamagedVersions } from '../site/damage.ts';
import { Html } from '../site/html.ts';
import type { Reader } from '../site/layout.ts';
import type { Language } from '../site/words.ts';
import { type ComparedVersion, changesBetween, type VersionChanges } from './changes.ts';
import { type PluginReadme, pluginBody } from './pluginPage.ts';

/** Each row needs the spec.yaml and the exports of its version and of the one before. */
const VERSIONS_PER_PAGE = 20;

export interface PluginQuery {
  readonly version: CatalogVersion;
  /** Of the README. */
  readonly language: Language;
  /** Of the list of versions, from 1. */
  readonly page: number;
}

/** Reads the documents of plugins for their pages. */
export class PluginLoader {
  readonly #documents: Documents;

  constructor(documents: Documents) {
    this.#documents = documents;
  }

  async pageBody(
    reader: Reader,
    facts: PluginFacts,
    query: PluginQuery,
    higress: HigressRequests | undefined,
    damaged: DamagedVersions | undefined,
  ): Promise<Html> {
    const { plugin } = facts;
    const { version, language } = query;
    const pages = Math.ceil(plugin.versions.length / VERSIONS_PER_PAGE);
    const page = Math.min(query.page, pages);
    const rows = plugin.versions.toReversed().slice((page - 1) * VERSIONS_PER_PAGE, page * VERSIONS_PER_PAGE);
    const readmes = readmesOf(version);
    const file = readmes.find(each => each.language === language) ?? readmes[0];
    const [spec, readme, changes] = await Promise.all([
      this.#documents.spec(plugin.name, version),
      file && this.#readme(plugin, version, file),
      this.#changes(plugin, rows),
    ]);
    // Reading has used this turn of the event loop, and downloads must not wait for the rendering as well.
    await eventLoopTurn();
    return pluginBody(reader, { facts, version, spec, readme, readmes, rows, page, pages, changes, higress, damaged });
  }

  async #readme(plugin: CatalogPlugin, version: CatalogVersion, file: ReadmeFile): Promise<PluginReadme> {
    const rendered = await this.#documents.readme(plugin.name, version, file.name);
    if (rendered === undefined) return { ...file, body: undefined, cut: false };
    return { ...file, body: new Html(rendered.html), cut: rendered.cut };
  }

  async #changes(
    plugin: CatalogPlugin,
    rows: readonly CatalogVersion[],
  ): Promise<ReadonlyMap<CatalogVersion, VersionChanges>> {
    const changes = new Map<CatalogVersion, VersionChanges>();
    const own = plugin.versions.filter(({ aliasOf }) => aliasOf === undefined);
    const indexes = new Map(own.map((version, index) => [version, index]));
    for (const version of rows) {
      const before = own[(indexes.get(version) ?? 0) - 1];
      if (before === undefined) continue;
      const [old, now] = await Promise.all([this.#compared(plugin, before), this.#compared(plugin, version)]);
      changes.set(version, changesBetween(old, now));
    }
    return changes;
  }

  async #compared({ name }: CatalogPlugin, version: CatalogVersion): Promise<ComparedVersion> {
    const [spec, exports] = await Promise.all([
      this.#documents.spec(name, version),
      this.#documents.exports(name, version),
    ]);
    return { version, spec, exports };
  }
}
