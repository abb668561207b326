import { createHash } from 'node:crypto';
import type { CatalogVersion } from '../../../tree/catalog.ts';
import { MODULE_FILE } from '../../../tree/names.ts';
import { isModuleHead, openRegular, readRegular } from '../../../tree/regularFile.ts';
import { EXPORT_SECTION, readAt, readExports, readSections } from '../../../tree/version/moduleSections.ts';
import { isPlain } from '../../view/treeView.ts';
import { DocumentParser } from './documentParser.ts';
import type { RenderedReadme } from './readme.ts';
import { MOST_SPEC_BYTES, type SpecFile } from './specFile.ts';
import { infoBlock, infoOf, MOST_INFO_CHARACTERS, type SpecInfo } from './specInfo.ts';

export const SPEC_FILE = 'spec.yaml';
const MOST_BYTES = 1024 * 1024;
const MOST_README_BYTES = 4 * 1024 * 1024;
/** A shorter text is parsed in less than 5 ms, whatever it is. */
const MOST_CHARACTERS_HERE = 1500;
const MOST_SPECS = 64;
const MOST_READMES = 8;
const MOST_EXPORT_LISTS = 64;

/** Reads documents of the tree, which come from images and may contain anything. Parsed ones are kept by their sha256. */
export class Documents {
  readonly #rootOf: () => string;
  readonly #parser = new DocumentParser();
  readonly #specs = new Recent<SpecFile | undefined>(MOST_SPECS);
  readonly #readmes = new Recent<RenderedReadme | undefined>(MOST_READMES);
  readonly #exports = new Recent<ReadonlySet<string> | undefined>(MOST_EXPORT_LISTS);

  /** @param rootOf returns the folder of the tree */
  constructor(rootOf: () => string) {
    this.#rootOf = rootOf;
  }

  /** Returns the text of a file of a version, at most 1 MiB of it. */
  read(plugin: string, version: CatalogVersion, name: string): Promise<DocumentRead> {
    return readDocument(this.#rootOf(), plugin, version, name, MOST_BYTES);
  }

  /** Parses the block `info:` of a spec.yaml. */
  async info(text: string): Promise<SpecInfo> {
    const block = infoBlock(text);
    if (block.length > MOST_INFO_CHARACTERS) return {};
    if (block.length <= MOST_CHARACTERS_HERE) return infoOf(block);
    return (await this.#parser.parse('info', block)) ?? {};
  }

  async spec(plugin: string, version: CatalogVersion): Promise<SpecFile> {
    const read = await readDocument(this.#rootOf(), plugin, version, SPEC_FILE, MOST_SPEC_BYTES);
    if (!('text' in read)) return { fault: read.fault };
    const { text, sha256 } = read;
    return (await this.#specs.get(sha256, () => this.#parser.parse('spec', text))) ?? { fault: 'too large' };
  }

  /** Returns undefined if the file is too large, too complex or damaged. */
  async readme(plugin: string, version: CatalogVersion, name: string): Promise<RenderedReadme | undefined> {
    const read = await readDocument(this.#rootOf(), plugin, version, name, MOST_README_BYTES);
    if (!('text' in read)) return undefined;
    const { text, sha256 } = read;
    return this.#readmes.get(sha256, () => this.#parser.parse('readme', text));
  }

  /**
   * Returns the names that a version's module exports; undefined if it cannot be read. The file is not hashed, because modules
   * have tens of MB: one whose size is right may have other exports than the module of the catalog.
   */
  async exports(
    plugin: string,
    { version, sha256, sizeBytes }: CatalogVersion,
  ): Promise<ReadonlySet<string> | undefined> {
    if (!isPlain(plugin) || !isPlain(version)) return undefined;
    const path = `${this.#rootOf()}/${plugin}/${version}/${MODULE_FILE}`;
    const names = await this.#exports.get(sha256, () => readExportNames(path, sizeBytes));
    // The next page may find the file repaired.
    if (names === undefined) this.#exports.forget(sha256);
    return names;
  }
}

/** The values that were used last. Callers that want the same one at the same time share it. */
class Recent<Value> {
  readonly #capacity: number;
  readonly #values = new Map<string, Promise<Value>>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(key: string, make: () => Promise<Value>): Promise<Value> {
    const value = this.#values.get(key) ?? make();
    this.#values.delete(key);
    this.#values.set(key, value);
    const [oldest] = this.#values.keys();
    if (this.#values.size > this.#capacity && oldest !== undefined) this.#values.delete(oldest);
    return value;
  }

  forget(key: string): void {
    this.#values.delete(key);
  }
}

export type DocumentRead =
  | { readonly text: string; readonly sha256: string }
  | { readonly fault: 'absent' | 'too large' | 'damaged' };

/** Reads a text of a version. Its bytes must have the sha256 of the catalog. */
async function readDocument(
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
  return sha256 === listed.sha256 ? { text: read.bytes.toString('utf8'), sha256 } : { fault: 'damaged' };
}

/** Sections before the export section. A real module has fewer than ten. */
const MOST_SECTIONS = 200;
/** Real sections have about 2 KB. */
const MOST_EXPORT_BYTES = 64 * 1024;
/** The highest id. This section comes before the export section. */
const TAG_SECTION = 13;

/**
 * Returns the names that a module exports. Reads the headers of the sections up to the export section, and nothing of the
 * code, however large the module is. Returns undefined if the file is no module of this size, or if its exports are malformed
 * or have more than 64 KiB.
 */
export async function readExportNames(path: string, sizeBytes: number): Promise<ReadonlySet<string> | undefined> {
  const file = await openRegular(path);
  if (typeof file !== 'object') return undefined;
  try {
    if ((await file.stat()).size !== sizeBytes || !isModuleHead(await readAt(file, 0, 8))) return undefined;
    const names = new Set<string>();
    for await (const { id, start, length } of readSections(file, sizeBytes, MOST_SECTIONS, malformed)) {
      if (id < EXPORT_SECTION || id === TAG_SECTION) continue;
      if (id > TAG_SECTION || (id === EXPORT_SECTION && length > MOST_EXPORT_BYTES)) return undefined;
      if (id > EXPORT_SECTION) break;
      await readExports(await readAt(file, start, length), malformed, name => names.add(name.toString('utf8')));
      break;
    }
    return names;
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

function malformed(found: string): Error {
  return new Error(found);
}
