import type { RegistryOptions } from '../registry.ts';
import { OrasMissing, OrasTooOld } from './errors.ts';
import { runOras } from './process.ts';

/** It has `blob fetch --no-tty`, `--cert-file` and everything else that is used here. */
const OLDEST = [1, 3, 0] as const;

/** Returns the version of the ORAS CLI on PATH, such as `1.3.3`. @throws OrasMissing, OrasTooOld */
export async function readOrasVersion(
  { env = {}, timeoutMs = 30_000 }: RegistryOptions,
  signal: AbortSignal,
): Promise<string> {
  const { stdout } = await runOras({ args: ['version'], env, signal, timeoutMs, subject: 'its version' });
  const [, major, minor, patch] = /^Version:\s+v?(\d+)\.(\d+)\.(\d+)/m.exec(stdout.toString('utf8')) ?? [];
  if (major === undefined) throw new OrasMissing('the `oras` on PATH is another program of that name');
  const version = [Number(major), Number(minor), Number(patch)];
  const differing = OLDEST.findIndex((part, index) => version[index] !== part);
  if (differing >= 0 && (version[differing] ?? 0) < (OLDEST[differing] ?? 0)) throw new OrasTooOld(version.join('.'));
  return version.join('.');
}
