import { EntryHostile, nameOf, normalisePath, Overlay } from './overlay.ts';
import type { TarEntry } from './readTar.ts';

/** A `.wasm` file that is visible in the image as a whole. */
export interface Candidate {
  readonly path: string;
  /** The number of its layer, as given to enterLayer. */
  readonly layer: number;
  /** Of a hard link: the path of the file in the same layer that has the bytes. */
  readonly source?: string;
}

/** An entry of an archive, as far as it matters here. */
export type Offered = Pick<TarEntry, 'path' | 'kind' | 'target'> & Partial<Pick<TarEntry, 'about'>>;

/**
 * Finds the plugin in a stack of file system layers, read from the top down, each in one pass. Upper layers hide paths of
 * lower ones (see Overlay).
 *
 * - `plugin.wasm` (or `./plugin.wasm`) in the root is the plugin; lower layers cannot change that.
 * - Otherwise the only `.wasm` file of the image is the plugin. Several are ambiguous: the caller refuses the image.
 * - macOS's resource forks (`._plugin.wasm`) are not modules.
 * - A hard link is the file that it names, if that is a regular file earlier in the same layer: of two names of one file, tar
 *   stores the second as a link, and which one that is depends on the order of the folder.
 *
 * Paths are compared and never used on disk. A module with the same path twice in one layer is hostile, and so is a
 * plugin.wasm that is a symbolic link or a device.
 */
export class PluginSearch {
  /** Files that could be the plugin, in reading order: upper layers first. */
  readonly candidates: Candidate[] = [];
  /** Why `.wasm` files are not candidates, for the error. */
  readonly notes: string[] = [];
  /** The paths that the layers read so far hide. */
  readonly overlay = new Overlay();
  #root: Candidate | undefined;
  #layer = 0;
  #seen = new Set<string>();
  /** The hard links of the current layer, with the files that they lead to. */
  #links = new Map<string, string>();
  /** The files of the current layer that are candidates. */
  #files = new Set<string>();

  /** The plugin.wasm in the root, otherwise the only candidate so far. */
  get found(): Candidate | undefined {
    return this.#root ?? (this.candidates.length === 1 ? this.candidates[0] : undefined);
  }

  /** True if no lower layer can change the result. */
  get isFinal(): boolean {
    return this.#root !== undefined;
  }

  /** Starts the next layer below. `more`: other layers follow; otherwise hidden paths need not be remembered. */
  enterLayer(layer: number, more: boolean): void {
    this.#layer = layer;
    this.#seen = new Set();
    this.#links = new Map();
    this.#files = new Set();
    this.overlay.enterLayer(more);
  }

  /** Ends a layer: from now on it hides paths of lower layers. */
  leaveLayer(): void {
    this.overlay.leaveLayer();
  }

  /**
   * Takes one entry. @returns true if its bytes replace those kept before: it is the first candidate, or plugin.wasm in the
   * root. @throws EntryHostile
   */
  offer({ path: rawPath, kind, about = '', target }: Offered): boolean {
    const path = this.overlay.take(rawPath, kind);
    if (path === undefined || kind === 'directory') return false;
    const source = target === undefined ? undefined : this.#follow(path, target);
    const name = nameOf(path);
    if (!/\.wasm$/i.test(name) || name.startsWith('._')) return false;
    if (this.#seen.has(path)) throw new EntryHostile(`it has ${path} twice`);
    this.overlay.remember(path);
    this.#seen.add(path);
    if (this.overlay.isHidden(path)) {
      this.#note(`${path} in layer ${this.#layer} is hidden by a layer above`);
      return false;
    }
    if (kind !== 'file' && source === undefined) {
      if (path === 'plugin.wasm') throw new EntryHostile(`plugin.wasm is ${about}, not a regular file`, COPY_HINT);
      this.#note(`${path} is ${about}`);
      return false;
    }
    if (path !== 'plugin.wasm' && source !== undefined && this.#files.has(source)) {
      this.#note(`${path} is ${about}`);
      return false;
    }
    const candidate = { path, layer: this.#layer, ...(source === undefined ? {} : { source }) };
    this.candidates.push(candidate);
    this.#files.add(source ?? path);
    if (path === 'plugin.wasm') this.#root = candidate;
    return path === 'plugin.wasm' || this.candidates.length === 1;
  }

  /** Returns the file that a hard link leads to, over other links of the layer if need be. @throws EntryHostile */
  #follow(path: string, target: string): string {
    const named = normalisePath(target);
    const source = this.#links.get(named) ?? named;
    this.overlay.remember(path);
    this.overlay.remember(source);
    this.#links.set(path, source);
    return source;
  }

  #note(text: string): void {
    if (this.notes.length < MAX_NOTES) this.notes.push(text);
  }
}

const MAX_NOTES = 10;

/** The remedy for a module that is a link. */
export const COPY_HINT = 'Copy the module to plugin.wasm instead of linking it, and push the image again.';
