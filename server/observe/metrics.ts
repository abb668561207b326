import process from 'node:process';
import type { Answered } from '../http/answer.ts';
import type { MetricFamily } from '../metricFamily.ts';
import type { ServedFile, TreeView } from '../view/treeView.ts';

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
 * Counts in plain numbers, on the file that was asked for; what Prometheus wants is made of them when somebody scrapes, so
 * that an answer costs a few additions. Labels come from the catalog alone, so strangers cannot make more.
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

  /** A request that could not be read, or was refused before anybody looked at it. */
  addUnreadable(status: number): void {
    count(this.#others, status);
  }

  collect(view: TreeView | undefined, gauges: Gauges): MetricFamily[] {
    const p = 'plugin_mirror_';
    return [
      ...this.#answers(view),
      this.#durations(),
      counter(`${p}incomplete_answers_total`, 'Answers that were cut before their end.', this.#incomplete),
      gauge(`${p}connections`, 'Open connections.', gauges.connections),
      counter(`${p}connections_dropped_total`, 'Connections refused at the limit.', gauges.connectionsDropped),
      gauge(`${p}bodies_running`, 'Downloads under way.', gauges.bodiesRunning),
      gauge(`${p}bodies_waiting`, 'Downloads that wait for their turn.', gauges.bodiesWaiting),
      counter(`${p}cache_hits_total`, 'Chunks found in memory.', gauges.cacheHits),
      counter(`${p}cache_misses_total`, 'Chunks read from the disk.', gauges.cacheMisses),
      gauge(`${p}cache_bytes`, 'Memory that the chunk cache has taken.', gauges.cacheBytes),
      seenByAll(`${p}damaged_files`, 'Files on disk that are not what the catalog names.', gauges.damagedFiles),
      seenByAll(`${p}displaced_files`, 'Files replaced or gone; what is still open is served.', gauges.displacedFiles),
      counter(`${p}access_log_dropped_lines_total`, 'Log lines that nobody took.', gauges.logLinesDropped),
      ...aboutTree(view),
      ...aboutProcess(),
    ];
  }

  #answers(view: TreeView | undefined): MetricFamily[] {
    const groups = [...grouped(view, { answers: this.#others, sentBytes: this.#otherBytes })];
    const requests = groups.flatMap(([labels, { answers }]) =>
      [...answers].map(([status, value]) => [`{${labels},status="${status}"}`, value] as const),
    );
    const bytes = groups.map(([labels, { sentBytes }]) => [`{${labels}}`, sentBytes] as const);
    return [
      {
        name: 'plugin_mirror_requests_total',
        type: 'counter',
        help: 'Answers by plugin, version, content coding and status.',
        samples: requests,
      },
      {
        name: 'plugin_mirror_sent_bytes_total',
        type: 'counter',
        help: 'Bytes of bodies sent.',
        samples: bytes,
      },
    ];
  }

  #durations(): MetricFamily {
    let sum = 0;
    const buckets = [...BOUNDS_SECONDS, '+Inf'].map((bound, at) => {
      sum += this.#buckets[at] ?? 0;
      return [`_bucket{le="${bound}"}`, sum] as const;
    });
    return {
      name: 'plugin_mirror_request_duration_seconds',
      type: 'histogram',
      help: 'From the header of a request to the end of its answer.',
      samples: [...buckets, ['_sum', this.#durationSum], ['_count', this.#durationCount]],
    };
  }
}

const NO_FILE = 'plugin="",version="",coding="identity"';

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, type: 'counter', help, samples: [['', value]] };
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, type: 'gauge', help, samples: [['', value]] };
}

/** Of one and the same tree: workers do not add up. */
function seenByAll(name: string, help: string, value: number, suffix = ''): MetricFamily {
  return { name, type: 'gauge', help, merge: 'max', samples: [[suffix, value]] };
}

function count(by: Map<number, number>, status: number): void {
  by.set(status, (by.get(status) ?? 0) + 1);
}

interface Counted {
  readonly answers: Map<number, number>;
  sentBytes: number;
}

/** By plugin, version and coding, over all the paths that lead there; files of no plugin count with `others`. */
function grouped(view: TreeView | undefined, others: Counted): Map<string, Counted> {
  const groups = new Map([[NO_FILE, { answers: new Map(others.answers), sentBytes: others.sentBytes }]]);
  const seen = [...(view?.files.values() ?? [])].flatMap((file): ServedFile[] => [file, ...file.variants]);
  for (const { plugin = '', version = '', coding = 'identity', answers, sentBytes } of seen) {
    if (answers === undefined) continue;
    const labels = `plugin="${plugin}",version="${version}",coding="${coding}"`;
    const group = groups.get(labels) ?? { answers: new Map<number, number>(), sentBytes: 0 };
    groups.set(labels, group);
    group.sentBytes += sentBytes;
    for (const [status, value] of answers) group.answers.set(status, (group.answers.get(status) ?? 0) + value);
  }
  return groups;
}

function aboutTree(view: TreeView | undefined): MetricFamily[] {
  if (view === undefined) return [];
  const p = 'plugin_mirror_tree_';
  return [
    seenByAll(`${p}info`, 'The tree that is served.', 1, `{digest="${view.catalog.tree}"}`),
    seenByAll(`${p}versions`, 'Versions in the tree, aliases included.', view.versions),
    seenByAll(`${p}bytes`, 'Size of all files in the tree.', view.sizeBytes),
    seenByAll(`${p}loaded_timestamp_seconds`, 'When the tree was read.', view.loadedAtMs / 1000),
  ];
}

function aboutProcess(): MetricFamily[] {
  const { user, system } = process.cpuUsage();
  const started = gauge('process_start_time_seconds', 'When it started.', Date.now() / 1000 - process.uptime());
  return [
    counter('process_cpu_seconds_total', 'CPU time spent.', (user + system) / 1e6),
    gauge('process_resident_memory_bytes', 'Resident memory.', process.memoryUsage.rss()),
    { ...started, merge: 'min' },
  ];
}
