import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import { isAbsolute } from 'node:path';
import process from 'node:process';
import type { ServeFlags } from './serveFlags.ts';

const TIMEOUT_MS = 4000;

/** Asks the server that these flags describe whether it is ready. Answers what to say of it, and whether it is good. */
export function probeServer(flags: ServeFlags): Promise<{ readonly isReady: boolean; readonly text: string }> {
  const { host, port, tlsCert } = flags;
  const address = host === '0.0.0.0' ? '127.0.0.1' : host === '::' || host === '[::]' ? '::1' : host;
  const name = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
  const url = `${tlsCert === undefined ? 'http' : 'https'}://${name}:${port}/readyz`;
  const request = tlsCert === undefined ? plainRequest : secureRequest;
  return new Promise(resolve => {
    // Its certificate is for its clients' name of it; that this is the server is known from the address.
    const asking = request(url, { rejectUnauthorized: false, timeout: TIMEOUT_MS, agent: false }, answer => {
      answer.resume();
      resolve({ isReady: answer.statusCode === 200, text: `${url}: ${answer.statusCode}` });
    });
    asking.once('timeout', () => asking.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    asking.once('error', error => resolve({ isReady: false, text: `${url}: ${error.message}` }));
    asking.end();
  });
}

/**
 * What follows `serve` on the command line of the first process here that runs this program so (proc_pid_cmdline(5)): the
 * health check of a container is not told what the container was.
 */
export function commandLineOfServer(): readonly string[] | undefined {
  const self = pathOf(process.argv[1] ?? '', process.cwd());
  const pids = listProcesses().sort((a, b) => a - b);
  for (const pid of pids) {
    const [script, command, ...rest] = argumentsOf(pid);
    if (pid === process.pid || command !== 'serve' || rest.includes('--probe') || script === undefined) continue;
    if (pathOf(script, `/proc/${pid}/cwd`) === self) return rest;
  }
  return undefined;
}

function pathOf(script: string, folder: string): string | undefined {
  try {
    return realpathSync(isAbsolute(script) ? script : `${folder}/${script}`);
  } catch {
    return undefined;
  }
}

function listProcesses(): number[] {
  try {
    return readdirSync('/proc')
      .filter(name => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

/** The script and its arguments, without the program and its own options. */
function argumentsOf(pid: number): string[] {
  try {
    const [, ...rest] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    return rest.slice(rest.findIndex(part => !part.startsWith('-')));
  } catch {
    return [];
  }
}
