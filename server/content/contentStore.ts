import { stat } from 'node:fs/promises';
import type { ContentEvent, Fault } from '../events.ts';
import type { ChunkCache } from './chunkCache.ts';
import { Content, hashContent } from './content.ts';
import { FaultReports } from './faultReports.ts';
import {
  type FileIdentity,
  faultOf,
  identityOf,
  isOutOfDescriptors,
  OpenFile,
  sameIdentity,
  type Unopened,
} from './openFile.ts';

const PROOFS_AT_ONCE = 2;
const STATS_AT_ONCE = 16;

export interface ContentStoreSettings {
  readonly cache: ChunkCache;
  /** Files that stay open without a reader. */
  readonly maxOpenFiles: number;
  readonly onEvent: (event: ContentEvent) => void;
}

/**
 * All contents that the catalog lists, with their state. A content is served only from an open file that was hashed to its
 * sha256, so that ETag, digest and body always describe the same bytes. A half-finished sync, a damaged disk or a link to
 * another file can make a content unavailable, never wrong.
 */
export class ContentStore {
  readonly #settings: ContentStoreSettings;
  readonly #reports: FaultReports;
  readonly #contents = new Map<string, Content>();
  /** Contents with an open file, the least recently used first. */
  readonly #open = new Map<Content, true>();
  readonly #urgent: (() => void)[] = [];
  readonly #waiting: (() => void)[] = [];
  #proofs = 0;
  #root = '';

  constructor(settings: ContentStoreSettings) {
    this.#settings = settings;
    this.#reports = new FaultReports(settings.onEvent);
  }

  get contents(): Iterable<Content> {
    return this.#contents.values();
  }

  get root(): string {
    return this.#root;
  }

  /** Returns the known content with this sha256, or a new one. adopt() adds it to the store and sets its paths. */
  get(sha256: string, sizeBytes: number): Content {
    const known = this.#contents.get(sha256);
    return known?.sizeBytes === sizeBytes ? known : new Content(sha256, sizeBytes);
  }

