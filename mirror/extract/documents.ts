import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import type { Descriptor } from '../../registry/image.ts';
import {
  contentProblem,
  documentFile,
  documentLimitBytes,
  MAX_DOCUMENTS,
  sizeProblem,
} from './layers/documentRules.ts';
import { describeLayer } from './layers/errors.ts';
import type { LayerPart } from './layers/layerRoles.ts';
import { folderOf, nameOf, normalisePath } from './layers/overlay.ts';
import type { PluginSearch } from './layers/pluginSearch.ts';
import type { TarEntry } from './layers/readTar.ts';

/**
 * The staging folder of a version, as far as its documents are concerned. A document that cannot be published is left out with
 * a warning; the plugin is published without it.
 */
export class DocumentFolder {
  readonly files: Record<string, { sha256: string; sizeBytes: number }> = {};
  readonly #warnings: string[] = [];
  /** Documents that are left out without a warning of their own. */
  #unnamed = 0;
  readonly #dir: string;
  readonly #subject: string;
  readonly #taken = new Set<string>();

  /** @param dir an existing folder @param subject the start of every warning, e.g. `ai-proxy 2.0.1` */
  constructor(dir: string, subject: string) {
    this.#dir = dir;
    this.#subject = subject;
  }

  has(file: string): boolean {
    // Two names that differ only in case would be one file on many disks.
    return this.#taken.has(file.toLowerCase());
  }

  get isFull(): boolean {
    return this.#taken.size >= MAX_DOCUMENTS;
  }

  get warnings(): readonly string[] {
    const more = `${this.#subject}: ${this.#unnamed} more documents are left out`;
    return this.#unnamed === 0 ? this.#warnings : [...this.#warnings, more];
  }

