import { write } from 'node:fs';
import process from 'node:process';
import type { Command } from 'commander';
import { resolveOptions, type ServerOptions } from '../../server/options.ts';
import { startServer } from '../../server/startServer.ts';
import { EXIT } from '../exit.ts';
import { removedFlag, warnOfUnknownVariables } from '../options/usageErrors.ts';
import { printJson } from '../render/print.ts';
import { describeEvent, ServeLog } from './log.ts';
import type { ServeFlags } from './options.ts';
import { effectiveConfig, readCredentials, serverOptions } from './serverOptions.ts';

const STDOUT = 1;

/** Serves until a signal arrives: see serveUntilSignal. */
export async function runServe(flags: ServeFlags, command: Command): Promise<void> {
  const log = new ServeLog(flags);
  try {
    const program = command.parent ?? command;
    await warnOfUnknownVariables(program, process.env, warning => log.write('warn', warning));
    for (const option of command.options)
      if (option.hidden && command.getOptionValue(option.attributeName()) !== undefined)
        log.write('warn', `warning: ${removedFlag('serve', option.long ?? '')}`);
    const { env } = process;
    const credentials = readCredentials(flags, env);
    const options: ServerOptions = {
      ...serverOptions(flags, program.version() ?? '', credentials),
      ...(credentials === undefined ? {} : { rereadCredentials: async () => readCredentials(flags, env) ?? {} }),
      ...(flags.accessLog === 'off' ? {} : { writeAccessLog }),
      readHigress: async () => (await import('./higress.ts')).readHigress(),
      onEvent: event => {
        const { level, line } = describeEvent(event);
        log.write(level, line);
      },
    };
    if (flags.printConfig === true) {
      resolveOptions(options);
      printJson(effectiveConfig(options, flags));
    } else await serveUntilSignal(options, flags, log);
  } catch (error) {
    log.fail(error);
  }
}

/**
 * SIGTERM ends the server after the drain delay and the grace, SIGINT after the grace. A SIGINT after that ends the process
 * immediately: somebody presses Ctrl-C again. A SIGTERM after that changes nothing, because supervisors and scripts may send
 * several. SIGHUP (`systemctl reload`, logrotate, a closed terminal) reads tree, certificates and secrets again. The exit
 * code is 1 if connections were cut at the end of the grace.
 */
async function serveUntilSignal(options: ServerOptions, flags: ServeFlags, log: ServeLog): Promise<never> {
  const nextSignal = signalQueue();
  const onHangUp = reloader(log);
  // Node opens its debugger's port at this signal, which any process of the same user may send.
  process.on('SIGUSR1', () => log.write('warn', 'SIGUSR1 is ignored'));
  const server = await startServer(options);
  onHangUp(() => server.reload());
  log.write('info', `serving ${flags.tree} at ${server.url}/`);
  const signal = await nextSignal();
  log.write('info', `${signal}: running downloads may end, further clients are sent away`);
  void (async () => {
    while ((await nextSignal()) !== 'SIGINT')
      log.write('info', 'SIGTERM: the server is stopping; SIGINT ends it immediately');
    log.write('warn', 'SIGINT: the server ends immediately, and running downloads are cut');
    process.exit(130);
  })();
  const pauseMs = signal === 'SIGINT' ? 0 : flags.drainDelay;
  const { cut } = await server.close({ pauseMs, graceMs: flags.grace });
  if (cut > 0)
    log.write(
      'error',
      `${cut} ${cut === 1 ? 'connection was' : 'connections were'} cut when the grace of ${flags.grace / 1000} s ended: their clients may not have the whole answer. A longer --grace lets them end`,
    );
  process.exit(cut > 0 ? EXIT.failed : EXIT.good);
}

/** Handles SIGHUP from now on. The returned function sets what it does; a signal that came before takes effect then. */
function reloader(log: ServeLog): (reload: () => Promise<void>) => void {
  let reload: (() => Promise<void>) | undefined;
  let hasArrived = false;
  const run = (): void => {
    hasArrived = true;
    if (reload === undefined) return;
    log.write('info', 'SIGHUP: the tree, certificates and secrets are read again');
    void reload();
  };
  process.on('SIGHUP', run);
  return action => {
    reload = action;
    if (hasArrived) run();
  };
}

/** Returns a function that resolves to the next SIGTERM or SIGINT, including those that arrived before the call. */
function signalQueue(): () => Promise<NodeJS.Signals> {
  const arrived: NodeJS.Signals[] = [];
  let waiting: ((signal: NodeJS.Signals) => void) | undefined;
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      if (waiting === undefined) arrived.push(name);
      else {
        waiting(name);
        waiting = undefined;
      }
    });
  return () =>
    new Promise(resolve => {
      const first = arrived.shift();
      if (first === undefined) waiting = resolve;
      else resolve(first);
    });
}

/** Writes to stdout without process.stdout, which blocks the process while the reader of a pipe does not read. */
function writeAccessLog(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(text);
    const writeFrom = (start: number): void => {
      write(STDOUT, bytes, start, bytes.length - start, null, (error, written) => {
        if (error?.code === 'EAGAIN') setTimeout(writeFrom, 50, start);
        else if (error !== null) reject(error);
        else if (start + written < bytes.length) writeFrom(start + written);
        else resolve();
      });
    };
    writeFrom(0);
  });
}
