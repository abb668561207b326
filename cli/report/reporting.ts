import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import process from 'node:process';
import { OptionConflict } from '../options/errors.ts';
import type { CiReport } from './ciReport.ts';

/** What a report is about, and the files that it must not replace. */
export interface ReportFlags {
  readonly manifest: string;
  /** The file of the report. */
  readonly report: string | undefined;
  readonly tree: string;
  /** The path of the lockfile; undefined: next to the manifest; false: none. */
  readonly lock: string | false | undefined;
}

/** Takes the report of a run for CI. */
export type Collect = (report: () => Promise<CiReport>) => void;

/**
 * Runs a command and then writes its report for CI: the file of `--report`, and annotations if GitHub Actions runs it. `work` passes its
 * report to `collect`; a run that throws before that is reported by its error.
 * @throws what `work` throws, and ReportUnwritable; OptionConflict if the report would replace what the command works with
 */
export async function withReport(
  command: string,
  flags: ReportFlags,
  work: (collect: Collect) => Promise<number>,
): Promise<number> {
  const { manifest, report: file } = flags;
  const isGithub = process.env.GITHUB_ACTIONS === 'true';
  if (file === undefined && !isGithub) return work(() => undefined);
  if (file !== undefined) await requireOwnFile(file, flags);
  const { writeReport } = await import('./writeReport.ts');
  let report: (() => Promise<CiReport>) | undefined;
  const options = { file, annotate: isGithub, workspace: process.env.GITHUB_WORKSPACE };
  try {
    const code = await work(collected => {
      report = collected;
    });
    if (report !== undefined) await writeReport(await report(), options);
    return code;
  } catch (error) {
    const { ofFailure } = await import('./ciReport.ts');
    await writeReport(ofFailure(`plugin-mirror ${command}`, manifest, error), options).catch(() => undefined);
    throw error;
  }
}

/** @throws OptionConflict if the report would replace the manifest, the lockfile or a file of the tree */
async function requireOwnFile(file: string, { manifest, tree, lock }: ReportFlags): Promise<void> {
  const { lockfilePath } = await import('../../mirror/lockfile/lockfile.ts');
  const path = await realPath(file);
  const lockfile = lock === false ? undefined : lockfilePath(manifest, lock);
  const [manifestFile, lockedFile, treeFolder] = await Promise.all([
    realPath(manifest),
    lockfile === undefined ? undefined : realPath(lockfile),
    realPath(tree),
  ]);
  const replaced =
    path === manifestFile
      ? 'the manifest'
      : path === lockedFile
        ? 'the lockfile'
        : path === treeFolder || path.startsWith(treeFolder + sep)
          ? `in the plugin tree ${tree}`
          : undefined;
  if (replaced === undefined) return;
  throw new OptionConflict(`--report ${file} is ${replaced}`, {
    subject: file,
    expected: 'a file of its own: the report replaces what is there',
    found: path,
    hint: 'Name another file, such as --report report.json.',
  });
}

/** Follows links as far as the path exists. */
async function realPath(path: string): Promise<string> {
  const whole = resolve(path);
  const parent = dirname(whole);
  return realpath(whole).catch(async () => (parent === whole ? whole : join(await realPath(parent), basename(whole))));
}
