import cluster, { type Worker } from 'node:cluster';
import type { MetricFamily } from '../metricFamily.ts';
import type { RunningServer, Stop, StopReport } from '../startServer.ts';
import type { FromWorker, ToWorker } from './workerMessages.ts';

/** Without an answer for so long, a worker tells its own figures alone. */
const SCRAPE_MS = 2000;

/** A worker's side of the channel to the process that started it; undefined in any other process. */
export function openWorkerLink(): WorkerLink | undefined {
  return cluster.worker === undefined ? undefined : new WorkerLink(cluster.worker);
}

export class WorkerLink {
  readonly #worker: Worker;
  readonly #asked = new Map<number, (answer: ToWorker | undefined) => void>();
  readonly #stop: Promise<Stop>;
  #server: RunningServer | undefined;
  #id = 0;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.#stop = new Promise(resolve => {
      worker.on('message', (message: ToWorker) => {
        if (message.kind === 'stop') resolve(message.stop);
        else if (message.kind === 'collect')
          this.#send({ kind: 'counted', id: message.id, families: this.#server?.collectMetrics() ?? [] });
        else this.#asked.get(message.id)?.(message);
      });
      // Whoever started this one is gone: nobody will say it any more.
      worker.on('disconnect', () => {
        resolve({});
        for (const answer of this.#asked.values()) answer(undefined);
      });
    });
  }

  /** What all workers count, for /metrics; `own` if they cannot be asked. */
  readonly gatherMetrics = async (own: readonly MetricFamily[]): Promise<readonly MetricFamily[]> => {
    const answer = await this.#ask(id => ({ kind: 'scrape', id }), SCRAPE_MS);
    return answer?.kind === 'scraped' ? answer.families : own;
  };

  /** Lines that several processes write into one pipe would tear each other apart: one process writes them. */
  readonly writeLog = async (text: string): Promise<void> => {
    await this.#ask(id => ({ kind: 'log', id, text }));
  };

  /** Serves until it is told to stop. */
  async run(server: RunningServer): Promise<StopReport> {
    this.#server = server;
    this.#send({ kind: 'listening', url: server.url, port: server.port });
    const report = await server.close(await this.#stop);
    await new Promise<void>(resolve => {
      if (!this.#worker.isConnected()) resolve();
      else this.#worker.send({ kind: 'stopped', cut: report.cut } satisfies FromWorker, undefined, () => resolve());
    });
    return report;
  }

  #ask(question: (id: number) => FromWorker, timeoutMs?: number): Promise<ToWorker | undefined> {
    const id = this.#id++;
    if (!this.#worker.isConnected()) return Promise.resolve(undefined);
    return new Promise(resolve => {
      const answer = (message: ToWorker | undefined): void => {
        clearTimeout(timer);
        this.#asked.delete(id);
        resolve(message);
      };
      const timer = timeoutMs === undefined ? undefined : setTimeout(answer, timeoutMs, undefined);
      this.#asked.set(id, answer);
      this.#send(question(id));
    });
  }

  #send(message: FromWorker): void {
    if (this.#worker.isConnected()) this.#worker.send(message, undefined, () => undefined);
  }
}
