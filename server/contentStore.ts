import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { setImmediate as immediate } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { CHUNK_BYTES, type ChunkCache } from './chunkCache.ts';
import { Content, GRANULE_BYTES } from './content.ts';
import { type FileIdentity, identityOf, OpenFile, sameIdentity } from './openFile.ts';

const PROOFS_AT_ONCE = 2;

export interface ContentStoreSettings {
  readonly cache: ChunkCache;
  /** Files that stay open while nobody reads them. */
  readonly maxOpenFiles: number;
  /** A content was found damaged (or whole again), or another file was found at its path. */
  readonly onChange: (content: Content, what: 'damaged' | 'displaced' | 'whole') => void;
  /** Files of a content that is well were found to hold other bytes. */
  readonly onBadCopies: (content: Content, paths: readonly string[]) => void;
}

/**
 * Every content that the catalog names, and what is known of it. A content is served only from a file that was hashed to
 * its sha256 while open, so that ETag, digest and body can only be of one piece: a sync that is half done, a damaged disk
 * or a link that leads elsewhere makes a content unservable, never wrong.
 */
export class ContentStore {
  readonly #settings: ContentStoreSettings;
  readonly #contents = new Map<string, Content>();
  /** Contents whose file is open, the longest unused first. */
  readonly #open = new Map<Content, true>();
  readonly #urgent: (() => void)[] = [];
  readonly #waiting: (() => void)[] = [];
  #proofs = 0;
  #root = '';

  constructor(settings: ContentStoreSettings) {
    this.#settings = settings;
  }

  get contents(): Iterable<Content> {
    return this.#contents.values();
  }

  get root(): string {
    return this.#root;
  }

  /** The content of this sha256, known already or new. `paths` are added when the catalog that names them is taken. */
  get(sha256: string, sizeBytes: number): Content {
    const known = this.#contents.get(sha256);
    return known?.sizeBytes === sizeBytes ? known : new Content(sha256, sizeBytes, CHUNK_BYTES);
  }

  /** Takes over what a newly read catalog names; forgets the rest, except for readers that still hold it. */
  adopt(root: string, contents: ReadonlyMap<Content, readonly string[]>): void {
    this.#root = root;
    const former = new Set(this.#contents.values());
    this.#contents.clear();
    for (const [content, paths] of contents) {
      content.paths = paths;
      if (content.state === 'damaged') content.state = 'unproven';
      former.delete(content);
      this.#contents.set(content.sha256, content);
    }
    for (const content of former) this.#letGo(content);
  }

  /** True if the content can be read at once: `content.file` is open and proven. */
  isReady(content: Content): boolean {
    if (content.file === undefined || content.state !== 'proven') return false;
    this.#open.delete(content);
    this.#open.set(content, true);
    return true;
  }

  /**
   * Opens and proves the content if need be. Answers whether it can be served. Concurrent calls share one proof.
   * `urgent`: a request waits for it. `thorough`: hash it even if the file looks as it did when it was proven.
   */
  prove(content: Content, how: { readonly urgent?: boolean; readonly thorough?: boolean } = {}): Promise<boolean> {
    content.proving ??= this.#inTurn(() => this.#prove(content, how.thorough === true), how.urgent === true).finally(
      () => {
        content.proving = undefined;
      },
    );
    return content.proving;
  }

  /** True if the file of a proven content is no longer, by its marks, the one that was proven. */
  async hasMoved(content: Content): Promise<boolean> {
    const { source, identity } = content;
    if (source === undefined || content.displaced || !content.paths.includes(source)) return true;
    const stats = await stat(`${this.#root}/${source}`, { bigint: true }).catch(() => undefined);
    return stats === undefined || !sameIdentity(identityOf(stats), identity);
  }

