import { write } from 'node:fs';
import process from 'node:process';
import type { ServerEvent } from '../../server/events.ts';
import { type ServerOptions, settleOptions } from '../../server/options.ts';
import { type RunningServer, type Stop, type StopReport, startServer } from '../../server/startServer.ts';
import { finish } from '../exit.ts';
import { readCredentials } from './credentials.ts';
import { describeEvent, LOG_LEVELS, type LogLevel } from './events.ts';
import type { ServeFlags } from './flags.ts';
import { serverOptions } from './options.ts';
import { signalQueue } from './signals.ts';

const STDOUT = 1;

/** Serves until a signal comes. SIGTERM stops in order; SIGINT does so without the pause; a second one ends at once. */
export async function runServe(flags: ServeFlags, programVersion: string): Promise<void> {
  const options: ServerOptions = {
    ...serverOptions(flags, programVersion, readCredentials(flags, process.env)),
    onEvent: event => tell(event, flags.logLevel),
    ...(flags.accessLog === 'off' ? {} : { writeAccessLog }),
  };
  if (flags.printConfig === true) printConfig(options, flags);
  else if (flags.workers > 1) await runWorkers(flags, options);
  else {
    const signals = signalQueue();
    const server: RunningServer = await startServer(options);
    await serveUntilSignal({ flags, url: server.url, signals, stop: how => server.close(how) });
  }
}

/** This process starts the others and looks after them; they run the same command, and come here, too. */
async function runWorkers(flags: ServeFlags, options: ServerOptions): Promise<void> {
  const signals = signalQueue(); // a worker takes none: Ctrl-C reaches all of them, and they are told by the first
  const { openWorkerLink } = await import('../../server/workers/workerLink.ts');
  const link = openWorkerLink();
  if (link !== undefined) {
    const { gatherMetrics, writeLog } = link;
    const log = options.writeAccessLog === undefined ? {} : { writeAccessLog: writeLog };
    try {
      await link.run(await startServer({ ...options, gatherMetrics, ...log }));
      process.exit(0);
    } catch (error) {
      finish(error);
      process.exit(); // the channel to the other process would keep this one
    }
  }
  settleOptions(options);
  const { WorkerPool } = await import('../../server/workers/workerPool.ts');
  const onLost = (how: string): void =>
    say(`a worker ended (${how}); another takes its place`, 'error', flags.logLevel);
  const pool = new WorkerPool({ count: flags.workers, writeLog: writeAccessLog, onLost });
  const started = await pool.start();
  if ('exitCode' in started) process.exit(started.exitCode);
  await serveUntilSignal({
    flags,
    url: started.url,
    signals,
    stop: how => pool.stop(how),
    kill: () => pool.kill(),
  });
}

interface Serving {
  readonly flags: ServeFlags;
  readonly url: string;
  readonly signals: ReturnType<typeof signalQueue>;
  readonly stop: (how: Stop) => Promise<StopReport>;
  readonly kill?: () => void;
}

async function serveUntilSignal({ flags, url, signals, stop, kill }: Serving): Promise<never> {
  const { grace: graceMs, drainDelay, logLevel } = flags;
  say(`serving ${flags.tree} at ${url}/`, 'info', logLevel);
  const signal = await signals.next();
  say(`${signal}: running downloads may end, no new ones are wanted`, 'info', logLevel);
  const again = signals.next().then(() => {
    kill?.();
    process.exit(130);
  });
  const { cut } = await Promise.race([stop({ pauseMs: signal === 'SIGINT' ? 0 : drainDelay, graceMs }), again]);
  if (cut > 0) say(`${cut} connections were cut, for the grace of ${graceMs / 1000} s was over`, 'warn', logLevel);
  process.exit(0);
}

function printConfig(options: ServerOptions, flags: ServeFlags): void {
  const settings: Partial<ReturnType<typeof settleOptions>> = settleOptions(options);
  const { accessLog, logLevel, workers, drainDelay: drainDelayMs, grace: graceMs } = flags;
  const { onEvent: _, writeAccessLog: __, gatherMetrics: ___, credentials, ...plain } = settings;
  const asksFor = { token: credentials?.token !== undefined, user: credentials?.login?.user ?? null };
  const shown = { ...plain, asksFor, accessLog, logLevel, workers, drainDelayMs, graceMs };
  process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
}

/** Past process.stdout, whose writes to a pipe hold up the whole process when nobody reads it. */
function writeAccessLog(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(text);
    const from = (start: number): void => {
      write(STDOUT, bytes, start, bytes.length - start, null, (error, written) => {
        if (error?.code === 'EAGAIN') setTimeout(from, 50, start);
        else if (error !== null) reject(error);
        else if (start + written < bytes.length) from(start + written);
        else resolve();
      });
    };
    from(0);
  });
}

function tell(event: ServerEvent, least: LogLevel): void {
  const { level, line } = describeEvent(event);
  say(line, level, least);
}

function say(line: string, level: LogLevel, least: LogLevel): void {
  if (LOG_LEVELS.indexOf(level) <= LOG_LEVELS.indexOf(least)) process.stderr.write(`plugin-mirror: ${line}\n`);
}
