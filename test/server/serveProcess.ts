import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import type { TestContext } from 'node:test';
import { ENTRY, plainEnvironment } from '../support/cli.ts';

export interface Started {
  readonly child: ChildProcess;
  /** What has been printed so far. */
  readonly out: { stdout: string; stderr: string };
  readonly ended: Promise<number | null>;
}

/** Starts `plugin-mirror serve` as a process, and kills it when the test ends. */
export function startServe(
  t: TestContext,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Started {
  const child = spawn(process.execPath, [ENTRY, 'serve', ...args], {
    env: plainEnvironment(env),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000, // a process that does not end must not block the test
    killSignal: 'SIGKILL',
  });
  const out = { stdout: '', stderr: '' };
  child.stdout.on('data', part => {
    out.stdout += String(part);
  });
  child.stderr.on('data', part => {
    out.stderr += String(part);
  });
  t.after(() => child.kill('SIGKILL'));
  return { child, out, ended: once(child, 'close').then(([code]) => code as number | null) };
}

export async function portOf({ child, out }: Started): Promise<number> {
  for (;;) {
    const port = /serving .* at http:\/\/\S+:(\d+)\//.exec(out.stderr)?.[1];
    if (port !== undefined) return Number(port);
    assert.equal(child.exitCode, null, out.stderr);
    await once(child.stderr ?? child, 'data');
  }
}
