/** The kinds of tar entries that make a difference here. */
export type EntryKind = 'file' | 'directory' | 'link' | 'special';

/** Why an archive's own entries make it unfit; the caller turns it into a refusal. */
export class EntryHostile extends Error {}

/**
 * What the upper layers of a stack hide of those below (OCI image-spec, layer.md, Applying Changesets and Whiteouts), learnt
 * while they are read from the top down, each in one pass.
 *
 * - A whiteout `.wh.NAME` hides NAME and all below it, `.wh..wh..opq` all below its folder, in lower layers only.
 * - A file hides a folder of its name and a folder a file.
 *
 * Names only decide, they are never used as names on disk. Those that leave the layer (`..`, absolute) are hostile.
 */
export class Overlay {
  #remembers = false;
  #rememberedBytes = 0;
  #comparedBytes = 0;
  /** The folder whose own name and those above it were covered last. */
  #covered = '';
  /** Hide the path itself and everything below it. */
  readonly #hidden = new Set<string>();
  /** Hide the path itself only: folders over files. */
  readonly #folders = new Set<string>();
  /** Hide everything below the path only. */
  readonly #opaque = new Set<string>();
  /** What the present layer adds to each of them once it ends. */
  readonly #pending = new Map<Set<string>, Set<string>>();

  /** Starts the next layer below. `more` says whether others lie below it; if not, what hides need not be kept. */
  enterLayer(more: boolean): void {
    this.#remembers = more;
    this.#covered = '';
  }

  /** Ends a layer: from now on it hides what lies below. */
  leaveLayer(): void {
    for (const [set, paths] of this.#pending) for (const path of paths) set.add(path);
    this.#pending.clear();
  }

  /** Takes one entry. @returns its normalised path; undefined if it is a whiteout @throws EntryHostile */
  take(rawPath: string, kind: EntryKind): string | undefined {
    const path = normalisePath(rawPath);
    const name = nameOf(path);
    if (name.startsWith('.wh.') && kind !== 'directory') {
      this.#whiteout(path, name);
      return undefined;
    }
    if (this.#remembers) this.#cover(path, kind);
    return path;
  }

  /** Whether a layer above the present one hides this normalised path. @throws EntryHostile once that has cost too much */
  isHidden(path: string): boolean {
    if (this.#hidden.has(path) || this.#folders.has(path) || this.#opaque.has('')) return true;
    if (this.#hidden.size + this.#opaque.size === 0) return false;
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const above = path.slice(0, end);
      this.#comparedBytes += end;
      if (this.#comparedBytes > MAX_COMPARED_BYTES)
        throw new EntryHostile('its files lie in too many too deep folders');
      if (this.#hidden.has(above) || this.#opaque.has(above)) return true;
    }
    return false;
  }

  /** Counts a path that is kept. @throws EntryHostile once they are too many */
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
        throw new EntryHostile(`${path} is a whiteout of nothing that could be there`);
      this.#later(this.#hidden, folder === '' ? target : `${folder}/${target}`);
    }
  }

  #cover(path: string, kind: EntryKind): void {
    if (kind === 'directory') {
      if (ASKED_FOR.test(nameOf(path))) this.#later(this.#folders, path);
    } else this.#later(this.#hidden, path);
    // An entry makes folders of all the names above it, whether or not they have entries of their own.
    const folder = folderOf(path);
    if (folder === this.#covered) return;
    this.#covered = folder;
    for (let start = 0, end = path.indexOf('/'); end > 0; start = end + 1, end = path.indexOf('/', start))
      if (ASKED_FOR.test(path.slice(start, end))) this.#later(this.#folders, path.slice(0, end));
  }

  #later(set: Set<string>, path: string): void {
    if (!this.#remembers) return;
    const paths = this.#pending.get(set) ?? new Set();
    this.#pending.set(set, paths);
    // Counted even if it is there already: deep folders, in turns, would cost time without end.
    this.remember(path);
    paths.add(path);
  }
}

const MAX_REMEMBERED_BYTES = 32 * 1024 * 1024;
/** A second or two; a hundred thousand documents ten folders deep have a tenth of it. */
const MAX_COMPARED_BYTES = 2 * 1024 * 1024 * 1024;
const MAX_PATH_LENGTH = 4096;
/** A name among others that is empty, `.` or `..`. */
const UNUSUAL = /(?:^|\/)\.{0,2}(?:\/|$)/;
/** Endings of the files that isHidden is asked about, modules and documents: no other folder can stand over one. */
const ASKED_FOR = /\.(?:wasm|md|markdown|ya?ml|png)$/i;

/** `./a//b/` → `a/b`; the root itself is the empty text. @throws EntryHostile */
export function normalisePath(raw: string): string {
  if (raw.length > MAX_PATH_LENGTH)
    throw new EntryHostile(`an entry's name is longer than ${MAX_PATH_LENGTH} characters`);
  if (raw.startsWith('/')) throw new EntryHostile(`an entry has an absolute name: ${raw}`);
  const bare = raw.endsWith('/') ? raw.slice(0, -1) : raw;
  if (!UNUSUAL.test(bare)) return bare;
  const parts = raw.split('/').filter(part => part !== '' && part !== '.');
  if (parts.includes('..')) throw new EntryHostile(`an entry leaves the layer: ${raw}`);
  return parts.join('/');
}

/** Of a normalised path; the empty text is the root. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
