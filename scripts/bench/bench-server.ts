import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { LoadPlan, LoadResult } from './bench-server-load.ts';
import { type Contender, cpuSeconds, rssMiB, startMirror, startNginx } from './benchContenders.ts';
import { MB, makeBenchTree, sized } from './benchTree.ts';
import { limitToHalfCore } from './halfCore.ts';

/**
 * Measures `plugin-mirror serve` and nginx on this machine: each on the same core, the load on another, in turns.
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
    main: { type: 'string', default: fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url)) },
    json: { type: 'string', default: 'bench-server.json' },
  },
});

interface Scenario {
  readonly name: string;
  readonly plan: Omit<LoadPlan, 'port' | 'seconds' | 'headers'>;
  readonly conditional?: boolean;
  /** Bytes or answers per second of the server's CPU time. */
  readonly unit: 'bytes' | 'requests';
}

const KB = MB / 1000;
const groups = {
  small: sized('small', 1, 2 * KB),
  k300: sized('k300-', 20, 300 * KB),
  m2: sized('m2-', 8, 2 * MB),
  m30: sized('m30-', 1, 30 * MB),
  cycle: [...sized('cycle-a', 20, 5 * MB), ...sized('cycle-b', 29, 15 * MB)],
  fleet: sized('fleet-', 20, 7.4 * MB),
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
    name: 'a tiny file during 16 × 30 MB',
    unit: 'bytes',
    plan: { ...get('m30', 16), probe: pathsOf('small')[0] ?? '' },
  },
];

/** A restart of all gateways: each requests all its plugins in the same moment, over a connection for each. */
const GATEWAYS = 64;
const BURST: Scenario['plan'] & Pick<LoadPlan, 'once'> = {
  ...get('fleet', GATEWAYS * groups.fleet.length),
  once: true,
};
const BURST_NAME = `${GATEWAYS} gateways × ${groups.fleet.length} plugins at once`;
const LONGEST_BURST_S = 180;

const folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-bench-'));
const setup = { folder, node: flags.node, nginx: flags.nginx, main: flags.main };
let contenders: readonly Contender[] = [];
try {
  await makeBenchTree(join(folder, 'html', 'plugins'), Object.values(groups).flat());
  contenders = [await startNginx(setup), await startMirror(setup)];
  const rows = [];
  const scenarios = SCENARIOS.filter(({ name }) => name.includes(flags.only));
  if (scenarios.length > 0) await allProven();
  for (const scenario of scenarios) rows.push(await measure(scenario));
  const burst = BURST_NAME.includes(flags.only) ? await measureBurst() : undefined;
  report(rows, burst);
} finally {
  await stopAll();
  await rm(folder, { recursive: true, force: true });
}

async function stopAll(): Promise<void> {
  for (const { process: child } of contenders) child.kill('SIGTERM');
  await Promise.all(
    contenders.map(({ process: child }) => child.exitCode ?? new Promise(end => child.once('exit', end))),
  );
  contenders = [];
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

interface Burst {
  readonly isHalfCore: boolean;
  readonly nginx: BurstOf;
  readonly mirror: BurstOf;
  readonly ratio: number;
}

interface BurstOf {
  readonly lastByteMs: number;
  readonly firstByteMs: LoadResult['firstByteMs'];
  readonly errors: number;
  readonly rssMiB: number;
}

/** Starts both servers again, under half a core and 256 MiB if control groups allow it; in turns, the median by the last byte. */
async function measureBurst(): Promise<Burst> {
  await stopAll();
  contenders = [await startNginx(setup), await startMirror(setup)];
  await allProven();
  const limits = contenders.map(({ pid }) => limitToHalfCore(pid));
  const results = new Map<string, BurstOf[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const { name, port, pid } of round % 2 === 0 ? contenders : [...contenders].reverse()) {
      const { lastByteMs, firstByteMs, errors } = await runLoad({
        ...BURST,
        port,
        headers: '',
        seconds: LONGEST_BURST_S,
      });
      results.get(name)?.push({ lastByteMs, firstByteMs, errors, rssMiB: rssMiB(pid) });
    }
  await stopAll();
  for (const release of limits) release?.();
  const nginx = middle(results.get('nginx') ?? [], ({ lastByteMs }) => lastByteMs);
  const mirror = middle(results.get('plugin-mirror') ?? [], ({ lastByteMs }) => lastByteMs);
  return {
    isHalfCore: limits.every(limit => limit !== undefined),
    nginx,
    mirror,
    ratio: mirror.lastByteMs / nginx.lastByteMs,
  };
}

function report(rows: readonly Row[], burst: Burst | undefined): void {
  const machine = `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, ${execFileSync(flags.node, ['-v']).toString().trim()}`;
  process.stdout.write(`\n${machine}\n`);
  if (rows.length > 0)
    process.stdout.write(
      `\n| scenario | per CPU second: nginx | plugin-mirror | ratio | first byte p50/p99 ms: nginx | plugin-mirror | tiny file p50/p99 ms: nginx | plugin-mirror | errors | RSS MiB: nginx | plugin-mirror |\n|---|---|---|---|---|---|---|---|---|---|---|\n`,
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
  if (burst !== undefined) {
    const { nginx, mirror, ratio, isHalfCore } = burst;
    const cells = [nginx, mirror].map(
      ({ lastByteMs, firstByteMs, errors, rssMiB: rss }) =>
        `${(lastByteMs / 1000).toFixed(2)} s | ${firstByteMs.p50} / ${firstByteMs.p99} | ${errors} | ${rss.toFixed(0)}`,
    );
    process.stdout.write(
      `\n${BURST_NAME}, 7.4 MB each, ${isHalfCore ? 'half a core and 256 MiB' : 'one core (half of one takes root)'}\n\n| | last byte | first byte p50/p99 ms | failures | RSS MiB |\n|---|---|---|---|---|\n| nginx | ${cells[0]} |\n| plugin-mirror | ${cells[1]} |\n\nlast byte: ${ratio.toFixed(2)} of nginx\n`,
    );
  }
  writeFileSync(
    flags.json,
    `${JSON.stringify({ schemaVersion: 1, machine, burst, rounds: Number(flags.rounds), seconds: Number(flags.seconds), rows }, null, 2)}\n`,
  );
}

/** Waits for the first pass over all files, which belongs to the start and not to the load. */
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

async function etagOf(port: number, path: string): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'HEAD' });
  return answer.headers.get('etag') ?? '';
}

function median(measured: readonly Measured[]): Measured {
  return middle(measured, ({ perCpuSecond }) => perCpuSecond);
}

function middle<Of>(measured: readonly Of[], by: (one: Of) => number): Of {
  const sorted = [...measured].sort((a, b) => by(a) - by(b));
  const found = sorted[Math.floor((sorted.length - 1) / 2)];
  if (found === undefined) throw new Error('Nothing was measured');
  return found;
}
