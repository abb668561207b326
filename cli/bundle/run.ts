import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import process from 'node:process';
import pc from 'picocolors';
import { printable, printableValue } from '../../base/printable.ts';
import { formatBytes, plural } from '../../base/words.ts';
import type { WrittenFile } from '../../layout/partWriter.ts';
import { type BundleReport, type BundleTarget, bundle } from '../../mirror/bundle/bundle.ts';
import type { ToolCommands } from '../../mirror/bundle/toolCommands.ts';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { Session } from '../../mirror/session.ts';
import { makeJob } from '../../mirror/sync/sync.ts';
import { EXIT, failureOf } from '../exit.ts';
import { OptionConflict, OptionInvalid } from '../options/errors.ts';
import { openerOf } from '../options/source.ts';
import type { BundleFlags } from '../options/tables.ts';
import { errorJson, type Failure, renderFailures, renderRefusal } from '../render/errors.ts';
import { print, printError, printJson, printText, wantsColor } from '../render/print.ts';
import { formatDuration } from '../render/text.ts';
import type { RegistryRun } from '../runCommand.ts';
import { showProgress } from '../sync/showProgress.ts';
import { commandsOf, commandsText } from './commands.ts';
import { type ProgramArchive, START_FILE } from './programArchive.ts';

interface BundleRun extends RegistryRun {
  readonly flags: BundleFlags;
  readonly version: string;
}

/** `plugin-mirror bundle`, once its arguments are read. Returns the exit code. */
export async function runBundle({ flags, version, registryOptions, signal }: BundleRun): Promise<number> {
  const started = performance.now();
  const { only = [], registry, platform, since, referrers } = flags;
  const path = requireOut(flags);
  const { withProgram = false, printCommands = false } = flags;
  const target = await targetOf(path, flags);
  const manifest = await readPluginManifest(flags.manifest);
  const job = makeJob(manifest, {
    dir: '',
    lock: flags.lock,
    only,
    registry,
    platform,
    concurrency: flags.concurrency,
  });
  // The bundle itself, the report in JSON, or commands to run are alone on stdout.
  const isReserved = flags.format === 'json' || target.kind === 'pipe' || printCommands;
  const out = isReserved ? process.stderr : process.stdout;
  const progress = await showProgress(out, flags);
  const session = new Session({
    openRegistry: openerOf({ manifest }, registryOptions, registry),
    signal,
    onEvent: progress.hear,
  });
  let report: BundleReport;
  let program: ProgramArchive | undefined;
  try {
    if (withProgram) {
      const { writeProgramArchive } = await import('./programArchive.ts');
      program = await writeProgramArchive(dirname(path), version, signal);
    }
    const to = target.kind === 'tar' && program !== undefined ? { ...target, alongside: [program.file] } : target;
    report = await bundle(job, { only, attachments: referrers, since, version }, to, session);
    if (report.packed !== undefined) await program?.publish(target.kind === 'tar');
  } finally {
    progress.stop();
    await Promise.all([session.registry.close(), program?.abandon()]);
  }
  const ms = Math.round(performance.now() - started);
  const color = wantsColor(out);
  const shown = printableValue(report);
  printError(problemsText(shown, wantsColor(process.stderr)));
  const written = report.packed === undefined ? undefined : program?.file;
  printText(summary(shown, printable(path), ms, color) + programText(printableValue(written), color), out);
  const made = printCommands && report.packed !== undefined ? await commandsOf(readable(path, report)) : undefined;
  if (flags.format === 'json' && target.kind !== 'pipe')
    printJson(json({ report, program: written, made, out: path }, session, ms));
  else if (made !== undefined) print(commandsText(printableValue(made)));
  if (report.packed !== undefined) return EXIT.good;
  return failureOf([...report.problems, ...failuresOf(report).map(({ error }) => error)]) ?? EXIT.failed;
}

/** @throws OptionInvalid */
function requireOut({ out }: BundleFlags): string {
  if (out !== undefined) return out;
  throw new OptionInvalid('The path of the bundle is missing', {
    subject: '--out',
    expected: '--out with a name that ends in .tar, another name for a folder, or - for a pipe',
    found: 'no --out',
    hint: 'Write plugin-mirror bundle --out plugins.tar',
  });
}

/** The path by which what was written can be read: the first part of a split bundle. */
function readable(path: string, { files }: BundleReport): string {
  return files.length > 1 ? (files[0]?.path ?? path) : path;
}