  /** Replaces all contents by those of a new catalog. Running downloads of a removed content go on. */
  adopt(root: string, contents: ReadonlyMap<Content, readonly string[]>): void {
    this.#root = root;
    const former = new Set(this.#contents.values());
    this.#contents.clear();
    for (const [content, paths] of contents) {
      content.paths = paths;
      for (const path of content.faults.keys()) if (!paths.includes(path)) content.faults.delete(path);
      if (content.state === 'damaged') content.state = 'unproven';
      former.delete(content);
      this.#contents.set(content.sha256, content);
    }
    for (const content of former) this.#drop(content);
  }

  /** The folder of the unchanged catalog has returned or has a new real path: all damaged contents are tried again. */
  relocate(root: string): void {
    this.#root = root;
    for (const content of this.#contents.values()) if (content.state === 'damaged') content.state = 'unproven';
  }

  /** Marks the contents as damaged of which no file exists, or none that has the right size. Hashes nothing. */
  async findMissing(): Promise<void> {
    const unproven = [...this.#contents.values()].filter(({ state }) => state === 'unproven');
    const next = async (): Promise<void> => {
      for (let content = unproven.pop(); content !== undefined; content = unproven.pop())
        if (!(await this.#mayExist(content)) && content.state === 'unproven')
          await this.prove(content, { urgent: true });
    };
    await Promise.all(Array.from({ length: STATS_AT_ONCE }, next));
  }

  /** Tries all damaged contents again. */
  async retryFaults(): Promise<void> {
    const damaged = [...this.#contents.values()].filter(({ state }) => state === 'damaged');
    await Promise.all(damaged.map(content => this.prove(content)));
  }

  async #mayExist({ paths, sizeBytes }: Content): Promise<boolean> {
    for (const path of paths) {
      const stats = await stat(`${this.#root}/${path}`).catch(() => undefined);
      if (stats?.size === sizeBytes) return true;
    }
    return false;
  }

  /** Returns whether the content can be sent without further checks: `content.file` is open and proven. */
  isReady(content: Content): boolean {
    if (content.file === undefined || content.state !== 'proven') return false;
    this.#open.delete(content);
    this.#open.set(content, true);
    return true;
  }

  /**
   * Opens the content and hashes it if necessary. Returns whether it can be served. Concurrent calls share one proof.
   * `urgent`: a request is waiting. `thorough`: hash the file even if its identity has not changed since the last hash.
   */
  prove(content: Content, how: { readonly urgent?: boolean; readonly thorough?: boolean } = {}): Promise<boolean> {
    content.proving ??= this.#inTurn(() => this.#prove(content, how.thorough === true), how.urgent === true).finally(
      () => {
        content.proving = undefined;
      },
    );
    return content.proving;
  }

  /** Hashes the content if it has not been hashed yet, or if its file is another one now. */
  async check(content: Content): Promise<void> {
    if (content.state !== 'proven' || (await this.hasMoved(content))) await this.prove(content, { urgent: true });
  }

  /** Returns whether the file at the path of a proven content is, by its identity, no longer the one that was hashed. */
  async hasMoved(content: Content): Promise<boolean> {
    const { source, identity } = content;
    if (source === undefined || content.displaced || !content.paths.includes(source)) return true;
    const stats = await stat(`${this.#root}/${source}`, { bigint: true }).catch(() => undefined);
    return stats === undefined || !sameIdentity(identityOf(stats), identity);
  }

  /**
   * Checks the paths again at which an earlier proof found a fault, while the content is served from another path. Hashes a
   * file only if it has changed since. Returns the number of hashed bytes.
   */
  async recheckFaults(content: Content): Promise<number> {
    let hashedBytes = 0;
    const faults = new Map<string, Fault>();
    const repaired: string[] = [];
    for (const [path, known] of content.faults) {
      if (content.state !== 'proven' || content.displaced) break;
      const file = await this.#openFile(path, content);
      if (file === undefined) break;
      let found: Unopened | undefined;
      if (!(file instanceof OpenFile)) found = file;
      else if (sameIdentity(file.identity, known.identity) && known.fault !== 'unreadable') found = known;
      else if (!sameIdentity(file.identity, content.identity)) {
        const result = await hashContent(content, file);
        if (typeof result === 'string') found = { fault: result, identity: file.identity };
        hashedBytes += content.sizeBytes;
      }
      if (file instanceof OpenFile) file.release();
      // A reload has replaced the catalog or another proof the faults: the next round starts from those.
      if (this.#contents.get(content.sha256) !== content || content.faults.get(path) !== known) break;
      if (found === undefined) {
        content.faults.delete(path);
        repaired.push(path);
      } else {
        const fault = faultAt(content, path, found);
        content.faults.set(path, { fault, identity: found.identity });
        faults.set(path, fault);
      }
    }
    this.#reports.faults(content, 'copy-damaged', faults);
    this.#reports.whole(content, repaired);
    return hashedBytes;
  }

  /** A read returned other bytes than the hash saw, or failed: the content is not served again until a new proof succeeds. */
  distrust(content: Content, failure: Error): void {
    const { source, displaced } = content;
    const fault = 'code' in failure ? faultOf(failure) : 'altered';
    // The file of a displaced content is no longer the one at the path; the next proof reports on that one.
    const faults = new Map<string, Unopened>();
    if (source !== undefined && !displaced) faults.set(source, { fault, identity: content.identity });
    this.#markDamaged(content, faults);
  }

  close(): void {
    for (const content of this.#contents.values()) this.#drop(content);
    this.#contents.clear();
  }

  #markDamaged(content: Content, faults: ReadonlyMap<string, Unopened>): void {
    this.#settings.cache.forget(content);
    content.file?.release();
    content.file = undefined;
    this.#open.delete(content);
    content.state = 'damaged';
    content.displaced = false;
    this.#noteFaults(content, 'damaged', faults);
  }

  #noteFaults(
    content: Content,
    state: 'damaged' | 'displaced' | 'copy-damaged',
    faults: ReadonlyMap<string, Unopened>,
  ) {
    for (const [path, found] of faults) content.faults.set(path, found);
    this.#reports.faults(content, state, new Map([...faults].map(([path, { fault }]) => [path, fault])));
  }

  #drop(content: Content): void {
    this.#settings.cache.forget(content);
    this.#open.delete(content);
    content.file?.release();
    content.file = undefined;
    content.state = 'unproven';
  }

  async #prove(content: Content, thorough: boolean): Promise<boolean> {
    let isOverwritten = false;
    const faults = new Map<string, Unopened>();
    for (const path of servedPathFirst(content)) {
      const file = await this.#openFile(path, content);
      if (file === undefined) return false;
      if (!(file instanceof OpenFile)) {
        faults.set(path, { ...file, fault: faultAt(content, path, file) });
        continue;
      }
      // The same file by its identity, closed to limit open files or checked again, needs no second hash.
      const known = !thorough && content.state === 'proven' && sameIdentity(file.identity, content.identity);
      const result = (known ? content.checksums : undefined) ?? (await hashContent(content, file));
      if (this.#contents.get(content.sha256) !== content) {
        file.release();
        return false;
      }
      const { identity } = file;
      if (typeof result !== 'string') {
        this.#accept(content, file, path, result);
        this.#noteFaults(content, 'copy-damaged', faults);
        return true;
      }
      faults.set(path, { identity, fault: faultAt(content, path, { fault: result, identity }) });
      isOverwritten ||= sameFile(identity, content.identity);
      file.release();
    }
    if (this.#contents.get(content.sha256) !== content) return false;
    // Another file has taken the path, or it is gone, as during a sync: the open file still has the right bytes.
    if (!isOverwritten && content.state === 'proven' && (await content.file?.isUntouched()) === true) {
      content.displaced = true;
      this.#noteFaults(content, 'displaced', faults);
      return true;
    }
    this.#markDamaged(content, faults);
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
    content.faults.delete(path);
    this.#reports.whole(content, [path]);
    this.#open.delete(content);
    this.#open.set(content, true);
    this.#limitOpenFiles(this.#settings.maxOpenFiles);
  }

  #limitOpenFiles(most: number): void {
    for (const idle of this.#open.keys()) {
      if (this.#open.size <= most) break;
      this.#open.delete(idle);
      idle.file?.release();
      idle.file = undefined;
    }
  }

  /** Returns undefined if the process has no descriptor left, even after idle files have been closed. */
  async #openFile(path: string, { sizeBytes, start }: Content): Promise<OpenFile | Unopened | undefined> {
    for (;;)
      try {
        return await OpenFile.open(this.#root, path, sizeBytes, start);
      } catch (error) {
        if (!isOutOfDescriptors(error)) throw error;
        if (this.#open.size === 0) return undefined;
        this.#limitOpenFiles(Math.floor(this.#open.size / 2));
      }
  }

  /** Limits concurrent proofs; those that a request waits for go first. */
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

/** A proof tries the served path first, so that a fault there is noticed although another path has the right bytes. */
function servedPathFirst({ paths, source }: Content): readonly string[] {
  if (source === undefined || source === paths[0] || !paths.includes(source)) return paths;
  return [source, ...paths.filter(path => path !== source)];
}

/** Returns 'replaced' instead of 'altered' if the file is known to be another one than before. */
function faultAt(content: Content, path: string, { fault, identity }: Unopened): Fault {
  const earlier = content.faults.get(path);
  const was = path === content.source ? content.identity : earlier?.identity;
  if (fault !== 'altered' || was === undefined || identity === undefined) return fault;
  if (!sameFile(identity, was)) return 'replaced';
  return path !== content.source && earlier?.fault === 'replaced' ? 'replaced' : 'altered';
}

function sameFile(a: FileIdentity, b: FileIdentity | undefined): boolean {
  return a.device === b?.device && a.inode === b.inode;
}
