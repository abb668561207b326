import type { Connections } from '../connections/connections.ts';
import type { ChunkCache } from '../content/chunkCache.ts';
import type { Content } from '../content/content.ts';
import type { ContentStore } from '../content/contentStore.ts';
import { describeTreeProblem } from '../events.ts';
import type { DownloadLimit } from '../sending/downloadLimit.ts';
import type { TreeFollower } from '../view/treeFollower.ts';
import type { AccessLog } from './accessLog.ts';

/** Values that other parts of the server know and that are read at a scrape. */
export interface Gauges {
  readonly connections: number;
  readonly bodiesRunning: number;
  readonly bodiesWaiting: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly cacheBytes: number;
  readonly isReady: boolean;
  readonly unavailableFiles: number;
  readonly damagedFiles: number;
  readonly displacedFiles: number;
  readonly logLinesDropped: number;
  readonly connectionsDropped: number;
}

export interface StatusParts {
  readonly follower: TreeFollower;
  readonly store: ContentStore;
  readonly cache: ChunkCache;
  readonly downloads: DownloadLimit;
  readonly connections: Connections;
  readonly log: AccessLog | undefined;
}

/** The state of the server as a whole: for /readyz and /metrics. */
export class Status {
  readonly #parts: StatusParts;
  isDraining = false;
  connectionsDropped = 0;

  constructor(parts: StatusParts) {
    this.#parts = parts;
  }

  /** Returns why /readyz answers 503, or undefined if the server is ready. */
  notReady(): string | undefined {
    return this.#notReady(this.#unavailable());
  }

  #notReady([first, ...others]: readonly Content[]): string | undefined {
    const { view, problem, isGone } = this.#parts.follower;
    if (this.isDraining) return 'The server is stopping.';
    if (view === undefined)
      return `No plugin tree has been loaded: ${problem === undefined ? 'it is being read' : describeTreeProblem(problem)}.`;
    if (first === undefined) return undefined;
    if (problem !== undefined && isGone)
      return `Files of the plugin tree cannot be served: ${describeTreeProblem(problem)}.`;
    const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
    return `The catalog lists ${first.paths[0]}${more}, but this server has no file with these bytes; see its log.`;
  }

  gauges(): Gauges {
    const { store, cache, downloads, connections, log } = this.#parts;
    const unavailable = this.#unavailable();
    return {
      connections: connections.open,
      bodiesRunning: downloads.running,
      bodiesWaiting: downloads.waiting,
      cacheHits: cache.hits,
      cacheMisses: cache.misses,
      cacheBytes: cache.sizeBytes,
      isReady: this.#notReady(unavailable) === undefined,
      unavailableFiles: unavailable.length,
      damagedFiles: unavailable.length + this.#damagedCopies(),
      displacedFiles: number(store.contents, content => content.displaced),
      logLinesDropped: log?.droppedLines ?? 0,
      connectionsDropped: this.connectionsDropped,
    };
  }

  /** The contents that get 503: no file in the tree has their bytes. */
  #unavailable(): readonly Content[] {
    const unavailable: Content[] = [];
    for (const content of this.#parts.store.contents) if (content.state === 'damaged') unavailable.push(content);
    return unavailable;
  }

  #damagedCopies(): number {
    let copies = 0;
    for (const { faults, state, displaced } of this.#parts.store.contents)
      if (state === 'proven' && !displaced) copies += faults.size;
    return copies;
  }
}

function number(contents: Iterable<Content>, fits: (content: Content) => boolean): number {
  let found = 0;
  for (const content of contents) if (fits(content)) found++;
  return found;
}
