import { createHash } from 'node:crypto';
import pMap from 'p-map';
import { parse } from 'yaml';
import type { CatalogPlugin, CatalogVersion } from '../../../tree/catalog/catalog.ts';
import { METADATA_FILE } from '../../../tree/names.ts';
import { readRegular } from '../../../tree/regularFile.ts';
import { highestVersion, isPlain, type TreeView } from '../../view/treeView.ts';
import type { Language } from '../site/language.ts';

export const SPEC_FILE = 'spec.yaml';
const MOST_BYTES = 1024 * 1024;
/** The block has about 1 KB in real files. */
const MOST_INFO_BYTES = 16 * 1024;
const MOST_TEXT = 2000;
const READS_AT_ONCE = 8;

/** What the catalog shows of a plugin, from the spec.yaml and the metadata.json of its highest version. */
export interface PluginFacts {
  readonly plugin: CatalogPlugin;
  readonly newest: CatalogVersion;
  readonly about: SpecInfo;
  /** Who signed the newest version; undefined if no policy asked for a signature. */
  readonly signer: string | undefined;
  readonly hasIcon: boolean;
}

/** The `info` of a spec.yaml. Everything is optional, because the file comes from an image. */
export interface SpecInfo {
  readonly title?: LocalText;
  readonly description?: LocalText;
  readonly category?: string;
  readonly gatewayMinVersion?: string;
}

export type LocalText = Readonly<Partial<Record<Language, string>>>;

/** Returns the text in this language, else in the other one. */
export function inLanguage(text: LocalText | undefined, language: Language): string | undefined {
  return text?.[language] ?? text?.en ?? text?.zh;
}

/** Reads facts about plugins. What was read from bytes with one sha256 is kept while the tree has them. */
export class FactReader {
  readonly #rootOf: () => string;
  readonly #byView = new WeakMap<TreeView, Promise<readonly PluginFacts[]>>();
  #infos = new Map<string, SpecInfo>();
  #signers = new Map<string, string | undefined>();

  /** @param rootOf returns the folder of the tree */
  constructor(rootOf: () => string) {
    this.#rootOf = rootOf;
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
        about: (await this.#known(plugin, newest, SPEC_FILE, this.#infos, infos, infoOf)) ?? {},
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
    parseText: (text: string) => Fact,
  ): Promise<Fact | undefined> {
    const sha256 = version.files.find(file => file.name === name)?.sha256;
    if (sha256 === undefined) return undefined;
    if (former.has(sha256)) current.set(sha256, former.get(sha256) as Fact);
    else if (!current.has(sha256)) {
      const read = await readDocument(this.#rootOf(), plugin.name, version, name, MOST_BYTES);
      if ('text' in read) current.set(sha256, parseText(read.text));
    }
    return current.get(sha256);
  }
}

export type DocumentRead = { readonly text: string } | { readonly fault: 'absent' | 'too large' | 'damaged' };

/** Reads a text of a version. Its bytes must have the sha256 of the catalog. */
export async function readDocument(
  root: string,
  plugin: string,
  version: CatalogVersion,
  name: string,
  mostBytes: number,
): Promise<DocumentRead> {
  const listed = version.files.find(file => file.name === name);
  const isInTree = isPlain(plugin) && isPlain(version.version) && isPlain(name);
  if (listed === undefined || !isInTree) return { fault: 'absent' };
  if (listed.sizeBytes > mostBytes) return { fault: 'too large' };
  const read = await readRegular(`${root}/${plugin}/${version.version}/${name}`, mostBytes).catch(() => undefined);
  if (typeof read !== 'object') return { fault: 'damaged' };
  const sha256 = createHash('sha256').update(read.bytes).digest('hex');
  return sha256 === listed.sha256 ? { text: read.bytes.toString('utf8') } : { fault: 'damaged' };
}

/** Parses only the block `info:`, a small part of the file: a catalog reads one file for each plugin. */
export function infoOf(text: string): SpecInfo {
  const block = /^(?:\ufeff)?info:[^\n]*\n(?:(?:[ \t#][^\n]*)?\r?\n|[ \t#][^\n]*$)*/m.exec(text)?.[0];
  const source = block ?? text;
  if (source.length > MOST_INFO_BYTES) return {};
  let info: unknown;
  try {
    info = member(parse(source, { maxAliasCount: 20, logLevel: 'silent' }), 'info');
  } catch {
    return {};
  }
  const category = shortText(member(info, 'category'));
  const gatewayMinVersion = shortText(member(info, 'gatewayMinVersion'));
  return {
    title: localText(info, 'title'),
    description: localText(info, 'description'),
    ...(category === undefined ? {} : { category: category.toLowerCase() }),
    ...(gatewayMinVersion === undefined ? {} : { gatewayMinVersion }),
  };
}

function signerOf(text: string): string | undefined {
  try {
    return shortText(member(member(JSON.parse(text), 'signature'), 'signer'));
  } catch {
    return undefined;
  }
}

/** `title` and `x-title-i18n: { zh-CN: …, en-US: … }`, as Higress Console reads them. */
export function localText(value: unknown, key: string): LocalText {
  const translations = member(value, `x-${key}-i18n`);
  const text: { en?: string; zh?: string } = {};
  if (typeof translations === 'object' && translations !== null)
    for (const [tag, translation] of Object.entries(translations)) {
      const language = /^(en|zh)(?:[-_]|$)/i.exec(tag)?.[1]?.toLowerCase();
      const found = shortText(translation);
      if ((language === 'en' || language === 'zh') && found !== undefined) text[language] ??= found;
    }
  const plain = shortText(member(value, key));
  if (plain !== undefined) text[text.en === undefined ? 'en' : 'zh'] ??= plain;
  return text;
}

/** An own member, so that no key of a file reaches the prototype of objects. */
export function member(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

function shortText(value: unknown): string | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || text.trim() === '') return undefined;
  return text.trim().slice(0, MOST_TEXT);
}
