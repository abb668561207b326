import { fork, spawn } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGunzip } from 'node:zlib';
import { Command, Option } from 'commander';
import { Parser } from 'tar';
import { wholeNumber } from '../../cli/options/environment.ts';
import type { BenchRegistry } from './benchRegistry.ts';

interface Flags {
  readonly images: number;
  readonly rtt: number;
  readonly runs: number;
  readonly oras: boolean;
  readonly json?: string;
}

interface Row {
  readonly what: string;
  readonly seconds: number;
  readonly requests?: number;
  readonly bytes?: number;
  readonly peakMiB?: number;
}

/**
 * `npm run bench:sync`: a first, a second and a frozen sync, compared in the same run and against the same registry with the
 * serial ORAS loop that builds Higress' own plugin server, and with the lower bound of benchFloor.ts. Times are those of whole
 * processes. Quote the ratios, not the seconds.
 */
async function main(): Promise<void> {
  const flags = new Command('bench:sync')
    .addOption(new Option('--images <n>').argParser(wholeNumber(1, 5000)).default(86))
    .addOption(
      new Option('--rtt <ms>', 'round trip added to every request').argParser(wholeNumber(0, 1000)).default(40),
    )
    .addOption(
      new Option('--runs <n>', 'interleaved rounds; medians are printed').argParser(wholeNumber(1, 20)).default(3),
    )
    .addOption(new Option('--no-oras', 'leave the ORAS loop out'))
    .addOption(new Option('--json <file>', 'write the figures here too'))
    .parse()
    .opts<Flags>();
  const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-bench-'));
  const registry = await startRegistry(flags);
  try {
    say(
      `${registry.message.images.length} images, ${mb(registry.message.wireBytes)} MB on the wire, ${mb(registry.message.moduleBytes)} MB of modules, ${flags.rtt} ms round trip, ${cpus().length} cores, Node ${process.version}`,
    );
    const rows: Row[] = [];
    for (let run = 0; run < flags.runs; run += 1)
      rows.push(...(await round(registry.message, join(dir, String(run)), flags, run)));
    const table = medians(rows);
    print(table);
    if (flags.json !== undefined)
      await writeFile(flags.json, `${JSON.stringify({ flags, node: process.version, rows: table }, null, 2)}\n`);
  } finally {
    registry.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function round(registry: BenchRegistry, dir: string, flags: Flags, run: number): Promise<Row[]> {
  const { mkdir } = await import('node:fs/promises');
  await mkdir(dir, { recursive: true });
  const plugins = Object.fromEntries(registry.images.map(({ name, version }) => [name, version]));
  await writeFile(join(dir, 'manifest.json'), JSON.stringify({ registry: registry.host, plugins }));
  const rows = [await floor(registry), await ours('cold sync', dir, [])];
  rows.push(await ours('second sync', dir, []), await ours('frozen sync', dir, ['--frozen']));
  if (flags.oras && run === 0) rows.push(await serialOras(registry, join(dir, 'oras')));
  return rows;
}

async function floor(registry: BenchRegistry): Promise<Row> {
  const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('benchFloor.ts', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(registry));
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  if (child.exitCode) throw new Error('the floor failed');
  return { what: 'floor (16 plain GETs)', seconds: Number(text) / 1000 };
}

/** Runs the built CLI and measures its peak memory as the kernel counts it. */
async function ours(what: string, dir: string, args: readonly string[]): Promise<Row> {
  const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
  const report = join(dir, 'report.json');
  const env = { ...process.env, CI: '', XDG_CACHE_HOME: join(dir, 'cache'), HOME: dir };
  const flags = [
    'sync',
    '--manifest',
    join(dir, 'manifest.json'),
    '--out',
    join(dir, 'plugins'),
    '--format',
    'json',
    ...args,
  ];
  const started = performance.now();
  const child = spawn(process.execPath, [cli, ...flags], { stdio: ['ignore', 'pipe', 'ignore'], env });
  const peak = watchPeak(child.pid ?? 0);
  await pipeline(child.stdout, createWriteStream(report));
  const seconds = (performance.now() - started) / 1000;
  const { totals } = JSON.parse(await readFile(report, 'utf8')) as {
    totals: { failed: number; requests: number; bytesDownloaded: number };
  };
  if (totals.failed > 0) throw new Error(`${what}: ${totals.failed} plugins failed`);
  return { what, seconds, requests: totals.requests, bytes: totals.bytesDownloaded, peakMiB: await peak() };
}

/** VmHWM of /proc, read until the process ends. */
function watchPeak(pid: number): () => Promise<number> {
  let peakKiB = 0;
  const timer = setInterval(async () => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    peakKiB = Math.max(peakKiB, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
  }, 20);
  return async () => {
    clearInterval(timer);
    return Math.round(peakKiB / 1024);
  };
}

/** The build of Higress' own plugin server: one image after another, `oras cp` into a layout, then the module out of it. */
async function serialOras(registry: BenchRegistry, dir: string): Promise<Row> {
  const started = performance.now();
  for (const { name, version, layer, gzip } of registry.images) {
    const layout = join(dir, name);
    await oras([
      'cp',
      '--no-tty',
      '--from-plain-http',
      `${registry.host}/plugins/${name}:${version}`,
      '--to-oci-layout',
      `${layout}:${version}`,
    ]);
    const blob = createReadStream(join(layout, 'blobs', ...layer.split(':')));
    const target = createWriteStream(join(layout, 'plugin.wasm'));
    if (!gzip) await pipeline(blob, target);
    else
      await pipeline(
        blob,
        createGunzip(),
        new Parser({ onReadEntry: entry => (entry.path.endsWith('.wasm') ? entry.pipe(target) : entry.resume()) }),
      );
  }
  return { what: 'serial ORAS loop', seconds: (performance.now() - started) / 1000 };
}

function oras(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('oras', args, { stdio: 'ignore' });
    child.once('error', () => reject(new Error('oras is not on PATH; --no-oras leaves it out')));
    child.once('exit', code => (code === 0 ? resolve() : reject(new Error(`oras ${args[0]} exited ${code}`))));
  });
}

