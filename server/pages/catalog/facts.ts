import pMap from 'p-map';
import type { CatalogPlugin, CatalogVersion } from '../../../tree/catalog.ts';
import { METADATA_FILE } from '../../../tree/names.ts';
import { highestVersion, type TreeView } from '../../view/treeView.ts';
import { type Documents, SPEC_FILE } from '../documents/documents.ts';
import { member, type SpecInfo, shortText } from '../documents/specInfo.ts';

const READS_AT_ONCE = 8;

/** The facts that the catalog shows of a plugin, from the spec.yaml and the metadata.json of its highest version. */
export interface PluginFacts {
  readonly plugin: CatalogPlugin;
  readonly newest: CatalogVersion;
  readonly about: SpecInfo;
  /** The signer of the newest version; undefined if no policy asked for a signature. */
  readonly signer: string | undefined;
  readonly hasIcon: boolean;
}

/** Reads facts about plugins. What was read from bytes with one sha256 is kept while the tree has them. */
export class FactReader {
  readonly #documents: Documents;
  readonly #byView = new WeakMap<TreeView, Promise<readonly PluginFacts[]>>();
  #infos = new Map<string, SpecInfo>();
  #signers = new Map<string, string | undefined>();

  constructor(documents: Documents) {
    this.#documents = documents;
  }

  /** Returns the facts of all plugins that have a version. */
  of(view: TreeView): Promise<readonly PluginFacts[]> {
    let facts = this.#byView.get(view);
    if (facts === undefined) {
      facts = this.#read(view);
      this.#byView.set(view, facts);
    }
    return facts;
  }

  async #read({ catalog }: TreeView): Promise<readonly PluginFacts[]> {
    const infos = new Map<string, SpecInfo>();
    const signers = new Map<string, string | undefined>();
    const facts = await pMap(
      catalog.plugins.flatMap(plugin => {
        const newest = highestVersion(plugin);
        return newest === undefined ? [] : [{ plugin, newest }];
      }),
      async ({ plugin, newest }): Promise<PluginFacts> => ({
        plugin,
        newest,
        about:
          (await this.#known(plugin, newest, SPEC_FILE, this.#infos, infos, text => this.#documents.info(text))) ?? {},
        signer: await this.#known(plugin, newest, METADATA_FILE, this.#signers, signers, signerOf),
        hasIcon: newest.files.some(({ name }) => name === 'icon.png'),
      }),
      { concurrency: READS_AT_ONCE },
    );
    this.#infos = infos;
    this.#signers = signers;
    return facts;
  }

  async #known<Fact>(
    plugin: CatalogPlugin,
    version: CatalogVersion,
    name: string,
    former: ReadonlyMap<string, Fact>,
    current: Map<string, Fact>,
    parseText: (text: string) => Fact | Promise<Fact>,
  ): Promise<Fact | undefined> {
    const sha256 = version.files.find(file => file.name === name)?.sha256;
    if (sha256 === undefined) return undefined;
    if (former.has(sha256)) current.set(sha256, former.get(sha256) as Fact);
    else if (!current.has(sha256)) {
      const read = await this.#documents.read(plugin.name, version, name);
      if ('text' in read) current.set(sha256, await parseText(read.text));
    }
    return current.get(sha256);
  }
}

function signerOf(text: string): string | undefined {
  try {
    return shortText(member(member(JSON.parse(text), 'signature'), 'signer'));
  } catch {
    return undefined;
  }
}
