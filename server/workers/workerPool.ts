import cluster, { type Worker } from 'node:cluster';
import { type MetricFamily, mergeFamilies } from '../metricFamily.ts';
import type { Stop, StopReport } from '../startServer.ts';
import type { FromWorker, ToWorker } from './workerMessages.ts';

const COLLECT_MS = 1000;
/** Before a worker that ended by itself is replaced, so that one that cannot run does not keep a core busy. */
const REPLACE_MS = 1000;

export interface WorkerPoolSettings {
  readonly count: number;
  readonly writeLog: (text: string) => Promise<void>;
  /** A worker ended that nobody had told to; another takes its place. `how`: its exit code or signal. */
  readonly onLost: (how: string) => void;
}

/** Processes that share one port; each runs this same program, and finds out by openWorkerLink that it is one of them. */
export class WorkerPool {
  readonly #settings: WorkerPoolSettings;
  readonly #workers = new Set<Worker>();
  readonly #collecting = new Map<number, (families: readonly MetricFamily[]) => void>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #id = 0;
  #cut = 0;
  #isStopping = false;
  #empty: (() => void) | undefined;

  constructor(settings: WorkerPoolSettings) {
    this.#settings = settings;
  }

  /** Answers where they listen, or the exit code of one that could not start (it has said why). */
  async start(): Promise<{ readonly url: string } | { readonly exitCode: number }> {
    // The first one alone: what is wrong with the options or the port is then said once.
    const first = await this.#startOne();
    if ('exitCode' in first) return first;
    const others = await Promise.all(Array.from({ length: this.#settings.count - 1 }, () => this.#startOne()));
    const failed = others.find(other => 'exitCode' in other);
    if (failed === undefined) return first;
    await this.stop({ graceMs: 0 });
    return failed;
  }

  /** Stops all of them at once; answers when the last one has ended. */
  async stop(stop: Stop): Promise<StopReport> {
    this.#isStopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const worker of this.#workers) send(worker, { kind: 'stop', stop });
    if (this.#workers.size > 0)
      await new Promise<void>(resolve => {
        this.#empty = resolve;
      });
    return { cut: this.#cut };
  }

  /** Ends them without ceremony. */
  kill(): void {
    this.#isStopping = true;
    for (const worker of this.#workers) worker.process.kill('SIGKILL');
  }

  #startOne(): Promise<{ readonly url: string } | { readonly exitCode: number }> {
    const worker = cluster.fork();
    this.#workers.add(worker);
    let isUp = false;
    return new Promise(resolve => {
      worker.on('message', (message: FromWorker) => {
        if (message.kind === 'listening') {
          isUp = true;
          resolve({ url: message.url });
        } else this.#hear(worker, message);
      });
      worker.once('exit', (code, signal) => {
        this.#workers.delete(worker);
        if (!isUp) resolve({ exitCode: code === 0 || code === null ? 1 : code });
        else if (!this.#isStopping) this.#replace(signal ?? `exit code ${code}`);
        if (this.#workers.size === 0) this.#empty?.();
      });
    });
  }

  #hear(worker: Worker, message: Exclude<FromWorker, { kind: 'listening' }>): void {
    const { writeLog } = this.#settings;
    if (message.kind === 'counted') this.#collecting.get(message.id)?.(message.families);
    else if (message.kind === 'stopped') this.#cut += message.cut;
    else if (message.kind === 'log') {
      const done = (): void => send(worker, { kind: 'logged', id: message.id });
      writeLog(message.text).then(done, done);
    } else
      this.#collect().then(
        families => send(worker, { kind: 'scraped', id: message.id, families }),
        () => undefined,
      );
  }

  async #collect(): Promise<MetricFamily[]> {
    const sets = await Promise.all([...this.#workers].map(worker => this.#collectFrom(worker)));
    const answering = sets.filter(set => set.length > 0);
    const size: MetricFamily = {
      name: 'plugin_mirror_workers',
      type: 'gauge',
      help: 'Processes that these figures are of.',
      samples: [['', answering.length]],
    };
    return [size, ...mergeFamilies(answering)];
  }

  #collectFrom(worker: Worker): Promise<readonly MetricFamily[]> {
    const id = this.#id++;
    return new Promise(resolve => {
      const done = (families: readonly MetricFamily[]): void => {
        clearTimeout(timer);
        this.#collecting.delete(id);
        resolve(families);
      };
      const timer = setTimeout(done, COLLECT_MS, []);
      this.#collecting.set(id, done);
      send(worker, { kind: 'collect', id });
    });
  }

  #replace(how: string): void {
    this.#settings.onLost(how);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#isStopping) return;
      this.#startOne().then(
        started => {
          if ('exitCode' in started && !this.#isStopping) this.#replace(`exit code ${started.exitCode}`);
        },
        () => undefined,
      );
    }, REPLACE_MS);
    this.#timers.add(timer);
  }
}

function send(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, undefined, () => undefined);
}
