import { stat } from 'node:fs/promises';
import type { ContentEvent } from '../events.ts';
import { type Fault, faultOf } from '../fault.ts';
import { CHUNK_BYTES, type ChunkCache } from './chunkCache.ts';
import { Content } from './content.ts';
import { Findings } from './findings.ts';
import { hashContent } from './hashContent.ts';
import { type FileIdentity, identityOf, OpenFile, sameIdentity, type Unopened } from './openFile.ts';

const PROOFS_AT_ONCE = 2;

export interface ContentStoreSettings {
  readonly cache: ChunkCache;
  /** Files that stay open while nobody reads them. */
  readonly maxOpenFiles: number;
  readonly onEvent: (event: ContentEvent) => void;
}

/**
 * Every content that the catalog names, and what is known of it. A content is served only from a file that was hashed to
 * its sha256 while open, so that ETag, digest and body can only be of one piece: a sync that is half done, a damaged disk
 * or a link that leads elsewhere makes a content unservable, never wrong.
 */
export class ContentStore {
  readonly #settings: ContentStoreSettings;
  readonly #findings: Findings;
  readonly #contents = new Map<string, Content>();
  /** Contents whose file is open, the longest unused first. */
  readonly #open = new Map<Content, true>();
  readonly #urgent: (() => void)[] = [];
  readonly #waiting: (() => void)[] = [];
  #proofs = 0;
  #root = '';

  constructor(settings: ContentStoreSettings) {
    this.#settings = settings;
    this.#findings = new Findings(settings.onEvent);
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

  /** The same catalog, and its files, are there again after an absence, or lie behind another path now. */
  returned(root: string): void {
    this.#root = root;
    for (const content of this.#contents.values()) if (content.state === 'damaged') content.state = 'unproven';
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
    // Of these, all that can be said has been: no path holds the right bytes.
    if (content.displaced) return hashedBytes;
    const faults = new Map<string, Fault>();
    const seen = new Map<string, { readonly identity: FileIdentity | undefined; readonly fault: Fault | undefined }>();
    for (const path of content.paths) {
      if (path === content.source || content.state !== 'proven') continue;
      const file = await OpenFile.open(this.#root, path, content.sizeBytes);
      const known = content.copies.get(path);
      const isKnown = known !== undefined && !thorough && sameIdentity(file.identity, known.identity);
      let fault: Fault | undefined;
      if (!(file instanceof OpenFile)) fault = faultAt(content, path, file);
      else if (isKnown) fault = known.fault;
      else if (!sameIdentity(file.identity, content.identity)) {
        const result = await hashContent(content, file);
        if (typeof result === 'string') fault = faultAt(content, path, { fault: result, identity: file.identity });
        hashedBytes += content.sizeBytes;
      }
      if (file instanceof OpenFile) file.release();
      // A sync may be replacing it just now: what the catalog of then says is looked at in the next round.
      if (this.#contents.get(content.sha256) !== content) return hashedBytes;
      seen.set(path, { identity: file.identity, fault });
      if (fault !== undefined) faults.set(path, fault);
    }
    // The one that is served may be gone with them by now: that is for the next proof to find.
    if (content.state !== 'proven' || (faults.size > 0 && (await this.hasMoved(content)))) return hashedBytes;
    content.copies.clear();
    for (const [path, copy] of seen) content.copies.set(path, copy);
    this.#findings.trouble(content, 'copy-damaged', faults);
    this.#findings.whole(
      content,
      [...seen.keys()].filter(path => !faults.has(path)),
    );
    return hashedBytes;
  }

  /** What was read is not what was proven: nobody gets any more of it until a proof says otherwise. */
  distrust(content: Content, failure: Error): void {
    const { source, displaced } = content;
    const fault = 'code' in failure ? faultOf(failure) : 'altered';
    // What was read is then not what lies at the path; the next proof tells what does.
    this.#condemn(content, new Map(source === undefined || displaced ? [] : [[source, fault]]));
  }

  close(): void {
    for (const content of this.#contents.values()) this.#letGo(content);
    this.#contents.clear();
  }

  #condemn(content: Content, faults: ReadonlyMap<string, Fault>): void {
    this.#settings.cache.forget(content);
    content.file?.release();
    content.file = undefined;
    this.#open.delete(content);
    content.state = 'damaged';
    content.displaced = false;
    this.#findings.trouble(content, 'damaged', faults);
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
    const faults = new Map<string, Fault>();
    for (const path of content.paths) {
      const file = await OpenFile.open(this.#root, path, content.sizeBytes);
      if (!(file instanceof OpenFile)) {
        faults.set(path, faultAt(content, path, file));
        continue;
      }
      // The same file by every mark, closed for want of room or looked at again, needs no second hash.
      const known = !thorough && content.state === 'proven' && sameIdentity(file.identity, content.identity);
      const result = (known ? content.checksums : undefined) ?? (await hashContent(content, file));
      if (this.#contents.get(content.sha256) !== content) {
        file.release();
        return false;
      }
      if (typeof result !== 'string') {
        this.#accept(content, file, path, result);
        return true;
      }
      faults.set(path, faultAt(content, path, { fault: result, identity: file.identity }));
      spoiled ||= sameFile(file.identity, content.identity);
      file.release();
    }
    if (this.#contents.get(content.sha256) !== content) return false;
    // Another file took the name, or it is gone, as happens while a sync is under way: what is open still holds the right bytes.
    if (!spoiled && content.state === 'proven' && (await content.file?.isUntouched()) === true) {
      content.displaced = true;
      this.#findings.trouble(content, 'displaced', faults);
      return true;
    }
    this.#condemn(content, faults);
    return false;
  }

  #accept(content: Content, file: OpenFile, path: string, checksums: Uint32Array): void {
    content.file?.release();
    content.file = file;
    content.identity = file.identity;
    content.source = path;
    content.arrivedAtMs = Number(file.identity.changedNs / 1_000_000n);
    content.checksums = checksums;
    content.state = 'proven';
    content.displaced = false;
    content.provenAtMs = Date.now();
    this.#findings.whole(content, [path]);
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

/** Tells another file from the one that lay there, where that is known. */
function faultAt(content: Content, path: string, { fault, identity }: Unopened): Fault {
  const copy = content.copies.get(path);
  const was = path === content.source ? content.identity : copy?.identity;
  if (fault !== 'altered' || was === undefined || identity === undefined) return fault;
  if (!sameFile(identity, was)) return 'replaced';
  return path !== content.source && copy?.fault === 'replaced' ? 'replaced' : 'altered';
}

function sameFile(a: FileIdentity, b: FileIdentity | undefined): boolean {
  return a.device === b?.device && a.inode === b.inode;
}
