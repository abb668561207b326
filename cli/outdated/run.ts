import process from 'node:process';
import pMap from 'p-map';
import pc from 'picocolors';
import { findOutdated, type OutdatedRow } from '../../mirror/check/outdated.ts';
import { plural } from '../../mirror/json/problem.ts';
import { LazyRegistry } from '../../mirror/lazyRegistry.ts';
import { lockPathFor, readLock } from '../../mirror/lockfile/compareManifest.ts';
import { readPluginManifest, withRegistry } from '../../mirror/manifest/readManifest.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { listVersions } from '../../tree/version/listVersions.ts';
import { readVersion } from '../../tree/version/readVersion.ts';
import { EXIT } from '../exit.ts';
import { openerOf } from '../options/openerOf.ts';
import type { RegistryFlags } from '../options/registryFlags.ts';
import { wantsColor } from '../render/colors.ts';
import { renderFailures } from '../render/failures.ts';
import { errorJson } from '../render/jsonErrors.ts';

export interface OutdatedFlags extends RegistryFlags {
  readonly manifest: string;
  readonly out: string;
  readonly pre?: boolean;
  readonly all?: boolean;
  readonly format: 'text' | 'json';
}

export interface OutdatedRun {
  readonly flags: OutdatedFlags;
  readonly registryOptions: RegistryOptions;
  readonly signal: AbortSignal;
}

/** `plugin-mirror outdated`, once its arguments are read; answers the exit code. */
export async function runOutdated({ flags, registryOptions, signal }: OutdatedRun): Promise<number> {
  const list = await readPluginManifest(flags.manifest);
  const lock = await readLock(lockPathFor(list.file));
  const registry = new LazyRegistry(openerOf(list, registryOptions, flags.registry), () => undefined);
  try {
    const rows = await findOutdated({
      manifest: flags.registry === undefined ? list : withRegistry(list, flags.registry),
      registry: () => registry.get(),
      current: byName(await realVersions(flags.out)),
      locked: byName(lock?.entries ?? []),
      preReleases: flags.pre ?? false,
      concurrency: flags.concurrency,
      signal,
    });
    const unheard = unheardIn(rows);
    tellUnheard(unheard);
    const shown = rows.filter(row => flags.all || row.outdated || row.behind || row.error !== undefined);
    if (flags.format === 'json') process.stdout.write(`${JSON.stringify(report(shown, unheard), null, 2)}\n`);
    else print(shown, rows.length);
    return rows.some(row => row.error !== undefined) ? EXIT.failed : EXIT.good;
  } finally {
    await registry.close();
  }
}

/** Without aliases, whose version is a second path and no other plugin. */
async function realVersions(treeDir: string): Promise<{ readonly name: string; readonly version: string }[]> {
  const real = async ({ name, version }: { readonly name: string; readonly version: string }) => {
    const metadata = await readVersion(treeDir, name, version).catch(() => undefined);
    return metadata?.aliasOf === undefined ? [{ name, version }] : [];
  };
  return (await pMap(await listVersions(treeDir), real, { concurrency: 16 })).flat();
}

function byName(versions: readonly { readonly name: string; readonly version: string }[]): Map<string, string[]> {
  const map = new Map<string, string[]>();
  for (const { name, version } of versions) map.set(name, [...(map.get(name) ?? []), version]);
  return map;
}

type Unheard = ReadonlyMap<string, Error>;

/** Once per place: newer versions that only it has are not known. */
function unheardIn(rows: readonly OutdatedRow[]): Unheard {
  return new Map(rows.flatMap(({ unheard = [] }) => unheard.map(({ registry, error }) => [registry, error])));
}

function tellUnheard(unheard: Unheard): void {
  for (const [registry, { message }] of unheard)
    process.stderr.write(`${registry} was not heard, and versions that only it has are not counted: ${message}\n`);
}

function report(rows: readonly OutdatedRow[], unheard: Unheard): object {
  return {
    schemaVersion: 1,
    plugins: rows.map(row => ({
      ...row,
      ...(row.unheard === undefined ? {} : { unheard: row.unheard.map(placeJson) }),
      ...(row.error === undefined ? {} : { error: errorJson(row.error) }),
    })),
    ...(unheard.size === 0 ? {} : { unheard: [...unheard].map(([registry, error]) => placeJson({ registry, error })) }),
  };
}

function placeJson({ registry, error }: { readonly registry: string; readonly error: Error }): object {
  return { registry, error: errorJson(error) };
}

function print(rows: readonly OutdatedRow[], asked: number): void {
  const paint = pc.createColors(wantsColor(process.stdout));
  const failures = rows.flatMap(({ name, error }) => (error === undefined ? [] : { name, error }));
  const told = renderFailures(failures, pc.createColors(wantsColor(process.stderr)));
  process.stderr.write(told.map(line => `${line}\n`).join(''));
  const listed = rows.filter(row => row.error === undefined);
  const silent = rows.length - listed.length;
  if (listed.length > 0) process.stdout.write(table(listed, paint));
  if (!listed.some(row => row.outdated) && asked > silent)
    process.stdout.write(`${plural(asked - silent, 'plugin')} asked, none has a newer version\n`);
  if (silent > 0) process.stderr.write(`${silent} of ${plural(asked, 'plugin')} could not be asked\n`);
}

function table(rows: readonly OutdatedRow[], paint: ReturnType<typeof pc.createColors>): string {
  const cells = [
    ['Plugin', 'Current', 'Wanted', 'Locked', 'Latest', 'Repository'],
    ...rows.map(({ name, current, wanted, locked, latest, repository }) => [
      name,
      current ?? '-',
      wanted ?? '-',
      locked ?? '-',
      latest ?? '-',
      repository,
    ]),
  ];
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map(row => row[column]?.length ?? 0)));
  const lines = cells.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${[paint.underline(lines[0] ?? ''), ...lines.slice(1)].join('\n')}\n`;
}
