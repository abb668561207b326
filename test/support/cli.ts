import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import process from 'node:process';
import { ENTRY, requireCurrentBuild } from './build.ts';
import { isHosted, runHosted } from './commandHosts.ts';
import { hang } from './faults.ts';
import { imageFormC, type TestImage } from './images.ts';
import { buildModule } from './module.ts';
import { requireOutput } from './outputs.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from './registry.ts';

requireCurrentBuild();

export { ENTRY };

/** No test's command runs longer: one that hangs is killed and its exit code is null. */
const LIMIT_MS = 300_000;

export interface Ran {
  /** Null if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Added to (undefined: taken from) the clean environment. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Default: the scene's folder, where manifest.json and plugins/ are what no option names. */
  readonly cwd?: string;
  /** Standard input. Default: none. */
  readonly input?: string;
  /** Another user to run as; only root may ask for it. */
  readonly uid?: number;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ran>;
  /** What it has printed so far. */
  readonly output: () => string;
}

/** This process's environment without what changes how the command behaves, such as FORCE_COLOR or PLUGIN_MIRROR_*. */
export function plainEnvironment(changes: RunOptions['env'] = {}): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, TMPDIR, ...changes };
}

/** A folder with a manifest and a tree, a home of its own, and a registry in this process; all gone after the test. */
export class Scene {
  readonly dir: string;
  readonly registry: TestRegistry;

  constructor(dir: string, registry: TestRegistry) {
    this.dir = dir;
    this.registry = registry;
  }

  path(...parts: readonly string[]): string {
    return join(this.dir, ...parts);
  }

  /** Writes manifest.json over the scene's registry. */
  async list(plugins: object, rest: object = {}): Promise<void> {
    await this.write('manifest.json', JSON.stringify({ registry: this.registry.host, plugins, ...rest }));
  }

  async write(path: string, content: string | Buffer): Promise<void> {
    const file = this.path(path);
    await mkdir(resolve(file, '..'), { recursive: true });
    await writeFile(file, content);
  }

  read(path: string): Promise<string> {
    return readFile(this.path(path), 'utf8');
  }

  async json<T>(path: string): Promise<T> {
    return JSON.parse(await this.read(path)) as T;
  }

  /** Pushes a small module as `plugins/NAME:VERSION`; gives its bytes. Default: form C with a seed of its own. */
  push(name: string, version: string, image?: TestImage, seed = `${name} ${version}`): Buffer {
    const wasm = image?.wasm ?? buildModule({ seed });
    this.registry.push(`plugins/${name}`, version, image ?? imageFormC({ wasm, version }));
    return wasm;
  }

  environment(changes: RunOptions['env'] = {}): NodeJS.ProcessEnv {
    const home = this.path('home');
    return plainEnvironment({ HOME: home, XDG_CACHE_HOME: join(home, 'cache'), TMPDIR: this.path('tmp'), ...changes });
  }

  /** What node is to run for this command line. */
  command(args: readonly string[]): string[] {
    return [ENTRY, ...args];
  }

