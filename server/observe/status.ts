import type { Connections } from '../connections/connections.ts';
import type { ChunkCache } from '../content/chunkCache.ts';
import type { Content } from '../content/content.ts';
import type { ContentStore } from '../content/contentStore.ts';
import { describeTreeProblem, type TreeProblem } from '../events.ts';
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

/** Why the server takes no new clients. */
type NotReady =
  | { readonly kind: 'stopping' }
  /** No tree has been loaded since the start. Without a problem, it is being read. */
  | { readonly kind: 'no tree'; readonly problem: TreeProblem | undefined }
  | { readonly kind: 'tree gone'; readonly problem: TreeProblem }
  /** No file has the bytes that the catalog lists for `path`, and for so many others. */
  | { readonly kind: 'files'; readonly path: string; readonly others: number };

/** The state of the server as a whole: for /readyz and /metrics. */
export class Status {
  readonly #parts: StatusParts;
  isDraining = false;
  connectionsDropped = 0;

  constructor(parts: StatusParts) {
    this.#parts = parts;
  }

  /**
   * Returns why /readyz answers 503, or undefined if the server is ready. In English for probes and scripts, and in Chinese for
   * readers of the pages.
   */
  notReady(language: 'en' | 'zh' = 'en'): string | undefined {
    const reason = this.#notReady(this.#unavailable());
    return reason === undefined ? undefined : describeNotReady(reason, language);
  }

  #notReady([first, ...others]: readonly Content[]): NotReady | undefined {
    const { view, problem, isGone } = this.#parts.follower;
    if (this.isDraining) return { kind: 'stopping' };
    if (view === undefined) return { kind: 'no tree', problem };
    if (first === undefined) return undefined;
    if (problem !== undefined && isGone) return { kind: 'tree gone', problem };
    return { kind: 'files', path: first.paths[0] ?? '', others: others.length };
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

function describeNotReady(reason: NotReady, language: 'en' | 'zh'): string {
  const isChinese = language === 'zh';
  const problemOf = (problem: TreeProblem) => describeTreeProblem(problem, language);
  switch (reason.kind) {
    case 'stopping':
      return isChinese ? '服务正在停止。' : 'The server is stopping.';
    case 'no tree': {
      const { problem } = reason;
      if (isChinese) return `尚未加载插件目录：${problem === undefined ? '正在读取' : problemOf(problem)}。`;
      return `No plugin tree has been loaded: ${problem === undefined ? 'it is being read' : problemOf(problem)}.`;
    }
    case 'tree gone':
      return isChinese
        ? `插件目录中的文件无法提供：${problemOf(reason.problem)}。`
        : `Files of the plugin tree cannot be served: ${problemOf(reason.problem)}.`;
    case 'files': {
      const { path, others } = reason;
      if (isChinese) {
        const more = others === 0 ? '' : `（另有 ${others} 个）`;
        return `索引列出了 ${path}${more}，但服务找不到内容一致的文件，详见日志。`;
      }
      const more = others === 0 ? '' : ` (and ${others} more)`;
      return `The catalog lists ${path}${more}, but this server has no file with these bytes; see its log.`;
    }
  }
}

function number(contents: Iterable<Content>, fits: (content: Content) => boolean): number {
  let found = 0;
  for (const content of contents) if (fits(content)) found++;
  return found;
}
