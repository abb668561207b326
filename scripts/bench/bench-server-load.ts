import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';
import process from 'node:process';

/** The order of a load process, as JSON in its first argument. */
export interface LoadPlan {
  readonly port: number;
  readonly paths: readonly string[];
  readonly connections: number;
  readonly seconds: number;
  readonly method: 'GET' | 'HEAD';
  /** Header lines of every request, each with its CRLF. */
  readonly headers: string;
  /** Requested repeatedly during the load, over a connection of its own, to measure latency. */
  readonly probe?: string;
  /** One request for each connection: a burst instead of a lasting load. `seconds` is then the longest wait. */
  readonly once?: boolean;
}

export interface LoadResult {
  readonly bytes: number;
  readonly requests: number;
  readonly errors: number;
  readonly firstByteMs: Percentiles;
  readonly probeMs: Percentiles;
  /** From the first connection to the end of the last answer. */
  readonly lastByteMs: number;
}

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

const buffer = Buffer.allocUnsafeSlow(256 * 1024);
const END = Buffer.from('\r\n\r\n');

/** Requests the paths in a circle over one connection and discards the bodies. */
class Client {
  bytes = 0;
  requests = 0;
  errors = 0;
  lastByteMs = 0;
  readonly firstByteMs: number[] = [];
  readonly #plan: LoadPlan;
  readonly #paths: readonly string[];
  readonly #endsAtMs: number;
  #at: number;
  #rest = -1;
  #askedAtMs = 0;

  constructor(plan: LoadPlan, paths: readonly string[], start: number, endsAtMs: number) {
    this.#plan = plan;
    this.#paths = paths;
    this.#at = start;
    this.#endsAtMs = endsAtMs;
  }

  run(): Promise<void> {
    return new Promise(resolve => {
      const onread = {
        buffer,
        callback: (length: number): boolean => {
          if (this.#take(length)) {
            this.lastByteMs = performance.now();
            if (this.#plan.once !== true && this.lastByteMs < this.#endsAtMs) ask();
            else socket.destroy();
          }
          return true;
        },
      };
      this.#askedAtMs = performance.now();
      const socket = connect({ port: this.#plan.port, host: '127.0.0.1', noDelay: true, onread });
      const left = Math.max(0, this.#endsAtMs - performance.now());
      const timer = setTimeout(() => socket.destroy(), left);
      const ask = (): void => {
        const path = this.#paths[this.#at++ % this.#paths.length];
        this.#rest = -1;
        if (this.#plan.once !== true) this.#askedAtMs = performance.now();
        socket.write(`${this.#plan.method} ${path} HTTP/1.1\r\nHost: mirror\r\n${this.#plan.headers}\r\n`);
      };
      socket.on('connect', ask);
      socket.on('error', () => this.errors++);
      socket.on('close', () => {
        clearTimeout(timer);
        if (this.#plan.once === true ? this.requests === 0 : performance.now() < this.#endsAtMs - 1) this.errors++;
        resolve();
      });
    });
  }

  /** Returns whether the response is complete. */
  #take(length: number): boolean {
    this.bytes += length;
    if (this.#rest >= 0) this.#rest -= length;
    else {
      this.firstByteMs.push(performance.now() - this.#askedAtMs);
      const end = buffer.indexOf(END);
      const header = buffer.toString('latin1', 0, end);
      const status = Number(header.slice(9, 12));
      if (end < 0 || end > length || (status !== 200 && status !== 304)) this.errors++;
      const hasBody = this.#plan.method === 'GET' && status !== 304;
      const size = hasBody ? Number(/content-length: (\d+)/i.exec(header)?.[1] ?? 0) : 0;
      this.#rest = end + 4 + size - length;
    }
    if (this.#rest > 0) return false;
    this.requests++;
    return true;
  }
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => Number((sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(2));
  return { p50: at(0.5), p99: at(0.99) };
}

if (process.argv[2] !== undefined) {
  const plan = JSON.parse(process.argv[2]) as LoadPlan;
  const startedAtMs = performance.now();
  const endsAtMs = startedAtMs + plan.seconds * 1000;
  const clients = Array.from({ length: plan.connections }, (_, at) => new Client(plan, plan.paths, at, endsAtMs));
  const { probe } = plan;
  const prober = probe === undefined ? undefined : new Client({ ...plan, method: 'GET' }, [probe], 0, endsAtMs);
  await Promise.all([...clients, ...(prober === undefined ? [] : [prober])].map(client => client.run()));
  const sum = (of: (client: Client) => number): number => clients.reduce((total, client) => total + of(client), 0);
  const result: LoadResult = {
    bytes: sum(client => client.bytes),
    requests: sum(client => client.requests),
    errors: sum(client => client.errors),
    firstByteMs: percentiles(clients.flatMap(client => client.firstByteMs)),
    probeMs: percentiles(prober?.firstByteMs ?? []),
    lastByteMs: Math.round(Math.max(...clients.map(client => client.lastByteMs)) - startedAtMs),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
