/** Kinds of tar entries, as far as they matter here. */
export type EntryKind = 'file' | 'directory' | 'link' | 'special';

/** An entry that no archive may have; readLayers turns it into LAYER_HOSTILE. */
export class EntryHostile extends Error {
  /** The next step for the user, where the archive is unusual rather than hostile. */
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/**
 * The paths that upper layers hide in lower ones (OCI image-spec, layer.md, Applying Changesets and Whiteouts), collected while
 * layers are read from the top down, each in one pass.
 *
 * - A whiteout `.wh.NAME` hides NAME and everything below it, `.wh..wh..opq` everything below its folder, in lower layers only.
 * - A file hides a folder with the same path, and a folder hides a file.
 *
 * Paths are compared and never used on disk. All of them are below the layer's root, so leading slashes do not count, as in
 * containerd; Kaniko writes an entry `/`, `tar -P` writes `/plugin.wasm`. A path that leaves the layer (`..`) is hostile.
 */
export class Overlay {
  #remembers = false;
  #rememberedBytes = 0;
  #comparedBytes = 0;
  /** The last folder that was added to #folders with all folders above it. */
  #covered = '';
  /** Hidden with everything below. */
  readonly #hidden = new Set<string>();
  /** Hidden themselves only: a folder hides a file with its path. */
  readonly #folders = new Set<string>();
  /** Hidden below the path only. */
  readonly #opaque = new Set<string>();
  /** The paths that the current layer adds to each set when it ends. */
  readonly #pending = new Map<Set<string>, Set<string>>();

  /** Starts the next layer below. `more`: other layers follow; otherwise nothing needs to be remembered. */
  enterLayer(more: boolean): void {
    this.#remembers = more;
    this.#covered = '';
  }

  /** Ends a layer: from now on it hides paths of lower layers. */
  leaveLayer(): void {
    for (const [set, paths] of this.#pending) for (const path of paths) set.add(path);
    this.#pending.clear();
  }

  /** Takes one entry. @returns its normalised path; undefined for a whiteout or the root itself @throws EntryHostile */
  take(rawPath: string, kind: EntryKind): string | undefined {
    const path = normalisePath(rawPath);
    if (path === '') return undefined;
    const name = nameOf(path);
    if (name.startsWith('.wh.') && kind !== 'directory') {
      this.#whiteout(path, name);
      return undefined;
    }
    if (this.#remembers) this.#cover(path, kind);
    return path;
  }

  /** Whether an upper layer hides this normalised path. @throws EntryHostile after comparing more than 2 GiB of names */
  isHidden(path: string): boolean {
    if (this.#hidden.has(path) || this.#folders.has(path) || this.#opaque.has('')) return true;
    if (this.#hidden.size + this.#opaque.size === 0) return false;
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const above = path.slice(0, end);
      this.#comparedBytes += end;
      if (this.#comparedBytes > MAX_COMPARED_BYTES)
        throw new EntryHostile('it has too many files in deeply nested folders');
      if (this.#hidden.has(above) || this.#opaque.has(above)) return true;
    }
    return false;
  }

  /** Counts the memory for a path. @throws EntryHostile beyond 32 MiB */
  remember(path: string): void {
    this.#rememberedBytes += path.length + 64;
    if (this.#rememberedBytes > MAX_REMEMBERED_BYTES) throw new EntryHostile('its file names fill more than 32 MiB');
  }

  #whiteout(path: string, name: string): void {
    const folder = folderOf(path);
    if (name === '.wh..wh..opq') this.#later(this.#opaque, folder);
    else if (!name.startsWith('.wh..wh.')) {
      const target = name.slice(4);
      if (target === '' || target === '.' || target === '..')
        throw new EntryHostile(`${path} is a whiteout without a file name`);
      this.#later(this.#hidden, folder === '' ? target : `${folder}/${target}`);
    }
  }

  #cover(path: string, kind: EntryKind): void {
    if (kind === 'directory') {
      if (RELEVANT.test(nameOf(path))) this.#later(this.#folders, path);
    } else this.#later(this.#hidden, path);
    // All names above an entry are folders, whether or not they have entries of their own.
    const folder = folderOf(path);
    if (folder === this.#covered) return;
    this.#covered = folder;
    for (let start = 0, end = path.indexOf('/'); end > 0; start = end + 1, end = path.indexOf('/', start))
      if (RELEVANT.test(path.slice(start, end))) this.#later(this.#folders, path.slice(0, end));
  }

  #later(set: Set<string>, path: string): void {
    if (!this.#remembers) return;
    const paths = this.#pending.get(set) ?? new Set();
    this.#pending.set(set, paths);
    // Counted even if it is known already: alternating deep folders would cost unbounded time.
    this.remember(path);
    paths.add(path);
  }
}

const MAX_REMEMBERED_BYTES = 32 * 1024 * 1024;
/** About two seconds; 100,000 documents ten folders deep need a tenth of it. */
const MAX_COMPARED_BYTES = 2 * 1024 * 1024 * 1024;
const MAX_PATH_LENGTH = 4096;
/** A part of a path that is empty, `.` or `..`. */
const UNUSUAL = /(?:^|\/)\.{0,2}(?:\/|$)/;
/** The file endings of modules and documents: only a folder with such a name can hide one. */
const RELEVANT = /\.(?:wasm|md|markdown|ya?ml|png)$/i;

/** Returns `a/b` for `./a//b/` and `/a/b`; the empty text for the root. @throws EntryHostile */
export function normalisePath(raw: string): string {
  if (raw.length > MAX_PATH_LENGTH)
    throw new EntryHostile(`an entry's name is longer than ${MAX_PATH_LENGTH} characters`);
  const bare = raw.endsWith('/') ? raw.slice(0, -1) : raw;
  if (!UNUSUAL.test(bare)) return bare;
  const parts = raw.split('/').filter(part => part !== '' && part !== '.');
  if (parts.includes('..'))
    throw new EntryHostile(`the name of an entry contains "..", which can lead out of the layer: ${raw}`);
  return parts.join('/');
}

/** Returns the folder of a normalised path; the empty text for the root. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
