import { type ChildProcess, spawn } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

export interface Contender {
  readonly name: 'nginx' | 'plugin-mirror';
  readonly process: ChildProcess;
  readonly pid: number;
  readonly port: number;
}

export interface ContenderSetup {
  /** The folder with `html/plugins`, the tree, and the files that the servers write. */
  readonly folder: string;
  readonly node: string;
  readonly nginx: string;
  /** The built cli/main.js. */
  readonly main: string;
}

/** Configured as in the image of Higress' own plugin server: sendfile, access log, listings, no gzip. */
export async function startNginx({ folder, nginx }: ContenderSetup): Promise<Contender> {
  const port = await freePort();
  const types = 'types { application/wasm wasm; application/json json; text/html html; }';
  const config = `daemon off; master_process off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 4096; }
http { ${types} default_type application/octet-stream; sendfile on; keepalive_timeout 65; access_log ${folder}/access.log;
  client_body_temp_path ${folder}/t1; proxy_temp_path ${folder}/t2; fastcgi_temp_path ${folder}/t3; uwsgi_temp_path ${folder}/t4; scgi_temp_path ${folder}/t5;
  server { listen 127.0.0.1:${port}; root ${folder}/html; autoindex on; keepalive_requests 1000000000; } }
`;
  writeFileSync(join(folder, 'nginx.conf'), config);
  return started(folder, 'nginx', [nginx, '-c', join(folder, 'nginx.conf'), '-p', folder], port);
}

/** Configured as in the image. */
export async function startMirror({ folder, node, main }: ContenderSetup): Promise<Contender> {
  const port = await freePort();
  const tree = join(folder, 'html', 'plugins');
  return started(
    folder,
    'plugin-mirror',
    [node, '--max-semi-space-size=2', main, 'serve', '--tree', tree, '--host', '127.0.0.1', '--port', String(port)],
    port,
  );
}

/** Runs on the first core, alone. */
async function started(
  folder: string,
  name: Contender['name'],
  command: readonly string[],
  port: number,
): Promise<Contender> {
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

/** CPU seconds of all threads of a process, user and kernel mode (proc(5): fields 14 and 15, in ticks of 10 ms). */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

export function rssMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise(resolve => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