  /**
   * Looks at the files beside the one that a proven content is read from, an alias's for instance: nobody is sent what they
   * hold, but whoever copies the tree is. Hashes those that have changed since, or all if `thorough`; answers the bytes read.
   */
  async checkCopies(content: Content, thorough: boolean): Promise<number> {
    let hashedBytes = 0;
    const bad: string[] = [];
    for (const path of content.paths) {
      if (path === content.source || content.state !== 'proven') continue;
      const file = await OpenFile.open(this.#root, path, content.sizeBytes);
      const known = content.copies.get(path);
      const isLink = file !== undefined && sameIdentity(file.identity, content.identity);
      let isBad = file === undefined;
      if (file !== undefined && !isLink) {
        if (known !== undefined && !thorough && sameIdentity(file.identity, known.identity)) isBad = known.isBad;
        else {
          isBad = (await hashed(content, file)) === undefined;
          hashedBytes += content.sizeBytes;
        }
      }
      file?.release();
      // A sync may be replacing it just now: what the catalog of then says is looked at in the next round.
      if (this.#contents.get(content.sha256) !== content) return hashedBytes;
      content.copies.set(path, { identity: file?.identity, isBad });
      if (isBad && known?.isBad !== true) bad.push(path);
    }
    for (const path of content.copies.keys())
      if (path === content.source || !content.paths.includes(path)) content.copies.delete(path);
    if (bad.length > 0) this.#settings.onBadCopies(content, bad);
    return hashedBytes;
  }

  /** What was read is not what was proven: nobody gets any more of it until a proof says otherwise. */
  distrust(content: Content): void {
    this.#settings.cache.forget(content);
    content.file?.release();
    content.file = undefined;
    this.#open.delete(content);
    if (content.state !== 'damaged') this.#settings.onChange(content, 'damaged');
    content.state = 'damaged';
  }

  close(): void {
    for (const content of this.#contents.values()) this.#letGo(content);
    this.#contents.clear();
  }

  #letGo(content: Content): void {
    this.#settings.cache.forget(content);
    this.#open.delete(content);
    content.file?.release();
    content.file = undefined;
    content.state = 'unproven';
  }

  async #prove(content: Content, thorough: boolean): Promise<boolean> {
    let spoiled = false;
    for (const path of content.paths) {
      const file = await OpenFile.open(this.#root, path, content.sizeBytes);
      if (file === undefined) continue;
      // The same file by every mark, closed for want of room or looked at again, needs no second hash.
      const known = !thorough && content.state === 'proven' && sameIdentity(file.identity, content.identity);
      const checksums = known ? content.checksums : await hashed(content, file);
      if (this.#contents.get(content.sha256) !== content) {
        file.release();
        return false;
      }
      if (checksums !== undefined) {
        this.#accept(content, file, path, checksums);
        return true;
      }
      spoiled ||= sameFile(file.identity, content.identity);
      file.release();
    }
    if (this.#contents.get(content.sha256) !== content) return false;
    // Another file took the name, as happens while a sync is under way: what is open still holds the right bytes.
    if (!spoiled && content.state === 'proven' && (await content.file?.isUntouched()) === true) {
      if (!content.displaced) this.#settings.onChange(content, 'displaced');
      content.displaced = true;
      return true;
    }
    this.distrust(content);
    return false;
  }

  #accept(content: Content, file: OpenFile, path: string, checksums: Uint32Array): void {
    if (content.state === 'damaged' || content.displaced) this.#settings.onChange(content, 'whole');
    content.file?.release();
    content.file = file;
    content.identity = file.identity;
    content.source = path;
    content.arrivedAtMs = Number(file.identity.changedNs / 1_000_000n);
    content.checksums = checksums;
    content.state = 'proven';
    content.displaced = false;
    content.provenAtMs = Date.now();
    this.#open.delete(content);
    this.#open.set(content, true);
    for (const idle of this.#open.keys()) {
      if (this.#open.size <= this.#settings.maxOpenFiles) break;
      this.#open.delete(idle);
      idle.file?.release();
      idle.file = undefined;
    }
  }

  /** Few proofs at a time, those that a request waits for first. */
  async #inTurn(work: () => Promise<boolean>, urgent: boolean): Promise<boolean> {
    if (this.#proofs >= PROOFS_AT_ONCE)
      await new Promise<void>(resolve => (urgent ? this.#urgent : this.#waiting).push(resolve));
    else this.#proofs++;
    try {
      return await work();
    } finally {
      const next = this.#urgent.shift() ?? this.#waiting.shift();
      if (next === undefined) this.#proofs--;
      else next();
    }
  }
}

function sameFile(a: FileIdentity, b: FileIdentity | undefined): boolean {
  return a.device === b?.device && a.inode === b.inode;
}

/** Reads the whole file. Answers its granules' checksums if its sha256 is the content's, else undefined. */
async function hashed(content: Content, file: OpenFile): Promise<Uint32Array | undefined> {
  const hash = createHash('sha256');
  const checksums = new Uint32Array(Math.ceil(content.sizeBytes / GRANULE_BYTES));
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, content.sizeBytes));
  for (let position = 0; position < content.sizeBytes; position += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES, content.sizeBytes - position);
    const error = await new Promise<Error | undefined>(resolve => file.read(buffer, length, position, resolve));
    if (error !== undefined) return undefined;
    hash.update(buffer.subarray(0, length));
    for (let from = 0; from < length; from += GRANULE_BYTES)
      checksums[(position + from) / GRANULE_BYTES] = crc32(
        buffer.subarray(from, Math.min(from + GRANULE_BYTES, length)),
      );
    await immediate();
  }
  return hash.digest('hex') === content.sha256 ? checksums : undefined;
}
