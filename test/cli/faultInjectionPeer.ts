import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { type Scene, sha256 } from '../support/cli.ts';

/** Set to 1 to run ORAS on the same faults, where it is installed, and to print both bills. */
export const PEERS = process.env.PLUGIN_MIRROR_TEST_PEERS === '1';
/** ORAS has no time-out of its own. */
const LIMIT_MS = 20_000;

export interface Bill {
  readonly succeeded: boolean;
  /** Blob bodies on the wire. */
  readonly bytes: number;
  readonly requests: number;
  readonly tookMs: number;
}

/** Copies each plugin's image with `oras cp`, one after the other as a script would; undefined where there is no ORAS. */
export async function runPeer(
  scene: Scene,
  names: readonly string[],
): Promise<Pick<Bill, 'succeeded' | 'tookMs'> | undefined> {
  if ((await findOras()) === undefined) return undefined;
  const started = performance.now();
  const way = scene.registry.url.startsWith('https') ? ['--from-ca-file', scene.path('ca.pem')] : ['--from-plain-http'];
  for (const name of names) {
    const target = scene.path('peer', name);
    const ref = `${scene.registry.host}/plugins/${name}:1`;
    const copied = await run(['cp', '--no-tty', ...way, '--to-oci-layout', ref, `${target}:1`], scene);
    // One that it cannot have is enough: some faults take it all of its time.
    if (!copied || !(await isWhole(target))) return { succeeded: false, tookMs: performance.now() - started };
  }
  return { succeeded: true, tookMs: performance.now() - started };
}

async function findOras(): Promise<string | undefined> {
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(dir, 'oras');
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

async function run(args: readonly string[], scene: Scene): Promise<boolean> {
  const child = spawn('oras', args, { stdio: 'ignore', env: scene.environment() });
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  return code === 0;
}

async function isWhole(layout: string): Promise<boolean> {
  const blob = (digest: string) => readFile(join(layout, 'blobs', ...digest.split(':')));
  try {
    const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
    const manifest = JSON.parse((await blob(index.manifests[0]?.digest ?? '')).toString()) as {
      layers: { digest: string }[];
    };
    for (const { digest } of manifest.layers) if (`sha256:${sha256(await blob(digest))}` !== digest) return false;
    return true;
  } catch {
    return false;
  }
}
