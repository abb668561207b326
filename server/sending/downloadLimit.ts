/** How long a download waits before stalled downloads of a client with too many of them are cut. */
const PATIENCE_MS = 1000;
/** A download of a client with others is cut for a client without any only if it has been stalled for this long. */
const LONG_STALL_MS = 5000;
/** The part of all slots that one client may occupy while other clients wait. */
const SHARE = 1 / 4;

export interface Download {
  /** The key of shareKeys() in clientAddress.ts. Undefined: many clients share the address, and no share limits it. */
  readonly client: string | undefined;
  /** Returns how long the client has taken nothing of its body. */
  readonly stalledMs: () => number;
  /** Closes the connection. The caller then calls leave(). */
  readonly cut: () => void;
}

interface Entry {
  readonly download: Download;
  readonly decide: (isAdmitted: boolean) => void;
}

/**
 * Limits the number of concurrent downloads to `most`. Further ones wait in a queue for at most `maxWaitMs`; when
 * `mostWaiting` downloads wait, the next one is refused immediately.
 *
 * Clients share both fairly. A free slot goes to a waiting client that occupies none, or else less than a quarter of all slots,
 * each client in turn. If none becomes free within a second, the download that has been stalled longest is cut, among those of
 * a client that occupies more than a quarter. Several clients may occupy all slots together: then each of those with the most
 * loses a download that has been stalled for five seconds, one for each client that waits and has none. In a full queue, the
 * client with the most waiting downloads loses its last one.
 */
export class DownloadLimit {
  readonly #most: number;
  readonly #mostWaiting: number;
  readonly #maxWaitMs: number;
  readonly #share: number;
  readonly #running = new Groups<Download>();
  /** The client whose turn is next comes first. */
  readonly #queue = new Groups<Entry>();
  #impatience: NodeJS.Timeout | undefined;

  constructor(most: number, mostWaiting: number, maxWaitMs: number) {
    this.#most = most;
    this.#mostWaiting = mostWaiting;
    this.#maxWaitMs = maxWaitMs;
    this.#share = Math.max(1, Math.floor(most * SHARE));
  }

  get running(): number {
    return this.#running.size;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /**
   * Returns true if the download may start (the caller calls leave() at its end) and false if it is refused. Otherwise the
   * download waits: `decided` is called later, unless the caller withdraws.
   */
  enter(download: Download, decided: (isAdmitted: boolean) => void): boolean | { withdraw(): void } {
    const { client } = download;
    if (this.running < this.#most) {
      this.#running.add(client, download);
      return true;
    }
    if (this.waiting >= this.#mostWaiting && !this.#displaceFor(client)) return false;
    const withdraw = (): void => {
      clearTimeout(timer);
      this.#queue.delete(client, entry);
      if (this.waiting > 0) return;
      clearInterval(this.#impatience);
      this.#impatience = undefined;
    };
    const decide = (isAdmitted: boolean): void => {
      withdraw();
      decided(isAdmitted);
    };
    const entry: Entry = { download, decide };
    const timer = setTimeout(decide, this.#maxWaitMs, false);
    this.#impatience ??= setInterval(() => this.#cutStalled(), PATIENCE_MS);
    this.#queue.add(client, entry);
    return { withdraw };
  }

  leave(download: Download): void {
    this.#running.delete(download.client, download);
    const next = this.#next();
    if (next === undefined) return;
    this.#running.add(next.download.client, next.download);
    this.#queue.moveToEnd(next.download.client);
    next.decide(true);
  }

  #next(): Entry | undefined {
    let below: Entry | undefined;
    let oldest: Entry | undefined;
    for (const [client, [first]] of this.#queue.groups) {
      if (this.#running.count(client) === 0) return first;
      if (!this.#isOverShare(client, 1)) below ??= first;
      oldest ??= first;
    }
    return below ?? oldest;
  }

  /** Whether the client has more than its share of the slots, or would have it with `more` downloads. */
  #isOverShare(client: string | undefined, more = 0): boolean {
    return client !== undefined && this.#running.count(client) + more > this.#share;
  }

  /** For each waiting download of a client below its share, cuts one stalled download of a client above it. */
  #cutStalled(): void {
    let wanted = 0;
    for (const [client, entries] of this.#queue.groups) if (!this.#isOverShare(client, 1)) wanted += entries.size;
    if (wanted === 0) return;
    const stalled: [number, Download][] = [];
    for (const [client, downloads] of this.#running.groups) {
      if (!this.#isOverShare(client)) continue;
      const slowest = [...downloads]
        .map((download): [number, Download] => [download.stalledMs(), download])
        .filter(([ms]) => ms >= PATIENCE_MS)
        .sort(([a], [b]) => b - a);
      stalled.push(...slowest.slice(0, downloads.size - this.#share));
    }
    stalled.sort(([a], [b]) => b - a);
    if (stalled.length > 0) for (const [, download] of stalled.slice(0, wanted)) download.cut();
    else this.#cutForOthers();
  }

  /** For each waiting client without a download, cuts one of a client with several. */
  #cutForOthers(): void {
    let wanted = 0;
    for (const client of this.#queue.groups.keys()) if (this.#running.count(client) === 0) wanted++;
    if (wanted === 0) return;
    const most = [...this.#running.groups]
      .filter(([client, { size }]) => client !== undefined && size > 1)
      .sort(([, a], [, b]) => b.size - a.size);
    const longest = most.flatMap(([, downloads]) => {
      const stalled = [...downloads].filter(download => download.stalledMs() >= LONG_STALL_MS);
      stalled.sort((a, b) => b.stalledMs() - a.stalledMs());
      return stalled.slice(0, 1);
    });
    for (const download of longest.slice(0, wanted)) download.cut();
  }

  /** Makes room in a full queue. Returns false if no other client has more waiting downloads. */
  #displaceFor(newcomer: string | undefined): boolean {
    let most = this.#queue.count(newcomer) + 1;
    let last: Entry | undefined;
    for (const [client, entries] of this.#queue.groups) {
      if (client === newcomer || entries.size <= most) continue;
      most = entries.size;
      last = [...entries].at(-1);
    }
    last?.decide(false);
    return last !== undefined;
  }
}

/** Items by client, in the order in which the clients and their items came. */
class Groups<Item> {
  readonly groups = new Map<string | undefined, Set<Item>>();
  size = 0;

  count(client: string | undefined): number {
    return this.groups.get(client)?.size ?? 0;
  }

  add(client: string | undefined, item: Item): void {
    const group = this.groups.get(client);
    if (group === undefined) this.groups.set(client, new Set([item]));
    else group.add(item);
    this.size++;
  }

  delete(client: string | undefined, item: Item): void {
    const group = this.groups.get(client);
    if (group?.delete(item) !== true) return;
    this.size--;
    if (group.size === 0) this.groups.delete(client);
  }

  moveToEnd(client: string | undefined): void {
    const group = this.groups.get(client);
    if (group === undefined) return;
    this.groups.delete(client);
    this.groups.set(client, group);
  }
}
