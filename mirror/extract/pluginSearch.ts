/** The kinds of tar entries that make a difference here. */
export type EntryKind = 'file' | 'directory' | 'link' | 'special';

/** Why an archive's own entries make it unfit; the caller turns it into a refusal. */
export class EntryHostile extends Error {}

/** A `.wasm` file that the image, taken as a whole, shows. */
export interface Candidate {
  readonly path: string;
  /** Number of the layer that has it, counted as the caller counts. */
  readonly layer: number;
}

/**
 * Finds the plugin in a stack of file system layers, read from the top down, each in one pass: what the topmost layers say
 * hides what lies below (OCI image-spec, layer.md, Applying Changesets and Whiteouts).
 *
 * - `plugin.wasm` (or `./plugin.wasm`) in the root is the plugin; once a layer has it, no lower layer matters.
 * - Else the only `.wasm` file anywhere in the image is. Two of them are equally good: the caller refuses.
 * - A whiteout `.wh.NAME` hides NAME and all below it, `.wh..wh..opq` all below its folder, in lower layers only. A file hides
 *   a folder of its name and a folder a file.
 * - Files of macOS's resource forks (`._plugin.wasm`) are not modules.
 *
 * Names only decide, they are never used as names on disk. Those that leave the layer (`..`, absolute) are hostile, and so is a
 * module's path that comes twice in one layer, or a plugin.wasm that is no regular file.
 */
export class PluginSearch {
  /** Files that could be the plugin, in the order in which they were met; those in upper layers first. */
  readonly candidates: Candidate[] = [];
  /** What would have been a candidate and is none, in words, for a refusal. */
  readonly notes: string[] = [];
  #root: Candidate | undefined;
  #layer = 0;
  #remembers = false;
  #seen = new Set<string>();
  #pending: (readonly [Set<string>, string])[] = [];
  #rememberedBytes = 0;
  /** Hide the path itself and everything below it. */
  readonly #hidden = new Set<string>();
  /** Hide the path itself only: folders over files. */
  readonly #folders = new Set<string>();
  /** Hide everything below the path only. */
  readonly #opaque = new Set<string>();

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
    this.#remembers = more;
    this.#seen = new Set();
  }

  /** Ends a layer: from now on it hides what lies below. */
  leaveLayer(): void {
    for (const [set, path] of this.#pending) set.add(path);
    this.#pending = [];
  }

  /**
   * Takes one entry. @returns true if its bytes are to be kept in place of any kept before: it is the first candidate, or the
   * plugin itself. @throws EntryHostile
   */
  offer(rawPath: string, kind: EntryKind, about = ''): boolean {
    const path = normalisePath(rawPath);
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (name.startsWith('.wh.') && kind !== 'directory') {
      this.#whiteout(path, name);
      return false;
    }
    if (this.#remembers) this.#cover(path, kind);
    if (kind === 'directory' || !/\.wasm$/i.test(name) || name.startsWith('._')) return false;
    if (this.#seen.has(path)) throw new EntryHostile(`${path} is there twice`);
    this.#remember(path);
    this.#seen.add(path);
    if (this.#isHidden(path)) {
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

  #whiteout(path: string, name: string): void {
    const folder = path.slice(0, Math.max(0, path.length - name.length - 1));
    if (name === '.wh..wh..opq') this.#later(this.#opaque, folder);
    else if (!name.startsWith('.wh..wh.')) {
      const target = name.slice(4);
      if (target === '' || target === '.' || target === '..')
        throw new EntryHostile(`${path} is a whiteout of nothing that could be there`);
      this.#later(this.#hidden, folder === '' ? target : `${folder}/${target}`);
    }
  }

  #cover(path: string, kind: EntryKind): void {
    if (kind === 'directory') {
      if (/\.wasm$/i.test(path)) this.#later(this.#folders, path);
    } else this.#later(this.#hidden, path);
    // An entry makes folders of all the names above it, whether or not they have entries of their own.
    for (let end = path.indexOf('/'); end > 0; end = path.indexOf('/', end + 1))
      if (/\.wasm$/i.test(path.slice(0, end))) this.#later(this.#folders, path.slice(0, end));
  }

  #later(set: Set<string>, path: string): void {
    if (!this.#remembers) return;
    this.#remember(path);
    this.#pending.push([set, path]);
  }

  #remember(path: string): void {
    this.#rememberedBytes += path.length + 64;
    if (this.#rememberedBytes > MAX_REMEMBERED_BYTES) throw new EntryHostile('its file names fill more than 32 MiB');
  }

  #note(text: string): void {
    if (this.notes.length < MAX_NOTES) this.notes.push(text);
  }

  #isHidden(path: string): boolean {
    if (this.#hidden.has(path) || this.#folders.has(path) || this.#opaque.has('')) return true;
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const above = path.slice(0, end);
      if (this.#hidden.has(above) || this.#opaque.has(above)) return true;
    }
    return false;
  }
}

const MAX_REMEMBERED_BYTES = 32 * 1024 * 1024;
const MAX_NOTES = 10;
const MAX_PATH_LENGTH = 4096;

/** `./a//b/` → `a/b`; the root itself is the empty text. @throws EntryHostile */
function normalisePath(raw: string): string {
  if (raw.length > MAX_PATH_LENGTH)
    throw new EntryHostile(`an entry's name is longer than ${MAX_PATH_LENGTH} characters`);
  if (raw.startsWith('/')) throw new EntryHostile(`an entry has an absolute name: ${raw}`);
  const parts = raw.split('/').filter(part => part !== '' && part !== '.');
  if (parts.includes('..')) throw new EntryHostile(`an entry leaves the layer: ${raw}`);
  return parts.join('/');
}
