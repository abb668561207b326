import { execFile, execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const checkout = resolve(import.meta.dirname, '../..');

/** The registry on loopback that takes images over plain http. */
export const labRegistry = process.env.LAB_REGISTRY ?? '127.0.0.1:5000';

/** Why tests with real engines cannot run here; false if they can. With PLUGIN_MIRROR_TEST_PEERS=1 they must. */
export function withoutDocker(): string | false {
  if (process.env.PLUGIN_MIRROR_TEST_PEERS === '1') return false;
  if (process.env.LAB_REGISTRY === undefined) return 'LAB_REGISTRY does not name a registry to push to';
  for (const [program, ...words] of [
    ['docker', 'buildx', 'ls'],
    ['docker', 'version'],
    ['oras', 'version'],
  ] as const)
    try {
      execFileSync(program, words, { stdio: 'ignore' });
    } catch {
      return `\`${[program, ...words].join(' ')}\` does not work here`;
    }
  return false;
}

/** Why tests with other OCI tools cannot run here; false if they can. With PLUGIN_MIRROR_TEST_PEERS=1 they must. */
export function withoutTools(...tools: readonly string[]): string | false {
  const docker = withoutDocker();
  if (docker !== false || process.env.PLUGIN_MIRROR_TEST_PEERS === '1') return docker;
  for (const tool of tools)
    try {
      execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' });
    } catch {
      return `there is no ${tool} on the PATH`;
    }
  return false;
}

/** Runs a program and returns its standard output, trimmed. @throws with the end of its output if it fails */
export async function run(program: string, words: readonly string[], cwd?: string): Promise<string> {
  try {
    const place = cwd === undefined ? {} : { cwd };
    const { stdout } = await execute(program, words, { ...place, maxBuffer: 64 * 1024 * 1024 });
    return stdout.trim();
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    throw new Error(`${program} ${words[0]} ended with ${code}: …${`${stdout}${stderr}`.slice(-4000)}`);
  }
}

export function docker(...words: readonly string[]): Promise<string> {
  return run('docker', words);
}

/** A build context: this checkout's sources, another manifest, and further files of the test. */
export class Context {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async create(manifest: object): Promise<Context> {
    const context = new Context(await mkdtemp(join(tmpdir(), 'plugin-mirror-build-')));
    const left = new Set(['.git', 'node_modules', 'dist', 'plugins', 'coverage', 'test', 'docs', 'manifest.lock.json']);
    await cp(checkout, context.dir, { recursive: true, filter: path => !left.has(relative(checkout, path)) });
    await context.write('manifest.json', JSON.stringify(manifest));
    return context;
  }

  async write(path: string, content: string | Buffer): Promise<void> {
    await mkdir(dirname(join(this.dir, path)), { recursive: true });
    await writeFile(join(this.dir, path), content);
  }

  /** `docker buildx build` with the arguments that this machine needs for npm and loopback. The error has its output. */
  async build(...words: readonly string[]): Promise<void> {
    const npmRegistry = await run('npm', ['config', 'get', 'registry'], this.dir);
    const reach = ['--network', 'host', '--build-arg', `NPM_REGISTRY=${npmRegistry}`];
    await docker('buildx', 'build', '--progress', 'plain', ...reach, ...words, this.dir);
  }

  /** Exports the tree of the image and returns its folder. */
  async buildTree(...words: readonly string[]): Promise<string> {
    const tree = await mkdtemp(join(this.dir, 'tree-'));
    await this.build('--target', 'verified', '--output', `type=local,dest=${tree}`, ...words);
    return tree;
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}