  start(args: readonly string[], { env, cwd, input, uid }: RunOptions = {}): Running {
    const child = spawn(process.execPath, this.command(args), {
      cwd: cwd ?? this.dir,
      env: this.environment(env),
      ...(uid === undefined ? {} : { uid }),
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    return watch(child, input);
  }

  /** Runs a command to its end. It has a process of its own if it needs one, or if there is time. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const env = this.environment(options.env);
    const ran =
      options.uid !== undefined || !isHosted(env)
        ? await this.start(args, options).ended
        : await runCommand(args, { cwd: this.dir, ...options, env });
    requireOutput(args, ran.stdout);
    return ran;
  }

  /** `plugin-mirror sync` with these arguments. */
  sync(...args: readonly string[]): Promise<Ran> {
    return this.run(['sync', ...args]);
  }

  /** sync with --format json, its report read. */
  async report(...args: readonly string[]): Promise<{ ran: Ran; report: SyncJson }> {
    const ran = await this.sync('--format', 'json', ...args);
    return { ran, report: parsed<SyncJson>(ran) };
  }
}

/** Runs a command to its end, with exactly this environment. */
export async function runCommand(
  args: readonly string[],
  options: RunOptions & { readonly cwd: string },
): Promise<Ran> {
  const env = Object.fromEntries(Object.entries(options.env ?? {}).filter(([, value]) => value !== undefined));
  const outcome = await runHosted({ ...options, args, env: env as Record<string, string> }, LIMIT_MS);
  if (outcome === undefined) return { code: null, stdout: '', stderr: `killed after ${LIMIT_MS} ms` };
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');
  return { code: outcome.code, stdout: text(outcome.stdout), stderr: text(outcome.stderr) };
}

/** What `sync --format json` prints. */
export interface SyncJson {
  readonly schemaVersion: number;
  readonly tree: string;
  readonly plugins: readonly PluginJson[];
  readonly drift: readonly Readonly<Record<string, string>>[];
  readonly extras: readonly { readonly name: string; readonly version: string; readonly removed: boolean }[];
  readonly errors?: readonly ErrorJson[];
  readonly interrupted?: boolean;
  readonly totals: Readonly<Record<string, number>>;
}

export interface PluginJson {
  readonly name: string;
  readonly version: string;
  readonly status: string;
  readonly reference: string;
  readonly digest?: string;
  readonly sha256?: string;
  readonly sizeBytes?: number;
  readonly aliasOf?: string;
  readonly warnings?: readonly string[];
  readonly error?: ErrorJson;
}

export interface ErrorJson {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** What a test's context offers, or a whole suite's. */
export interface Cleanup {
  after(clean: () => Promise<void>): unknown;
}

export async function openScene(t: Cleanup, options: RegistryOptions = {}): Promise<Scene> {
  const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-cli-'));
  for (const part of ['home', 'tmp']) await mkdir(join(dir, part));
  const registry = await startRegistry(options);
  t.after(async () => {
    await registry.close();
    await rm(dir, { recursive: true, force: true });
  });
  return new Scene(dir, registry);
}

/** A scene with the images of `done` and of `slow`, whose blob, at `path`, hangs after so many bytes. Nothing lists them yet. */
export async function openSlowScene(t: Cleanup, { sizeBytes, afterBytes }: { sizeBytes: number; afterBytes: number }) {
  const scene = await openScene(t);
  const done = scene.push('done', '1.0.0');
  const slow = scene.push('slow', '1.0.0', imageFormC({ wasm: buildModule({ seed: 'slow', sizeBytes }) }));
  const path = new RegExp(sha256(slow));
  scene.registry.script({ kind: 'blob', path, fault: hang({ afterBytes }) });
  return { scene, done, slow, path };
}

/** Parses stdout as JSON. @throws with stderr if it is not JSON */
export function parsed<T>({ code, stdout, stderr }: Ran): T {
  try {
    return JSON.parse(stdout) as T;
  } catch (cause) {
    throw new Error(`exit ${code}, stdout is no JSON: ${stdout}\nstderr: ${stderr}`, { cause });
  }
}

/** Follows a child that may be any program. */
export function watch(child: ChildProcess, input?: string): Running {
  const chunks: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
  child.stdout?.on('data', (chunk: Buffer) => chunks.stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => chunks.stderr.push(chunk));
  child.stdin?.on('error', () => undefined);
  if (input !== undefined) child.stdin?.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  const text = (stream: 'stdout' | 'stderr') => Buffer.concat(chunks[stream]).toString('utf8');
  const ended = new Promise<Ran>((resolveRan, reject) => {
    child.once('error', reject);
    child.once('close', code => {
      clearTimeout(timer);
      resolveRan({ code, stdout: text('stdout'), stderr: text('stderr') });
    });
  });
  return { child, ended, output: () => text('stdout') + text('stderr') };
}

/** Waits until a command has printed this. @throws if it ends before */
export async function printed({ child, ended, output }: Running, words: RegExp): Promise<void> {
  const over = ended.then(ran => assert.match(`${ran.stdout}${ran.stderr}`, words));
  while (!words.test(output()) && child.exitCode === null && child.signalCode === null)
    await Promise.race([over, once(child.stdout ?? child, 'data'), once(child.stderr ?? child, 'data')]);
  if (!words.test(output())) await over;
}

/**
 * Everything below a folder, by path: kind, mode, mtime and content, so that two equal listings are two equal folders.
 * A folder that is not there gives an empty listing.
 */
export async function listing(dir: string): Promise<Record<string, string>> {
  const found: [string, string][] = [];
  const visit = async (path: string): Promise<void> => {
    const stat = await lstat(path);
    const about = `${(stat.mode & 0o7777).toString(8)} ${stat.mtimeMs}`;
    const name = relative(dir, path);
    if (stat.isSymbolicLink()) found.push([name, `link ${await readlink(path)}`]);
    else if (stat.isDirectory()) {
      found.push([`${name}/`, about]);
      for (const entry of (await readdir(path)).sort()) await visit(join(path, entry));
    } else found.push([name, `${about} ${stat.size} ${sha256(await readFile(path))}`]);
  };
  await visit(dir).catch(error => {
    if (error.code !== 'ENOENT' || error.path !== dir) throw error;
  });
  return Object.fromEntries(found);
}

export function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
