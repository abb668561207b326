import type { AnswerReport } from '../http/answer.ts';

/** A gateway gives up after 15 s for one module; what takes a third of that is worth a look. */
const SLOW_MS = 5000;
const MOST_SLOW = 40;
const MOST_MODULE_PATHS = 400;
const MOST_OTHER_PATHS = 100;
const MOST_PATH = 300;
const MOST_AGENT = 80;

/** A path that was answered with 404. */
export interface MissingPath {
  /** As in the request, cut after 300 characters. */
  readonly path: string;
  /** At least this often; at most `count + error` times. */
  readonly count: number;
  /** Requests that may have been for other paths, because this one took the entry of another. */
  readonly error: number;
  readonly lastAtMs: number;
  /** Of the last request. */
  readonly client: string;
  readonly userAgent: string;
}

/** A download that was cut, or that took long. */
export interface SlowDownload {
  readonly plugin: string;
  readonly version: string;
  readonly client: string;
  readonly atMs: number;
  readonly durationMs: number;
  readonly sentBytes: number;
  readonly isCut: boolean;
}

/** Remembers what went wrong since the start, in bounded memory whatever clients ask for. */
export class Troubles {
  /** Paths of modules are counted apart, so that a scanner of other paths does not push out the request of a gateway. */
  readonly #modules = new FrequentPaths(MOST_MODULE_PATHS);
  readonly #others = new FrequentPaths(MOST_OTHER_PATHS);
  readonly #slow: SlowDownload[] = [];
  #missingAnswers = 0;

  /** To be called for every answer. */
  add({ file, status, path, client, request, durationMs, sentBytes, complete }: AnswerReport): void {
    if (status === 404) {
      this.#missingAnswers++;
      const paths = path.endsWith('.wasm') ? this.#modules : this.#others;
      paths.add(path, client, request.headers['user-agent'] ?? '');
    } else if (file?.plugin !== undefined && (!complete || durationMs > SLOW_MS)) {
      const { plugin, version = '' } = file;
      this.#slow.push({ plugin, version, client, atMs: Date.now(), durationMs, sentBytes, isCut: !complete });
      if (this.#slow.length > MOST_SLOW) this.#slow.shift();
    }
  }

  get missingAnswers(): number {
    return this.#missingAnswers;
  }

  /** The paths that were asked for most often; paths of modules first. */
  get missing(): readonly MissingPath[] {
    return [...this.#modules.list(), ...this.#others.list()];
  }

  /** The last first. */
  get slow(): readonly SlowDownload[] {
    return this.#slow.toReversed();
  }
}

interface Counter {
  path: string;
  count: number;
  error: number;
  lastAtMs: number;
  client: string;
  userAgent: string;
}

/**
 * The "space-saving" algorithm of Metwally, Agrawal and El Abbadi (2005): a new path takes the entry of the least frequent
 * one and inherits its count as a possible error. A path that makes up more than 1/capacity of all requests is always listed.
 */
class FrequentPaths {
  readonly #capacity: number;
  readonly #byPath = new Map<string, Counter>();
  readonly #counters: Counter[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(path: string, client: string, userAgent: string): void {
    const shown = shortened(path, MOST_PATH);
    const known = this.#byPath.get(shown);
    const counter = known ?? this.#entryFor(ownCopy(shown));
    counter.count++;
    counter.lastAtMs = Date.now();
    if (counter.client !== client) counter.client = ownCopy(client);
    const agent = shortened(userAgent, MOST_AGENT);
    if (counter.userAgent !== agent) counter.userAgent = ownCopy(agent);
  }

  list(): MissingPath[] {
    return this.#counters
      .map(({ count, error, ...rest }) => ({ ...rest, count: count - error, error }))
      .sort((one, other) => other.count - one.count || other.lastAtMs - one.lastAtMs);
  }

  #entryFor(path: string): Counter {
    if (this.#counters.length < this.#capacity) {
      const counter = { path, count: 0, error: 0, lastAtMs: 0, client: '', userAgent: '' };
      this.#counters.push(counter);
      this.#byPath.set(path, counter);
      return counter;
    }
    let least = this.#counters[0] as Counter;
    for (const counter of this.#counters) if (counter.count < least.count) least = counter;
    this.#byPath.delete(least.path);
    Object.assign(least, { path, error: least.count });
    this.#byPath.set(path, least);
    return least;
  }
}

function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** A part of a string keeps the whole string in memory: here the header of the request. */
function ownCopy(text: string): string {
  return Buffer.from(text).toString();
}
