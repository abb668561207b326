import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { EXIT, finish } from '../cli/exit.ts';
import { buildProgram } from '../cli/program.ts';
import { drip } from '../test/support/faults.ts';
import { startRegistry, type TestRegistry } from '../test/support/registry.ts';
import { pushSamples } from './samplePlugins.ts';

const FIRST_PORT = 8080;
const PORTS_TRIED = 20;

/**
 * `npm run demo`: starts an OCI registry in this process, as far away as a real one (anonymous tokens, 40 ms, about 3 MB/s
 * for each blob), then runs `sync` and `serve` against it over real HTTP. Ctrl-C ends it and removes all its files.
 */
async function demo(): Promise<void> {
  endOnSignals();
  const dir = mkdtempSync(join(tmpdir(), 'plugin-mirror-demo-'));
  // Not in a `finally`: `serve` ends the process, and so does a second Ctrl-C. A download may still be writing its file.
  process.once('exit', () => rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }));
  process.chdir(dir);
  process.env.XDG_CACHE_HOME = join(dir, 'cache');
  const registry = await startRegistry({ auth: { kind: 'bearer', anonymous: true }, latencyMs: 40 });
  try {
    await show(registry);
  } finally {
    await registry.close();
  }
}

/** True while a command runs. */
let isRunning = false;

/**
 * Without a listener a signal ends the process without its `exit` event. `sync` and `serve` end in order on a first SIGINT or
 * SIGTERM. Every other signal ends the process here: a second one, one between the two commands, a closed terminal.
 */
function endOnSignals(): void {
  let received = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      received += 1;
      if (!isRunning || received > 1 || signal === 'SIGHUP') process.exit(EXIT.interrupted);
    });
}

async function show(registry: TestRegistry): Promise<void> {
  const manifest = pushSamples(registry);
  registry.script({ kind: 'blob', fault: drip({ bytes: 65_536, everyMs: 20 }) });
  await writeFile('manifest.json', `${JSON.stringify(manifest, null, 2)}\n`);
  say(`An OCI registry runs at ${registry.host}.\nIt holds sample plugins, each in another image form.\n`);

  say('$ plugin-mirror sync');
  await run(['sync', '--manifest', 'manifest.json', '--tree', 'plugins', '--no-frozen']);
  if (process.exitCode) return;

  const port = await freePort();
  say(`\n$ plugin-mirror serve --port ${port}`);
  if (port !== FIRST_PORT) say(`(port ${FIRST_PORT} is in use)`);
  const quiet = ['--access-log', 'off', '--log-level', 'error'];
  const ended = new AbortController();
  const serving = run(['serve', '--tree', 'plugins', '--port', String(port), ...quiet]).finally(() => ended.abort());
  await Promise.race([serving, untilReady(port, ended.signal)]);
  const [name = '', versions] = Object.entries(manifest.plugins)[0] ?? [];
  say(`Gateways fetch http://localhost:${port}/plugins/${name}/${String(versions)}/plugin.wasm`);
  say(`Open http://localhost:${port}/ in a browser. Ctrl-C ends the demo.`);
  await serving;
}

async function untilReady(port: number, signal: AbortSignal): Promise<void> {
  const isReady = () =>
    fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await isReady())) await setTimeout(50, undefined, { signal });
}

async function run(args: readonly string[]): Promise<void> {
  isRunning = true;
  await buildProgram('demo').parseAsync([...args], { from: 'user' });
  isRunning = false;
}

async function freePort(): Promise<number> {
  for (let port = FIRST_PORT; port < FIRST_PORT + PORTS_TRIED; port += 1) if (await isFree(port)) return port;
  throw new Error(`ports ${FIRST_PORT} to ${FIRST_PORT + PORTS_TRIED - 1} are all in use`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const probe = createServer()
      .once('error', () => resolve(false))
      .listen(port, () => probe.close(() => resolve(true)));
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

demo().catch(finish);
