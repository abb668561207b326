import { folderOf, nameOf, normalisePath } from '../layers/overlay.ts';
import type { PluginSearch } from '../layers/pluginSearch.ts';
import type { TarEntry } from '../layers/readTar.ts';
import type { DocumentFolder } from './documentFolder.ts';
import { documentFile, MAX_DOCUMENTS, sizeProblem } from './documentRules.ts';

/**
 * The documents that lie beside plugin.wasm in the archives of an image, held in memory until it is known which folder that
 * is. Offer it every entry, after the search has had it, layer by layer from the top down.
 *
 * - Only regular files count, under the names of documentFile. A link or a folder of such a name is passed over, and hides what
 *   lies below it like any other.
 * - The topmost layer's entry wins; what the search's overlay hides is not there.
 * - Documents in the root are held, and those beside the module found so far. As long as there is none, another folder's are
 *   held only while the entries that come lie in it or below it: an archive written folder by folder has its README next to
 *   its module, and one with thousands of them elsewhere fills no memory.
 */
export class ArchiveDocuments {
  readonly #search: PluginSearch;
  readonly #folders = new Map<string, Held>();
  #layer = 0;
  #heldBytes = 0;

  constructor(search: PluginSearch) {
    this.#search = search;
  }

  /** Bytes that are set aside at present; never more than 16 MiB. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Starts the next layer below. */
  enterLayer(layer: number): void {
    this.#layer = layer;
  }

  /** Takes one entry. @returns where its bytes go; undefined if it is not held @throws EntryHostile */
  offer(entry: TarEntry): ((piece: Buffer) => void) | undefined {
    const path = normalisePath(entry.path);
    this.#letGo(path);
    const file = documentFile(nameOf(path));
    if (file === undefined) return undefined;
    const folder = folderOf(path);
    if (!this.#isKept(folder, path) || this.#search.overlay.isHidden(path)) return undefined;
    // The same path again replaces what came before, as it would on disk.
    this.#remove(folder, it => it.path === path && it.layer === this.#layer);
    return entry.kind === 'file' ? this.#hold(folder, path, file, entry.sizeBytes) : undefined;
  }

  /** Forgets what the present layer had: it has turned out to be damaged. */
  dropLayer(): void {
    for (const folder of this.#folders.keys()) this.#remove(folder, it => it.layer === this.#layer);
  }

  /** Writes what lies beside the module at this normalised path. A document that the folder has already wins in silence. */
  async writeBeside(modulePath: string, folder: DocumentFolder, signal: AbortSignal): Promise<void> {
    const { documents, surplus } = this.#folders.get(folderOf(modulePath)) ?? { documents: [], surplus: 0 };
    let left = surplus;
    for (const { file, layer, bytes, filled, problem } of documents.filter(it => !folder.has(it.file))) {
      const place = `in the archive that is layer ${layer}`;
      if (folder.has(file)) folder.skip(file, 'another document has that name already', place);
      else if (folder.isFull) left++;
      else if (problem !== undefined) folder.skip(file, problem, place);
      else if (filled !== bytes.length) folder.skip(file, 'it is shorter than its header says', place);
      else await folder.write(file, bytes, place, signal);
    }
    if (left > 0) folder.warn(`${left} documents in its archives are left out: an image may have ${MAX_DOCUMENTS}`);
  }

  #hold(folder: string, path: string, file: string, sizeBytes: number): ((piece: Buffer) => void) | undefined {
    const held = this.#folders.get(folder) ?? { documents: [], surplus: 0 };
    // Each costs a look at every entry, and no honest archive has so many documents above one another.
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
    const document: HeldDocument = { path, file, layer: this.#layer, bytes, problem, filled: 0 };
    held.documents.push(document);
    this.#heldBytes += bytes.length;
    if (problem !== undefined) return undefined;
    // Copied: a piece is a view of a far larger chunk.
    return piece => {
      document.filled += piece.copy(bytes, document.filled);
    };
  }

  /** Whether a folder's documents are held, now that `path` has come. */
  #isKept(folder: string, path: string): boolean {
    if (folder === '') return true;
    const module = this.#search.found ?? this.#search.candidates[0];
    if (module !== undefined) return folder === folderOf(module.path);
    return path === folder || path.startsWith(`${folder}/`);
  }

  #letGo(path: string): void {
    for (const folder of this.#folders.keys())
      if (!this.#isKept(folder, path)) {
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
  readonly layer: number;
  readonly bytes: Buffer;
  /** Why it is left out, if it lies beside the module. */
  readonly problem: string | undefined;
  filled: number;
}

interface Held {
  documents: HeldDocument[];
  /** How many more there are than an image may have. */
  surplus: number;
}

const MAX_FOLDERS = 16;
const MAX_HELD_BYTES = 16 * 1024 * 1024;
