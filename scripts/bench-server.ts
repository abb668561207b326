import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildCatalog, type CatalogEntry, catalogText, inventoryText } from '../tree/buildCatalog.ts';
import type { LoadPlan, LoadResult } from './bench-server-load.ts';

/**
 * Measures `plugin-mirror serve` beside nginx on this machine: each on the same core, the load on another, in turns.
 * Needs Linux, nginx, taskset and a build (`npm run build`).
 *
 *   npm run bench:server -- [--node PATH] [--nginx PATH] [--rounds 3] [--seconds 4] [--only NAME] [--json FILE]
 */
const { values: flags } = parseArgs({
  options: {
    node: { type: 'string', default: process.execPath },
    nginx: { type: 'string', default: 'nginx' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '4' },
    only: { type: 'string', default: '' },
    main: { type: 'string', default: fileURLToPath(new URL('../dist/cli/main.js', import.meta.url)) },
    json: { type: 'string', default: 'bench-server.json' },
  },
});

interface Scenario {
  readonly name: string;
  readonly plan: Omit<LoadPlan, 'port' | 'seconds' | 'headers'>;
  readonly conditional?: boolean;
  /** What counts: bytes or answers per second of the server's CPU time. */
  readonly unit: 'bytes' | 'requests';
}

interface Contender {
  readonly name: 'nginx' | 'plugin-mirror';
  readonly process: ChildProcess;
  readonly pid: number;
  readonly port: number;
}

const KB = 1000;
const MB = 1000 * KB;
const groups = {
  small: sized('small', 1, 2 * KB),
  k300: sized('k300-', 20, 300 * KB),
  m2: sized('m2-', 8, 2 * MB),
  m30: sized('m30-', 1, 30 * MB),
  cycle: [...sized('cycle-a', 20, 5 * MB), ...sized('cycle-b', 29, 15 * MB)],
};
const pathsOf = (group: keyof typeof groups): string[] =>
  groups[group].map(({ name }) => `/plugins/${name}/1.0.0/plugin.wasm`);
const get = (group: keyof typeof groups, connections: number) =>
  ({ method: 'GET', paths: pathsOf(group), connections }) as const;

const SCENARIOS: readonly Scenario[] = [
  { name: '30 MB, 64 connections, hot', unit: 'bytes', plan: get('m30', 64) },
  { name: '2 MB, 64 connections, hot', unit: 'bytes', plan: get('m2', 64) },
  { name: '300 KB, 64 connections, hot', unit: 'bytes', plan: get('k300', 64) },
  { name: 'cyclic over 535 MB, 64 connections', unit: 'bytes', plan: get('cycle', 64) },
  { name: '304, 64 connections', unit: 'requests', plan: get('small', 64), conditional: true },
  { name: 'HEAD, 64 connections', unit: 'requests', plan: { ...get('small', 64), method: 'HEAD' } },
  {
    name: 'a tiny file beside 16 × 30 MB',
    unit: 'bytes',
    plan: { ...get('m30', 16), probe: pathsOf('small')[0] ?? '' },
  },
];

const folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-bench-'));
const contenders: Contender[] = [];
try {
  await makeTree(join(folder, 'html', 'plugins'));
  contenders.push(await startNginx(), await startMirror());
  await allProven();
  const rows = [];
  for (const scenario of SCENARIOS.filter(({ name }) => name.includes(flags.only))) rows.push(await measure(scenario));
  report(rows);
} finally {
  for (const { process: child } of contenders) child.kill('SIGTERM');
  await Promise.all(
    contenders.map(({ process: child }) => child.exitCode ?? new Promise(end => child.once('exit', end))),
  );
  await rm(folder, { recursive: true, force: true });
}

interface Measured {
  readonly perCpuSecond: number;
  readonly perSecond: number;
  readonly firstByteMs: LoadResult['firstByteMs'];
  readonly probeMs: LoadResult['probeMs'];
  readonly errors: number;
  readonly rssMiB: number;
}