/** @throws OptionInvalid, OptionConflict */
async function targetOf(
  out: string,
  { split, format, withProgram, printCommands }: BundleFlags,
): Promise<BundleTarget> {
  const isPipe = out === '-';
  if (/\.(?:tgz|gz|zst|xz|bz2)$/i.test(out))
    throw new OptionInvalid('A bundle is not compressed', {
      subject: '--out',
      expected: 'a name that ends in .tar, or the name of a folder',
      found: out,
      hint: 'The layers in it are compressed. An uncompressed tar is read in place, without unpacking it.',
    });
  const isFolder =
    !isPipe && (!/\.tar$/i.test(out) || ((await stat(out).catch(() => undefined))?.isDirectory() ?? false));
  if (split !== undefined && (isPipe || isFolder))
    throw new OptionConflict(`--split cannot split ${isPipe ? 'a pipe' : 'a folder'}`, {
      expected: '--out with a name that ends in .tar',
      found: out,
      hint: 'Write --out FILE.tar: the parts are FILE.tar.001, FILE.tar.002 and so on.',
    });
  const alongside = withProgram ? '--with-program' : printCommands ? '--print-commands' : undefined;
  if (isPipe && alongside !== undefined)
    throw new OptionConflict(`--out - and ${alongside} contradict each other`, {
      expected: '--out with the name of a file or a folder',
      found: 'a pipe, which has no path',
      hint: `Write the bundle to a file, or leave ${alongside} out.`,
    });
  if (isPipe && format === 'json')
    throw new OptionConflict('--out - and --format json both write to stdout', {
      expected: 'one of them',
      hint: 'Write the bundle to a file, or leave --format json out.',
    });
  if (isPipe && process.stdout.isTTY)
    throw new OptionInvalid('--out - does not write a tar to a terminal', {
      subject: '--out',
      expected: 'a pipe or a file',
      found: 'a terminal',
      hint: 'Write plugin-mirror bundle --out - | COMMAND, or name a file.',
    });
  if (isPipe) return { kind: 'pipe', pipe: process.stdout };
  if (isFolder) return { kind: 'folder', path: out };
  return { kind: 'tar', path: out, ...(split === undefined ? {} : { partBytes: split }) };
}

function failuresOf({ failed }: BundleReport): Failure[] {
  return failed.flatMap(({ name, version, error }) => (error === undefined ? [] : [{ name, version, error }]));
}

function problemsText(report: BundleReport, color: boolean): string {
  const lines = [
    ...report.problems.map(problem => renderRefusal(problem, { color }).trimEnd()),
    ...renderFailures(failuresOf(report), pc.createColors(color)),
  ];
  return lines.map(line => `${line}\n`).join('');
}

function summary({ packed, files, failed }: BundleReport, out: string, ms: number, color: boolean): string {
  const paint = pc.createColors(color);
  if (packed === undefined)
    return `${paint.red('✗')} ${paint.bold('nothing was written')}: ${plural(failed.length, 'version')} failed\n`;
  const { images, attachments, left, sizeBytes } = packed;
  const isSplit = files.length > 1;
  const parts = isSplit ? `${plural(files.length - 1, 'part')} of ` : '';
  const figures = [
    `${plural(images, 'image')}`,
    ...(attachments === 0 ? [] : [plural(attachments, 'referrer')]),
    ...(left === 0 ? [] : [`${left} left out, since the base has them`]),
    `${formatBytes(sizeBytes)} in ${formatDuration(ms)}`,
  ];
  const name = out === '-' ? 'the bundle' : out;
  const sums =
    files.length === 0
      ? ''
      : `  ${paint.cyan('→')} check it with: sha256sum -c ${isSplit ? '--ignore-missing ' : ''}${out}.sha256\n`;
  return `${paint.green('✓')} ${paint.bold(`${parts}${name}`)}  ${figures.join(' · ')}\n${sums}`;
}

function programText(file: WrittenFile | undefined, color: boolean): string {
  if (file === undefined) return '';
  const archive = basename(file.path);
  const use = `tar -xzf ${archive} && node plugin-mirror/${START_FILE}`;
  return `  ${pc.createColors(color).cyan('→')} with ${archive} (${formatBytes(file.sizeBytes)}), which runs with: ${use}\n`;
}

interface Made {
  readonly report: BundleReport;
  readonly program: WrittenFile | undefined;
  readonly made: readonly ToolCommands[] | undefined;
  readonly out: string;
}

function json({ report, program, made, out }: Made, { registry }: Session, durationMs: number): object {
  const { packed, files, failed, problems } = report;
  return {
    schemaVersion: 1,
    out,
    files,
    ...(packed === undefined ? {} : { ...packed }),
    ...(program === undefined ? {} : { program }),
    ...(made === undefined ? {} : { commands: made }),
    ...(failed.length === 0
      ? {}
      : { failed: failed.map(({ error, ...rest }) => ({ ...rest, ...(error && { error: errorJson(error) }) })) }),
    ...(problems.length === 0 ? {} : { errors: problems.map(errorJson) }),
    totals: { ...registry.traffic, durationMs },
  };
}
