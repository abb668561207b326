import { documentFile, MAX_DOCUMENTS, sizeProblem } from '../layers/documentNames.ts';
import { folderOf, nameOf, normalisePath } from '../layers/overlay.ts';
import type { PluginSearch } from '../layers/pluginSearch.ts';
import type { TarEntry } from '../layers/readTar.ts';
import type { DocumentFolder } from './documentFolder.ts';

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