interface Row {
  readonly name: string;
  readonly unit: Scenario['unit'];
  readonly nginx: Measured;
  readonly mirror: Measured;
  readonly ratio: number;
}

async function measure(scenario: Scenario): Promise<Row> {
  const results = new Map<string, Measured[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const contender of round % 2 === 0 ? contenders : [...contenders].reverse())
      results.get(contender.name)?.push(await runOnce(scenario, contender));
  const nginx = median(results.get('nginx') ?? []);
  const mirror = median(results.get('plugin-mirror') ?? []);
  return { name: scenario.name, unit: scenario.unit, nginx, mirror, ratio: mirror.perCpuSecond / nginx.perCpuSecond };
}

async function runOnce(scenario: Scenario, contender: Contender): Promise<Measured> {
  const { port, pid } = contender;
  const headers =
    scenario.conditional === true ? `If-None-Match: ${await etagOf(port, scenario.plan.paths[0] ?? '')}\r\n` : '';
  const load = async (seconds: number): Promise<LoadResult> => runLoad({ ...scenario.plan, port, headers, seconds });
  await load(1);
  const before = cpuSeconds(pid);
  const result = await load(Number(flags.seconds));
  const cpu = cpuSeconds(pid) - before;
  const amount = result[scenario.unit];
  return {
    perCpuSecond: amount / cpu,
    perSecond: amount / Number(flags.seconds),
    firstByteMs: result.firstByteMs,
    probeMs: result.probeMs,
    errors: result.errors,
    rssMiB: rssMiB(pid),
  };
}

function report(rows: readonly Row[]): void {
  const machine = `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, ${execFileSync(flags.node, ['-v']).toString().trim()}`;
  process.stdout.write(
    `\n${machine}\n\n| scenario | per CPU second: nginx | plugin-mirror | ratio | first byte p50/p99 ms: nginx | plugin-mirror | tiny file p50/p99 ms: nginx | plugin-mirror | errors | RSS MiB: nginx | plugin-mirror |\n|---|---|---|---|---|---|---|---|---|---|---|\n`,
  );
  for (const { name, unit, nginx, mirror, ratio } of rows) {
    const amount = (value: number): string =>
      unit === 'bytes' ? `${(value / 1e9).toFixed(2)} GB` : `${Math.round(value)}`;
    const pair = ({ p50, p99 }: LoadResult['firstByteMs']): string => `${p50} / ${p99}`;
    const cells = [
      name,
      amount(nginx.perCpuSecond),
      amount(mirror.perCpuSecond),
      ratio.toFixed(2),
      pair(nginx.firstByteMs),
      pair(mirror.firstByteMs),
      pair(nginx.probeMs),
      pair(mirror.probeMs),
      nginx.errors + mirror.errors,
      nginx.rssMiB.toFixed(0),
      mirror.rssMiB.toFixed(0),
    ];
    process.stdout.write(`| ${cells.join(' | ')} |\n`);
  }
  writeFileSync(
    flags.json,
    `${JSON.stringify({ schemaVersion: 1, machine, rounds: Number(flags.rounds), seconds: Number(flags.seconds), rows }, null, 2)}\n`,
  );
}

function sized(prefix: string, count: number, sizeBytes: number) {
  return Array.from({ length: count }, (_, at) => ({ name: `${prefix}${at}`, sizeBytes }));
}

