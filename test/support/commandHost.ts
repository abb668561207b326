import process from 'node:process';
import { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { Command, Outcome } from './commandHosts.ts';

/*
 * The process of a CommandHost: it runs one command after the other that its parent sends. The modules of the command are
 * loaded once. Everything else that a command finds in a process of its own is made for it: arguments, environment, folder,
 * standard streams, exit code.
 */

const entry = process.argv[2] ?? '';
const { runProgram } = (await import(new URL('program.js', pathToFileURL(entry)).href)) as {
  runProgram: () => Promise<void>;
};
const umask = process.umask();
const EVENTS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'beforeExit', 'uncaughtException', 'unhandledRejection'] as const;
let stderr = collector();

process.on('warning', ({ name, message }) => stderr.stream.write(`(node:${process.pid}) ${name}: ${message}\n`));
process.on('disconnect', () => process.exit());
process.on('message', (command: Command) => void run(command).then(outcome => process.send?.(outcome)));
const listeners = listenersNow();
const idle = resourcesNow();
process.send?.('ready');

async function run({ args, env, cwd, input }: Command): Promise<Outcome> {
  const stdout = collector();
  stderr = collector();
  process.argv = [process.execPath, entry, ...args];
  for (const name of Object.keys(process.env)) if (env[name] === undefined) delete process.env[name];
  Object.assign(process.env, env);
  process.chdir(cwd);
  process.exitCode = undefined;
  const stdin = Readable.from(input === undefined ? [] : [Buffer.from(input)], { objectMode: false });
  const streams = { stdin, stdout: stdout.stream, stderr: stderr.stream };
  for (const [name, value] of Object.entries(streams))
    Object.defineProperty(process, name, { value, configurable: true });
  await runProgram();
  await nothingRuns();
  const outcome = { code: Number(process.exitCode ?? 0), stdout: stdout.bytes(), stderr: stderr.bytes() };
  return { ...outcome, left: leftBehind() };
}

/** A process ends when it has nothing left to wait for. */
async function nothingRuns(): Promise<void> {
  for (let waitMs = 0; ; waitMs = Math.min(20, waitMs + 1)) {
    await sleep(waitMs);
    const now = resourcesNow();
    if ([...now].every(([kind, count]) => count <= (idle.get(kind) ?? 0))) return;
  }
}

/** What keeps this process alive now, apart from a timer that has just fired. */
function resourcesNow(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

function listenersNow(): number[] {
  return EVENTS.map(event => process.listenerCount(event));
}

/** Describes what a command changed in the process and did not restore; undefined if it restored everything. */
function leftBehind(): string | undefined {
  const now = listenersNow();
  const event = EVENTS.find((_, index) => now[index] !== listeners[index]);
  if (event !== undefined) return `a listener for ${event}`;
  return process.umask() === umask ? undefined : 'a umask';
}

function collector(): { stream: Writable; bytes: () => Uint8Array } {
  const chunks: Uint8Array[] = [];
  const stream = new Writable({
    write(chunk: Uint8Array, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, bytes: () => Buffer.concat(chunks) };
}
