import { EntryHostile, type EntryKind, nameOf, Overlay } from './overlay.ts';

/** A `.wasm` file that is visible in the image as a whole. */
export interface Candidate {
  readonly path: string;
  /** The number of its layer, as given to enterLayer. */
  readonly layer: number;
}

/**
 * Finds the plugin in a stack of file system layers, read from the top down, each in one pass. Upper layers hide paths of
 * lower ones (see Overlay).
 *
 * - `plugin.wasm` (or `./plugin.wasm`) in the root is the plugin; lower layers cannot change that.
 * - Otherwise the only `.wasm` file of the image is the plugin. Several are ambiguous: the caller refuses the image.
 * - macOS's resource forks (`._plugin.wasm`) are not modules.
 *
 * Paths are compared and never used on disk. A module with the same path twice in one layer is hostile, and so is a
 * plugin.wasm that is not a regular file.
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
  offer(rawPath: string, kind: EntryKind, about = ''): boolean {
    const path = this.overlay.take(rawPath, kind);
    if (path === undefined || kind === 'directory') return false;
    const name = nameOf(path);
    if (!/\.wasm$/i.test(name) || name.startsWith('._')) return false;
    if (this.#seen.has(path)) throw new EntryHostile(`it has ${path} twice`);
    this.overlay.remember(path);
    this.#seen.add(path);
    if (this.overlay.isHidden(path)) {
      this.#note(`${path} in layer ${this.#layer} is hidden by a layer above`);
      return false;
    }
    if (kind !== 'file') {
      if (path === 'plugin.wasm') throw new EntryHostile(`plugin.wasm is ${about}, not a regular file`);
      this.#note(`${path} is ${about}`);
      return false;
    }
    const candidate = { path, layer: this.#layer };
    this.candidates.push(candidate);
    if (path === 'plugin.wasm') this.#root = candidate;
    return path === 'plugin.wasm' || this.candidates.length === 1;
  }

  #note(text: string): void {
    if (this.notes.length < MAX_NOTES) this.notes.push(text);
  }
}

const MAX_NOTES = 10;