async function makeTree(tree: string): Promise<void> {
  const block = randomBytes(MB);
  const entries: CatalogEntry[] = [];
  for (const { name, sizeBytes } of Object.values(groups).flat()) {
    const bytes = Buffer.allocUnsafe(sizeBytes);
    for (let at = 0; at < sizeBytes; at += block.length) block.copy(bytes, at);
    bytes.write(`\0asm\x01\0\0\0${name}`, 0, 'latin1');
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    await mkdir(join(tree, name, '1.0.0'), { recursive: true });
    writeFileSync(join(tree, name, '1.0.0', 'plugin.wasm'), bytes);
    const metadata = {
      schemaVersion: 1,
      name,
      version: '1.0.0',
      reference: `bench.test/${name}:1.0.0`,
      digest: `sha256:${sha256}`,
      sha256,
      md5: '',
      sizeBytes,
      abi: null,
      files: {},
    } as const;
    entries.push({ metadata, pinned: true });
  }
  const catalog = buildCatalog(entries);
  writeFileSync(join(tree, 'snapshot-inventory.json'), inventoryText(catalog));
  writeFileSync(join(tree, 'index.json'), catalogText(catalog));
}

async function startNginx(): Promise<Contender> {
  const port = await freePort();
  const types = 'types { application/wasm wasm; application/json json; text/html html; }';
  const config = `daemon off; master_process off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 4096; }
http { ${types} default_type application/octet-stream; sendfile on; keepalive_timeout 65; access_log ${folder}/access.log;
  client_body_temp_path ${folder}/t1; proxy_temp_path ${folder}/t2; fastcgi_temp_path ${folder}/t3; uwsgi_temp_path ${folder}/t4; scgi_temp_path ${folder}/t5;
  server { listen 127.0.0.1:${port}; root ${folder}/html; autoindex on; keepalive_requests 1000000000; } }
`;
  writeFileSync(join(folder, 'nginx.conf'), config);
  return started('nginx', [flags.nginx, '-c', join(folder, 'nginx.conf'), '-p', folder], port);
}

async function startMirror(): Promise<Contender> {
  const port = await freePort();
  const tree = join(folder, 'html', 'plugins');
  return started(
    'plugin-mirror',
    [flags.node, flags.main, 'serve', '--tree', tree, '--host', '127.0.0.1', '--port', String(port)],
    port,
  );
}

async function started(name: Contender['name'], command: readonly string[], port: number): Promise<Contender> {
  const log = openSync(join(folder, `${name}.log`), 'a');
  const child = spawn('taskset', ['-c', '0', ...command], { stdio: ['ignore', log, log] });
  for (let tries = 0; tries < 200 && child.exitCode === null; tries++) {
    await wait(50);
    const answer = await fetch(`http://127.0.0.1:${port}/plugins/small0/1.0.0/plugin.wasm`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.status === 200 && child.pid !== undefined) return { name, process: child, pid: child.pid, port };
  }
  throw new Error(`${name} did not start: ${readFileSync(join(folder, `${name}.log`), 'utf8')}`);
}

/** The first look at every file is over: what it costs is the start's, not the load's. */
async function allProven(): Promise<void> {
  const pid = contenders.find(({ name }) => name === 'plugin-mirror')?.pid ?? 0;
  for (let quiet = 0; quiet < 3; ) {
    const before = cpuSeconds(pid);
    await wait(1000);
    quiet = cpuSeconds(pid) - before < 0.03 ? quiet + 1 : 0;
  }
}

function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const script = fileURLToPath(new URL('./bench-server-load.ts', import.meta.url));
  const core = cpus().length > 1 ? '1' : '0';
  const child = spawn('taskset', ['-c', core, process.execPath, '--import', 'tsx', script, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', part => {
      text += String(part);
    });
    child.on('close', code =>
      code === 0 ? resolve(JSON.parse(text) as LoadResult) : reject(new Error(`The load ended with ${code}`)),
    );
  });
}

/** Of all threads of a process, in user and kernel mode (proc(5): fields 14 and 15, in ticks of 10 ms). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function rssMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024;
}

async function etagOf(port: number, path: string): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'HEAD' });
  return answer.headers.get('etag') ?? '';
}

function median(measured: readonly Measured[]): Measured {
  const sorted = [...measured].sort((a, b) => a.perCpuSecond - b.perCpuSecond);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  if (middle === undefined) throw new Error('Nothing was measured');
  return middle;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise(resolve => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
