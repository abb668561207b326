import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import process from 'node:process';
import { OptionConflict } from '../options/errors.ts';
import type { CiReport } from './ciReport.ts';

export interface Reporting {
  /** `sync`, `check` or `outdated`. */
  readonly command: string;
  /** The manifest as the user named it. */
  readonly manifest: string;
  /** The file of `--report`, if there is one. */
  readonly file: string | undefined;
  /** The tree's folder. */
  readonly tree: string;
  /** The lockfile of `--lock`; undefined: the one next to the manifest; false: none. */
  readonly lock: string | false | undefined;
}

/**
 * Runs a command and then writes its report for CI: the file of `--report`, and annotations if GitHub Actions runs it. `work` passes its
 * report to `collect`; a run that throws before that is reported by its error.
 * @throws what `work` throws, and ReportUnwritable; OptionConflict if the report would replace what the command works with
 */
export async function withReport(
  { command, manifest, file, ...used }: Reporting,
  work: (collect: (report: () => Promise<CiReport>) => void) => Promise<number>,
): Promise<number> {
  const isGithub = process.env.GITHUB_ACTIONS === 'true';
  if (file === undefined && !isGithub) return work(() => undefined);
  if (file !== undefined) await requireOwnFile(file, { manifest, ...used });
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
async function requireOwnFile(
  file: string,
  { manifest, tree, lock }: Pick<Reporting, 'manifest' | 'tree' | 'lock'>,
): Promise<void> {
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