async function startRegistry(flags: Flags): Promise<{ message: BenchRegistry; stop: () => void }> {
  const child = fork(
    fileURLToPath(new URL('benchRegistry.ts', import.meta.url)),
    [String(flags.images), String(flags.rtt)],
    { execArgv: ['--import', 'tsx'] },
  );
  const message = await new Promise<BenchRegistry>((resolve, reject) => {
    child.once('message', received => resolve(received as BenchRegistry));
    child.once('exit', code => reject(new Error(`the registry ended with ${code}`)));
  });
  return { message, stop: () => child.disconnect() };
}

function medians(rows: readonly Row[]): Row[] {
  const kinds = [...new Set(rows.map(row => row.what))];
  return kinds.map(what => {
    const same = rows.filter(row => row.what === what).sort((a, b) => a.seconds - b.seconds);
    const middle = same[Math.floor((same.length - 1) / 2)];
    if (middle === undefined) throw new Error(`${what} was never run`);
    return middle;
  });
}

function print(rows: readonly Row[]): void {
  const cold = rows.find(row => row.what === 'cold sync')?.seconds ?? Number.NaN;
  for (const { what, seconds, requests, bytes, peakMiB } of rows) {
    const cells = [
      what.padEnd(22),
      `${seconds.toFixed(2)} s`.padStart(9),
      `${(seconds / cold).toFixed(2)}× cold`.padStart(12),
    ];
    if (requests !== undefined)
      cells.push(
        `${requests} requests`.padStart(14),
        `${mb(bytes ?? 0)} MB`.padStart(8),
        `${peakMiB} MiB peak`.padStart(13),
      );
    say(cells.join(' '));
  }
}

function mb(bytes: number): string {
  return String(Math.round(bytes / 1e6));
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

await main();
