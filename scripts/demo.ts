import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { EXIT, finish } from '../cli/exit.ts';
import { buildProgram } from '../cli/program.ts';
import { drip } from '../test/support/faults.ts';
import { startRegistry, type TestRegistry } from '../test/support/registry.ts';
import { pushSamples } from './samplePlugins.ts';

const FIRST_PORT = 8080;
const PORTS_TRIED = 20;

/**
 * `npm run demo`: an OCI registry in this process, as far away as a real one (anonymous tokens, 40 ms, about 3 MB/s a
 * blob); then `sync` and `serve` themselves, over real HTTP. Ctrl-C ends it and leaves nothing behind.
 */
async function demo(): Promise<void> {
  endOnSignals();
  const dir = mkdtempSync(join(tmpdir(), 'plugin-mirror-demo-'));
  // `serve` ends the process itself, and so does a second Ctrl-C: no `finally` would run. Files may still be on their way.
  process.once('exit', () => rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }));
  // Blobs, and what sync remembers of a tree.
  process.env.XDG_CACHE_HOME = join(dir, 'cache');
  const registry = await startRegistry({ auth: { kind: 'bearer', anonymous: true }, latencyMs: 40 });
  try {
    await show(registry, dir);
  } finally {
    await registry.close();
  }
}

/** A command has been started, and has not ended. */
let isRunning = false;

/**
 * A signal by itself would end the process without its `exit` event. `sync` and `serve` take Ctrl-C and SIGTERM and end in
 * order; all else ends here: a second signal, one that comes between the two, a terminal that is closed.
 */
function endOnSignals(): void {
  let came = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      came += 1;
      if (!isRunning || came > 1 || signal === 'SIGHUP') process.exit(EXIT.interrupted);
    });
}

async function show(registry: TestRegistry, dir: string): Promise<void> {
  const list = pushSamples(registry);
  registry.script({ kind: 'blob', fault: drip({ bytes: 65_536, everyMs: 20 }) });
  const manifest = join(dir, 'manifest.json');
  await writeFile(manifest, `${JSON.stringify(list, null, 2)}\n`);
  const tree = join(dir, 'plugins');

  say(`An OCI registry is up on ${registry.host}; it holds a few sample plugins, each in another image form.\n`);
  say('$ plugin-mirror sync');
  await run(['sync', '--manifest', manifest, '--out', tree, '--no-frozen']);
  if (process.exitCode) return;

  const port = await freePort();
  const [name = '', versions] = Object.entries(list.plugins)[0] ?? [];
  say(`\n$ plugin-mirror serve --port ${port}`);
  if (port !== FIRST_PORT) say(`Port ${FIRST_PORT} is taken, so it is ${port} this time.`);
  say(
    `Try:  curl -sO http://localhost:${port}/plugins/${name}/${String(versions)}/plugin.wasm      (Ctrl-C ends the demo)`,
  );
  await run(['serve', '--tree', tree, '--port', String(port)]);
}

async function run(args: readonly string[]): Promise<void> {
  isRunning = true;
  await buildProgram('demo').parseAsync([...args], { from: 'user' });
  isRunning = false;
}

async function freePort(): Promise<number> {
  for (let port = FIRST_PORT; port < FIRST_PORT + PORTS_TRIED; port += 1) if (await isFree(port)) return port;
  throw new Error(`ports ${FIRST_PORT} to ${FIRST_PORT + PORTS_TRIED - 1} are all taken`);
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
