import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { compiled, requireCurrentBuild } from '../support/build.ts';

requireCurrentBuild();

const SCRIPT = compiled('test/tree/writer.ts');

export interface Writer {
  readonly process: ChildProcess;
  readonly pid: number;
  /** The first line that it prints: "open", "wait" or the code of a refusal. */
  readonly said: string;
  /** Closes the tree and waits for the process to end. */
  finish(): Promise<void>;
  kill(): Promise<void>;
}

export async function startWriter(treeDir: string, waitMs = 0): Promise<Writer> {
  const child = spawn(process.execPath, [SCRIPT, treeDir, `${waitMs}`], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const [said] = await Promise.race([once(lines, 'line'), exit.then(() => ['nothing'])]);
  return {
    process: child,
    pid: child.pid ?? 0,
    said: String(said),
    async finish() {
      child.stdin.write('close\n');
      await exit;
    },
    async kill() {
      child.kill('SIGKILL');
      await exit;
    },
  };
}