  /** Warns that a document is left out. `source` is the layer or the archive that has it. An image may have thousands. */
  skip(file: string, why: string, source: string): void {
    if (this.#warnings.length >= MAX_WARNINGS) this.#unnamed++;
    else this.warn(`${file} is left out: ${why} (${source})`);
  }

  warn(text: string): void {
    this.#warnings.push(`${this.#subject}: ${text}`);
  }

  /** Writes a document as it is stored. `file` must come from documentFile, and `has` must be false for it. */
  async write(file: string, bytes: Buffer, source: string, signal: AbortSignal): Promise<void> {
    const problem = contentProblem(file, bytes);
    if (problem !== undefined) return this.skip(file, problem, source);
    this.#taken.add(file.toLowerCase());
    await writeFile(join(this.#dir, file), bytes, { flag: 'wx', mode: 0o644, signal });
    this.files[file] = { sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length };
  }
}

const MAX_WARNINGS = 20;

/**
 * Writes the documents that are layers of their own (spec.yaml, README*.md, icon.png). A document that is too large, has the
 * name of another or is not the PNG that its name promises is left out with a warning. A layer that cannot be read completely
 * is an error: otherwise two runs over one image could publish different files.
 */
export async function extractDocuments(
  request: { readonly openLayer: (layer: Descriptor) => Promise<Readable>; readonly signal: AbortSignal },
  parts: readonly LayerPart[],
  folder: DocumentFolder,
): Promise<void> {
  const { openLayer, signal } = request;
  let surplus = 0;
  for (const { layer, file } of parts) {
    if (file === undefined) continue;
    const source = describeLayer(layer);
    const tooLarge = sizeProblem(file, layer.size);
    if (folder.isFull) surplus++;
    else if (folder.has(file)) folder.skip(file, 'another layer has that name already', source);
    else if (tooLarge !== undefined) folder.skip(file, tooLarge, source);
    else {
      const limit = documentLimitBytes(file);
      const bytes = await readWhole(await openLayer(layer), limit, signal);
      if (bytes === undefined) folder.skip(file, `it is larger than ${limit} bytes`, source);
      else await folder.write(file, bytes, source, signal);
    }
  }
  if (surplus > 0) folder.warn(`${surplus} documents are left out: an image may have ${MAX_DOCUMENTS}`);
}

/** Returns the stream's bytes, or undefined if there are more than `limitBytes`. The stream is destroyed in either case. */
async function readWhole(source: Readable, limitBytes: number, signal: AbortSignal): Promise<Buffer | undefined> {
  // The loop throws the stream's errors; an error event after destroy() must not end the process.
  source.on('error', () => {});
  try {
    addAbortSignal(signal, source);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of source) {
      length += (chunk as Buffer).length;
      if (length > limitBytes) return undefined;
      chunks.push(Buffer.from(chunk));
    }
    return Buffer.concat(chunks);
  } finally {
    source.destroy();
  }
}

/**
 * The documents in the folder of plugin.wasm, in the same archive, held in memory until that folder is known. The search sees
 * every entry first, then this class, layer by layer from the top down.
 *
 * - Only regular files with a name of documentFile are documents. Links, folders and files hidden by an upper layer are not.
 * - Documents in the root are held, and those in the folder of the module found so far. Before a module is found, documents
 *   of another folder are held only while the following entries are in that folder or below it: archives are written folder
 *   by folder, so a README is near its module, and thousands of documents in other folders do not fill the memory.
 */
export class ArchiveDocuments {
  readonly #search: PluginSearch;
  /** Of the layer that is read now. */
  #folders = new Map<string, Held>();
  /** Of the layer that has the module. */
  #kept: ReadonlyMap<string, Held> = new Map();
  #layer = 0;
  #heldBytes = 0;

  constructor(search: PluginSearch) {
    this.#search = search;
  }

  /** Bytes in memory for the layer that is read now; at most 16 MiB. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Starts the next layer below. */
  enterLayer(layer: number): void {
    this.#layer = layer;
    this.#folders = new Map();
    this.#heldBytes = 0;
  }

  /** Ends a layer: its documents are kept if the module is in it. */
  leaveLayer(): void {
    if (this.#module?.layer === this.#layer) this.#kept = this.#folders;
  }

  /** Takes one entry. @returns the consumer of its bytes, or undefined if it is not held @throws EntryHostile */
  offer(entry: TarEntry): ((piece: Buffer) => void) | undefined {
    const path = normalisePath(entry.path);
    this.#release(path);
    const file = documentFile(nameOf(path));
    if (file === undefined) return undefined;
    const folder = folderOf(path);
    if (!this.#isHeld(folder, path) || this.#search.overlay.isHidden(path)) return undefined;
    // A second entry with the same path replaces the first one, as it does on disk.
    this.#remove(folder, it => it.path === path);
    return entry.kind === 'file' ? this.#hold(folder, path, file, entry.sizeBytes) : undefined;
  }

  /** Writes the documents in the folder of the module at this normalised path. A document that `folder` has already stays. */
  async writeNextTo(modulePath: string, folder: DocumentFolder, signal: AbortSignal): Promise<void> {
    const { documents, surplus } = this.#kept.get(folderOf(modulePath)) ?? { documents: [], surplus: 0 };
    const source = 'in the archive of plugin.wasm';
    let left = surplus;
    for (const { file, bytes, filled, problem } of documents.filter(it => !folder.has(it.file))) {
      if (folder.has(file)) folder.skip(file, 'another document has that name already', source);
      else if (folder.isFull) left++;
      else if (problem !== undefined) folder.skip(file, problem, source);
      else if (filled !== bytes.length) folder.skip(file, 'it is shorter than its header says', source);
      else await folder.write(file, bytes, source, signal);
    }
    if (left > 0) folder.warn(`${left} documents in its archive are left out: an image may have ${MAX_DOCUMENTS}`);
  }

  /** The plugin, or the file that will be it if no other is found. */
  get #module() {
    return this.#search.found ?? this.#search.candidates[0];
  }

  #hold(folder: string, path: string, file: string, sizeBytes: number): ((piece: Buffer) => void) | undefined {
    const held = this.#folders.get(folder) ?? { documents: [], surplus: 0 };
    // Every folder costs a comparison per entry; no real archive has documents in so many nested folders.
    if (this.#folders.size >= MAX_FOLDERS && !this.#folders.has(folder) && folder !== '') return undefined;
    this.#folders.set(folder, held);
    if (held.documents.length >= MAX_DOCUMENTS) {
      held.surplus++;
      return undefined;
    }
    const tooMuch = this.#heldBytes + sizeBytes > MAX_HELD_BYTES;
    const problem =
      sizeProblem(file, sizeBytes) ??
      (tooMuch ? `with it, the documents are larger than ${MAX_HELD_BYTES} bytes` : undefined);
    const bytes = Buffer.alloc(problem === undefined ? sizeBytes : 0);
    const document: HeldDocument = { path, file, bytes, problem, filled: 0 };
    held.documents.push(document);
    this.#heldBytes += bytes.length;
    if (problem !== undefined) return undefined;
    // Copied: a piece is a view of a much larger chunk.
    return piece => {
      document.filled += piece.copy(bytes, document.filled);
    };
  }

  /** Whether documents of `folder` are still held when the entry `path` is read. */
  #isHeld(folder: string, path: string): boolean {
    if (folder === '') return true;
    const module = this.#module;
    if (module !== undefined) return folder === folderOf(module.path);
    return path === folder || path.startsWith(`${folder}/`);
  }

  #release(path: string): void {
    for (const folder of this.#folders.keys())
      if (!this.#isHeld(folder, path)) {
        this.#remove(folder, () => true);
        this.#folders.delete(folder);
      }
  }

  #remove(folder: string, which: (document: HeldDocument) => boolean): void {
    const held = this.#folders.get(folder);
    if (held === undefined) return;
    for (const document of held.documents.filter(which)) this.#heldBytes -= document.bytes.length;
    held.documents = held.documents.filter(document => !which(document));
  }
}

interface HeldDocument {
  readonly path: string;
  readonly file: string;
  readonly bytes: Buffer;
  /** Why it is left out, if it is in the folder of the module. */
  readonly problem: string | undefined;
  filled: number;
}

interface Held {
  documents: HeldDocument[];
  /** Documents beyond the limit. */
  surplus: number;
}

const MAX_FOLDERS = 16;
const MAX_HELD_BYTES = 16 * 1024 * 1024;
