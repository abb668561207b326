import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

/** Compiles writer.ts into `dir`: as JavaScript it starts in a third of the time. */
export async function compileWriter(dir: string): Promise<string> {
  const root = resolve(import.meta.dirname, '../..');
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const config = join(dir, 'tsconfig.json');
  const compilerOptions = { noEmit: false, noCheck: true, rootDir: root, outDir: join(dir, 'out'), types: [] };
  await writeFile(
    config,
    JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions,
      include: [join(root, 'test/tree/writer.ts')],
    }),
  );
  await writeFile(join(dir, 'package.json'), '{"type":"module"}');
  await symlink(join(root, 'node_modules'), join(dir, 'node_modules'));
  await promisify(execFile)(process.execPath, [compiler, '-p', config]);
  return join(dir, 'out/test/tree/writer.js');
}

export interface Writer {
  readonly process: ChildProcess;
  readonly pid: number;
  /** The first line that it prints: "open", "wait" or the code of a refusal. */
  readonly said: string;
  /** Closes the tree and waits for the process to end. */
  finish(): Promise<void>;
  kill(): Promise<void>;
}

export async function startWriter(script: string, treeDir: string, waitMs = 0): Promise<Writer> {
  const child = spawn(process.execPath, [script, treeDir, `${waitMs}`], { stdio: ['pipe', 'pipe', 'inherit'] });
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
