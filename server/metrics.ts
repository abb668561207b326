import process from 'node:process';
import type { Answered } from './exchange.ts';
import type { ServedFile, TreeView } from './treeView.ts';

const BOUNDS_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60];

/** What is read at the moment of a scrape, from where it is known anyway. */
export interface Gauges {
  readonly connections: number;
  readonly bodiesRunning: number;
  readonly bodiesWaiting: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly cacheBytes: number;
  readonly damagedFiles: number;
  readonly displacedFiles: number;
  readonly logLinesDropped: number;
  readonly connectionsDropped: number;
}

/**
 * Counts in plain numbers, on the file that was asked for, and puts them into words (Prometheus' text format, 0.0.4) when
 * somebody scrapes: an answer costs a few additions. Labels come from the catalog alone, so strangers cannot make more.
 */
export class Metrics {
  readonly #others = new Map<number, number>();
  readonly #buckets = new Array<number>(BOUNDS_SECONDS.length + 1).fill(0);
  #otherBytes = 0;
  #durationSum = 0;
  #durationCount = 0;
  #incomplete = 0;

  add({ file, status, sentBytes, durationMs, complete }: Answered): void {
    const seconds = durationMs / 1000;
    let bucket = 0;
    while (bucket < BOUNDS_SECONDS.length && seconds > (BOUNDS_SECONDS[bucket] ?? 0)) bucket++;
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#durationSum += seconds;
    this.#durationCount++;
    if (!complete) this.#incomplete++;
    if (file === undefined) {
      this.#otherBytes += sentBytes;
      count(this.#others, status);
    } else {
      file.sentBytes += sentBytes;
      file.answers ??= new Map();
      count(file.answers, status);
    }
  }

  render(view: TreeView | undefined, gauges: Gauges): string {
    const out: string[] = [];
    const family = (name: string, type: 'counter' | 'gauge' | 'histogram', help: string): void => {
      out.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    };
    const one = (name: string, type: 'counter' | 'gauge', help: string, value: number): void => {
      family(name, type, help);
      out.push(`${name} ${value}`);
    };
    const files = grouped(view);
    family('plugin_mirror_requests_total', 'counter', 'Answers by plugin, version, status and content coding.');
    for (const [labels, { answers }] of files)
      for (const [status, value] of answers)
        out.push(`plugin_mirror_requests_total{${labels},status="${status}",coding="identity"} ${value}`);
    for (const [status, value] of this.#others)
      out.push(`plugin_mirror_requests_total{plugin="",version="",status="${status}",coding="identity"} ${value}`);
    family('plugin_mirror_sent_bytes_total', 'counter', 'Bytes of bodies sent.');
    for (const [labels, { sentBytes }] of files) out.push(`plugin_mirror_sent_bytes_total{${labels}} ${sentBytes}`);
    out.push(`plugin_mirror_sent_bytes_total{plugin="",version=""} ${this.#otherBytes}`);
    this.#renderDurations(family, out);
    one(
      'plugin_mirror_incomplete_answers_total',
      'counter',
      'Answers that were cut before their end.',
      this.#incomplete,
    );
    one('plugin_mirror_connections', 'gauge', 'Open connections.', gauges.connections);
    one(
      'plugin_mirror_connections_dropped_total',
      'counter',
      'Connections refused at the limit.',
      gauges.connectionsDropped,
    );
    one('plugin_mirror_bodies_running', 'gauge', 'Downloads under way.', gauges.bodiesRunning);
    one('plugin_mirror_bodies_waiting', 'gauge', 'Downloads that wait for their turn.', gauges.bodiesWaiting);
    one('plugin_mirror_cache_hits_total', 'counter', 'Chunks found in memory.', gauges.cacheHits);
    one('plugin_mirror_cache_misses_total', 'counter', 'Chunks read from the disk.', gauges.cacheMisses);
    one('plugin_mirror_cache_bytes', 'gauge', 'Memory that the chunk cache has taken.', gauges.cacheBytes);
    one(
      'plugin_mirror_damaged_files',
      'gauge',
      'Files on disk that are not what the catalog names; 503 is answered.',
      gauges.damagedFiles,
    );
    one(
      'plugin_mirror_displaced_files',
      'gauge',
      'Files replaced on disk while the catalog still names their former bytes.',
      gauges.displacedFiles,
    );
    one(
      'plugin_mirror_access_log_dropped_lines_total',
      'counter',
      'Log lines lost because nobody took them.',
      gauges.logLinesDropped,
    );
    if (view !== undefined) {
      family('plugin_mirror_tree_info', 'gauge', 'The tree that is served.');
      out.push(`plugin_mirror_tree_info{digest="${view.catalog.tree}"} 1`);
      one('plugin_mirror_tree_versions', 'gauge', 'Versions in the tree, aliases included.', view.versions);
      one('plugin_mirror_tree_bytes', 'gauge', 'Size of all files in the tree.', view.sizeBytes);
      one('plugin_mirror_tree_loaded_timestamp_seconds', 'gauge', 'When the tree was read.', view.loadedAtMs / 1000);
    }
    renderProcess(one);
    return `${out.join('\n')}\n`;
  }

  #renderDurations(family: (name: string, type: 'histogram', help: string) => void, out: string[]): void {
    const name = 'plugin_mirror_request_duration_seconds';
    family(name, 'histogram', 'From the header of a request to the end of its answer.');
    let sum = 0;
    for (const [at, bound] of [...BOUNDS_SECONDS, '+Inf'].entries()) {
      sum += this.#buckets[at] ?? 0;
      out.push(`${name}_bucket{le="${bound}"} ${sum}`);
    }
    out.push(`${name}_sum ${this.#durationSum}`, `${name}_count ${this.#durationCount}`);
  }
}

function count(by: Map<number, number>, status: number): void {
  by.set(status, (by.get(status) ?? 0) + 1);
}

interface Counted {
  readonly answers: Map<number, number>;
  sentBytes: number;
}

/** By plugin and version, over all the paths that lead there. */
function grouped(view: TreeView | undefined): Map<string, Counted> {
  const groups = new Map<string, Counted>();
  const seen: Iterable<ServedFile> = view?.files.values() ?? [];
  for (const { plugin = '', version = '', answers, sentBytes } of seen) {
    if (answers === undefined) continue;
    const labels = `plugin="${plugin}",version="${version}"`;
    const group = groups.get(labels) ?? { answers: new Map<number, number>(), sentBytes: 0 };
    groups.set(labels, group);
    group.sentBytes += sentBytes;
    for (const [status, value] of answers) group.answers.set(status, (group.answers.get(status) ?? 0) + value);
  }
  return groups;
}

function renderProcess(one: (name: string, type: 'counter' | 'gauge', help: string, value: number) => void): void {
  const { user, system } = process.cpuUsage();
  one('process_cpu_seconds_total', 'counter', 'CPU time spent.', (user + system) / 1e6);
  one('process_resident_memory_bytes', 'gauge', 'Resident memory.', process.memoryUsage.rss());
  one('process_start_time_seconds', 'gauge', 'When the process started.', Date.now() / 1000 - process.uptime());
}
