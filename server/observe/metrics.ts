import process from 'node:process';
import { printable } from '../../base/printable.ts';
import type { AnswerReport } from '../http/answer.ts';
import type { ServedFile, TreeView } from '../view/treeView.ts';
import type { Gauges } from './status.ts';

const BOUNDS_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60];

/** One metric with its samples. */
interface MetricFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** The part after the name (`_bucket{le="1"}`, `{status="200"}`, or empty) and the value. */
  readonly samples: readonly (readonly [suffix: string, value: number])[];
}

/**
 * Counts answers in plain numbers, most of them at the file that was sent, and converts them for Prometheus only when it
 * scrapes: an answer costs a few additions. Labels come from the catalog, so that clients cannot create new series.
 */
export class Metrics {
  readonly #others = new Map<number, number>();
  readonly #buckets = new Array<number>(BOUNDS_SECONDS.length + 1).fill(0);
  #otherBytes = 0;
  #durationSum = 0;
  #durationCount = 0;
  #incomplete = 0;

  add({ file, status, sentBytes, durationMs, complete }: AnswerReport): void {
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

  /** For a request that could not be parsed or did not arrive in time. */
  addUnreadable(status: number): void {
    count(this.#others, status);
  }

  /** Returns all metrics in Prometheus' text format, version 0.0.4. */
  render(view: TreeView | undefined, gauges: Gauges): string {
    const lines = this.#collect(view, gauges).flatMap(({ name, type, help, samples }) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...samples.map(([suffix, value]) => `${name}${suffix} ${value}`),
    ]);
    return `${lines.join('\n')}\n`;
  }

  #collect(view: TreeView | undefined, gauges: Gauges): MetricFamily[] {
    const p = 'plugin_mirror_';
    return [
      ...this.#answers(view),
      this.#durations(),
      counter(`${p}incomplete_answers_total`, 'Answers cut off before their end.', this.#incomplete),
      gauge(`${p}connections`, 'Open connections.', gauges.connections),
      counter(`${p}connections_dropped_total`, 'Connections refused at the limit.', gauges.connectionsDropped),
      gauge(`${p}bodies_running`, 'Downloads under way.', gauges.bodiesRunning),
      gauge(`${p}bodies_waiting`, 'Downloads in the queue.', gauges.bodiesWaiting),
      counter(`${p}cache_hits_total`, 'Chunks found in memory.', gauges.cacheHits),
      counter(`${p}cache_misses_total`, 'Chunks read from disk.', gauges.cacheMisses),
      gauge(`${p}cache_bytes`, 'Memory allocated by the chunk cache.', gauges.cacheBytes),
      gauge(`${p}ready`, 'Whether /readyz answers 200.', gauges.isReady ? 1 : 0),
      gauge(`${p}unavailable_files`, 'Files of the catalog that get 503.', gauges.unavailableFiles),
      gauge(`${p}damaged_files`, 'Files on disk that differ from the catalog.', gauges.damagedFiles),
      gauge(`${p}displaced_files`, 'Files replaced or gone; the open file is still served.', gauges.displacedFiles),
      counter(`${p}access_log_dropped_lines_total`, 'Log lines that could not be written.', gauges.logLinesDropped),
      ...treeMetrics(view),
      ...processMetrics(),
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
      help: "From the end of a request's header to the end of its answer.",
      samples: [...buckets, ['_sum', this.#durationSum], ['_count', this.#durationCount]],
    };
  }
}

const NO_FILE = 'plugin="",version="",coding="identity"';

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, type: 'counter', help, samples: [['', value]] };
}

function gauge(name: string, help: string, value: number, suffix = ''): MetricFamily {
  return { name, type: 'gauge', help, samples: [[suffix, value]] };
}

function count(by: Map<number, number>, status: number): void {
  by.set(status, (by.get(status) ?? 0) + 1);
}

/** A catalog may have been written by others: no control or format character reaches a terminal or a scraper. */
function labelValue(text: string): string {
  return printable(text).replace(/["\\]/g, '\\$&');
}

interface Counted {
  readonly answers: Map<number, number>;
  sentBytes: number;
}

/** Groups by plugin, version and coding, over all paths of a file. Files without a plugin count with `others`. */
function grouped(view: TreeView | undefined, others: Counted): Map<string, Counted> {
  const groups = new Map([[NO_FILE, { answers: new Map(others.answers), sentBytes: others.sentBytes }]]);
  const files = [...(view?.files.values() ?? [])].flatMap((file): ServedFile[] => [file, ...file.variants]);
  for (const { plugin = '', version = '', coding = 'identity', answers, sentBytes } of files) {
    if (answers === undefined) continue;
    const labels = `plugin="${plugin}",version="${version}",coding="${coding}"`;
    const group = groups.get(labels) ?? { answers: new Map<number, number>(), sentBytes: 0 };
    groups.set(labels, group);
    group.sentBytes += sentBytes;
    for (const [status, value] of answers) group.answers.set(status, (group.answers.get(status) ?? 0) + value);
  }
  return groups;
}

function treeMetrics(view: TreeView | undefined): MetricFamily[] {
  if (view === undefined) return [];
  const p = 'plugin_mirror_tree_';
  return [
    gauge(`${p}info`, 'The loaded tree.', 1, `{digest="${labelValue(view.catalog.tree)}"}`),
    gauge(`${p}versions`, 'Versions in the tree, including aliases.', view.versions),
    gauge(`${p}bytes`, 'Size of all files in the tree.', view.sizeBytes),
    gauge(`${p}loaded_timestamp_seconds`, 'When the tree was loaded.', view.loadedAtMs / 1000),
  ];
}

function processMetrics(): MetricFamily[] {
  const { user, system } = process.cpuUsage();
  return [
    counter('process_cpu_seconds_total', 'CPU time spent.', (user + system) / 1e6),
    gauge('process_resident_memory_bytes', 'Resident memory.', process.memoryUsage.rss()),
    gauge('process_start_time_seconds', 'When the process started.', Date.now() / 1000 - process.uptime()),
  ];
}
