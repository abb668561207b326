import { EntryHostile, type EntryKind, nameOf, Overlay } from './overlay.ts';

/** A `.wasm` file that the image, taken as a whole, shows. */
export interface Candidate {
  readonly path: string;
  /** Number of the layer that has it, counted as the caller counts. */
  readonly layer: number;
}

/**
 * Finds the plugin in a stack of file system layers, read from the top down, each in one pass: what the topmost layers say
 * hides what lies below (see Overlay).
 *
 * - `plugin.wasm` (or `./plugin.wasm`) in the root is the plugin; once a layer has it, no lower layer matters.
 * - Else the only `.wasm` file anywhere in the image is. Two of them are equally good: the caller refuses.
 * - Files of macOS's resource forks (`._plugin.wasm`) are not modules.
 *
 * Names only decide, they are never used as names on disk. A module's path that comes twice in one layer is hostile, and so is
 * a plugin.wasm that is no regular file.
 */
export class PluginSearch {
  /** Files that could be the plugin, in the order in which they were met; those in upper layers first. */
  readonly candidates: Candidate[] = [];
  /** What would have been a candidate and is none, in words, for a refusal. */
  readonly notes: string[] = [];
  /** What the layers read so far hide; every entry that is offered goes through it. */
  readonly overlay = new Overlay();
  #root: Candidate | undefined;
  #layer = 0;
  #seen = new Set<string>();

  /** The plugin, if a plugin.wasm in the root was met, or the only candidate so far. */
  get found(): Candidate | undefined {
    return this.#root ?? (this.candidates.length === 1 ? this.candidates[0] : undefined);
  }

  /** True once no lower layer can change the answer. */
  get settled(): boolean {
    return this.#root !== undefined;
  }

  /** Starts the next layer below. `more` says whether others lie below it; if not, what hides need not be kept. */
  enterLayer(layer: number, more: boolean): void {
    this.#layer = layer;
    this.#seen = new Set();
    this.overlay.enterLayer(more);
  }

  /** Ends a layer: from now on it hides what lies below. */
  leaveLayer(): void {
    this.overlay.leaveLayer();
  }

  /**
   * Takes one entry. @returns true if its bytes are to be kept in place of any kept before: it is the first candidate, or the
   * plugin itself. @throws EntryHostile
   */
  offer(rawPath: string, kind: EntryKind, about = ''): boolean {
    const path = this.overlay.take(rawPath, kind);
    if (path === undefined || kind === 'directory') return false;
    const name = nameOf(path);
    if (!/\.wasm$/i.test(name) || name.startsWith('._')) return false;
    if (this.#seen.has(path)) throw new EntryHostile(`${path} is there twice`);
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
