import { resolve } from 'node:path';
import process from 'node:process';
import pc from 'picocolors';
import { type CheckFinding, check } from '../mirror/check.ts';
import { plural } from '../mirror/document/problem.ts';
import { LazyRegistry } from '../mirror/lazyRegistry.ts';
import { readHeldVersions } from '../mirror/lock/heldVersions.ts';
import { readPluginManifest, withRegistry } from '../mirror/manifest/pluginManifest.ts';
import type { RegistryOptions } from '../registry/registry.ts';
import { openStamps } from '../tree/stamps.ts';
import { wantsColor } from './colors.ts';
import { EXIT } from './exit.ts';
import { openerOf } from './openerOf.ts';
import type { RegistryFlags } from './registryFlags.ts';
import { errorJson } from './syncJson.ts';

export interface CheckFlags extends RegistryFlags {
  readonly manifest: string;
  readonly out: string;
  readonly rehash?: boolean;
  readonly format: 'text' | 'json';
}

export interface CheckRun {
  readonly flags: CheckFlags;
  readonly registryOptions: RegistryOptions;
  readonly stampsFile: string;
  readonly signal: AbortSignal;
}

/** `plugin-mirror check`, once its arguments are read; answers the exit code. */
export async function runCheck({ flags, registryOptions, stampsFile, signal }: CheckRun): Promise<number> {
  const list = await readPluginManifest(flags.manifest);
  const held = await readHeldVersions({
    list,
    frozen: false,
    update: false,
    signal,
    ...(flags.platform === undefined ? {} : { platform: flags.platform }),
  });
  const registry = new LazyRegistry(
    openerOf(list, { ...registryOptions, headsOnly: true }, flags.registry),
    () => undefined,
  );
  try {
    const findings = await check({
      manifest: flags.registry === undefined ? list : withRegistry(list, flags.registry),
      treeDir: resolve(flags.out),
      held,
      registry: () => registry.get(),
      stamps: await openStamps(stampsFile, resolve(flags.out)),
      rehash: flags.rehash ?? false,
      concurrency: flags.concurrency * 4,
      signal,
    });
    const versions = list.versions.length + list.aliases.length;
    if (flags.format === 'json')
      process.stdout.write(`${JSON.stringify(report(findings, versions, registry.traffic.requests), null, 2)}\n`);
    else process.stdout.write(render(findings, versions, held.exists, wantsColor(process.stdout)));
    return findings.length === 0 ? EXIT.good : EXIT.drift;
  } finally {
    await registry.close();
  }
}

function report(findings: readonly CheckFinding[], versions: number, requests: number): object {
  return {
    schemaVersion: 1,
    findings: findings.map(({ error, ...finding }) => ({
      ...finding,
      ...(error === undefined ? {} : { error: errorJson(error) }),
    })),
    totals: { versions, findings: findings.length, requests },
  };
}

function render(findings: readonly CheckFinding[], versions: number, hasLock: boolean, color: boolean): string {
  const paint = pc.createColors(color);
  const lock = hasLock
    ? 'manifest, lock, tree and registry agree'
    : 'manifest, tree and registry agree; there is no lock';
  if (findings.length === 0) return `${paint.green('✓')} ${plural(versions, 'version')}: ${lock}\n`;
  const lines = findings.map(
    ({ kind, name, version, detail }) => `${paint.yellow(kind.padEnd(11))} ${name} ${version}  ${detail}`,
  );
  const head = `${paint.red('✗')} ${plural(findings.length, 'difference')} in ${plural(versions, 'version')}`;
  return `${[...lines, head, ...remedies(findings).map(words => `  ${paint.cyan('→')} ${words}`)].join('\n')}\n`;
}

/** What to do about each kind that was found; a plain sync neither takes a moved tag nor removes anything. */
function remedies(findings: readonly CheckFinding[]): string[] {
  const has = (...kinds: readonly CheckFinding['kind'][]) => findings.some(({ kind }) => kinds.includes(kind));
  const moved = [...new Set(findings.filter(({ kind }) => kind === 'moved').map(({ name }) => name))];
  return [
    ...(has('missing', 'damaged', 'stale', 'unlocked')
      ? ['plugin-mirror sync brings the tree and the lock in line.']
      : []),
    ...(moved.length > 0 ? [`plugin-mirror sync --update ${moved.join(' ')} takes what the tags lead to now.`] : []),
    ...(has('extra') ? ['plugin-mirror sync --prune removes what the manifest no longer names.'] : []),
    ...(has('unreachable')
      ? ['What could not be asked may have moved: mend the way to the registry, then check again.']
      : []),
  ];
}
