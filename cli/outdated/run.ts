import process from 'node:process';
import pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { plural } from '../../base/words.ts';
import { findOutdated, type OutdatedRow } from '../../mirror/check/outdated.ts';
import type { takeVersions } from '../../mirror/check/takeVersions.ts';
import { type NewestRelease, newestRelease, readHigressData } from '../../mirror/coverage/requests/higressReleases.ts';
import { parsePluginManifest, readManifestText, readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { Session } from '../../mirror/session.ts';
import { makeJob } from '../../mirror/sync/sync.ts';
import { EXIT } from '../exit.ts';
import { openerOf } from '../options/source.ts';
import type { OutdatedFlags } from '../options/tables.ts';
import { errorJson, renderFailures } from '../render/errors.ts';
import { print, printError, printJson, wantsColor, warningPrinter } from '../render/print.ts';
import { listed, table } from '../render/text.ts';
import type { Collect } from '../report/reporting.ts';
import type { RegistryRun } from '../runCommand.ts';

interface OutdatedRun extends RegistryRun {
  readonly flags: OutdatedFlags;
  readonly collect: Collect;
}

/** `plugin-mirror outdated`, once its arguments are read. Returns the exit code. */
export async function runOutdated({ flags, registryOptions, signal, collect }: OutdatedRun): Promise<number> {
  const { tree: dir, lock, registry, concurrency, pre = false } = flags;
  const manifest = await readPluginManifest(flags.manifest);
  const openRegistry = openerOf({ manifest }, registryOptions, registry);
  const session = new Session({ openRegistry, signal, onEvent: warningPrinter() });
  try {
    const job = makeJob(manifest, { dir, lock, registry, concurrency });
    const rows = await findOutdated(job, pre, session);
    const unheard = unheardIn(rows);
    printUnheard(printableValue(unheard));
    const shown = rows.filter(row => flags.all || row.outdated || row.behind || row.error !== undefined);
    const higress = newestRelease(await readHigressData(), manifest);
    collect(async () => (await import('../report/ciReport.ts')).ofOutdated(flags.manifest, rows));
    const written = flags.write ? await write(flags.manifest, rows) : undefined;
    if (flags.format === 'json') {
      const { taken, left } = written ?? {};
      const more = written === undefined ? {} : { written: taken, left };
      printJson({ ...report(shown, unheard), ...(higress === undefined ? {} : { higress }), ...more });
    } else if (!flags.quiet || shown.length > 0) {
      printRows(printableValue(shown), rows.length);
      if (higress !== undefined) print(higressLine(higress));
    }
    if (written !== undefined) printWritten(flags.manifest, printableValue(written));
    if (rows.some(row => row.error !== undefined)) return EXIT.failed;
    return flags.exitCode && rows.some(row => row.outdated) ? EXIT.drift : EXIT.good;
  } finally {
    await session.registry.close();
  }
}

/** One line: the newest release, and what of it the manifest lacks. */
function higressLine({ release, plugins, missing }: NewestRelease): string {
  const known = `Higress ${release}, the newest release that this plugin-mirror knows, requests ${plural(plugins, 'plugin')}`;
  if (missing.length === 0) return `${known}: the manifest has all of them\n`;
  const names = listed(missing.map(({ name, version }) => `${name} ${version}`));
  return `${known}; the manifest lacks ${missing.length}: ${names} (plugin-mirror coverage --higress ${release} --fix adds them)\n`;
}

type Written = Pick<ReturnType<typeof takeVersions>, 'taken' | 'left'>;

/** Adds the newer versions to the manifest. @throws ManifestUnwritable */
async function write(manifest: string, rows: readonly OutdatedRow[]): Promise<Written> {
  const [{ takeVersions }, { replaceManifestText }] = await Promise.all([
    import('../../mirror/check/takeVersions.ts'),
    import('../../mirror/import/writeManifest.ts'),
  ]);
  const text = await readManifestText(manifest);
  const newer = rows.flatMap(({ name, wanted, latest, outdated }) =>
    outdated && wanted !== undefined && latest !== undefined ? [{ name, wanted, latest }] : [],
  );
  const { text: changed, taken, left } = takeVersions(text, newer);
  if (changed !== text) {
    await parsePluginManifest(changed, { file: manifest });
    await replaceManifestText(manifest, changed);
  }
  return { taken, left };
}

function printWritten(manifest: string, { taken, left }: Written): void {
  const lines = [
    ...taken.map(({ name, version, was }) => `wrote ${manifest}: ${name} ${version} (newest before: ${was})`),
    ...left.map(({ name, tag, reason }) => `not written: ${name} ${tag}: ${reason}`),
    ...(taken.length === 0 ? [] : ['Run plugin-mirror sync to fetch them and to lock their digests.']),
  ];
  printError(lines.map(line => `${line}\n`).join(''));
}

type Unheard = ReadonlyMap<string, Error>;

/** The registry hosts that did not answer, each once: newer versions that only they have are not known. */
function unheardIn(rows: readonly OutdatedRow[]): Unheard {
  return new Map(rows.flatMap(({ unheard = [] }) => unheard.map(({ registry, error }) => [registry, error])));
}

function printUnheard(unheard: Unheard): void {
  for (const [registry, { message }] of unheard)
    printError(`${registry} did not answer, and versions that only it has are not counted: ${message}\n`);
}

function report(rows: readonly OutdatedRow[], unheard: Unheard): object {
  return {
    schemaVersion: 1,
    plugins: rows.map(row => ({
      ...row,
      ...(row.unheard === undefined ? {} : { unheard: row.unheard.map(unheardJson) }),
      ...(row.error === undefined ? {} : { error: errorJson(row.error) }),
    })),
    ...(unheard.size === 0
      ? {}
      : { unheard: [...unheard].map(([registry, error]) => unheardJson({ registry, error })) }),
  };
}

function unheardJson({ registry, error }: { readonly registry: string; readonly error: Error }): object {
  return { registry, error: errorJson(error) };
}

function printRows(rows: readonly OutdatedRow[], asked: number): void {
  const paint = pc.createColors(wantsColor(process.stdout));
  const failures = rows.flatMap(({ name, error }) => (error === undefined ? [] : { name, error }));
  const lines = renderFailures(failures, pc.createColors(wantsColor(process.stderr)));
  printError(lines.map(line => `${line}\n`).join(''));
  const answered = rows.filter(row => row.error === undefined);
  const silent = rows.length - answered.length;
  if (answered.length > 0) print(rowsText(answered, paint));
  if (!answered.some(row => row.outdated) && asked > silent)
    print(`${plural(asked - silent, 'plugin')} asked, none has a newer version\n`);
  if (silent > 0) printError(`${silent} of ${plural(asked, 'plugin')} could not be asked\n`);
}

function rowsText(rows: readonly OutdatedRow[], paint: ReturnType<typeof pc.createColors>): string {
  const [head = '', ...lines] = table([
    ['Plugin', 'Current', 'Wanted', 'Locked', 'Latest', 'Repository'],
    ...rows.map(({ name, current = '-', wanted = '-', locked = '-', latest = '-', repository }) => [
      name,
      current,
      wanted,
      locked,
      latest,
      repository,
    ]),
  ]);
  return `${[paint.underline(head), ...lines].join('\n')}\n`;
}
