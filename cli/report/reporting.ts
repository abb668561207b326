import process from 'node:process';
import type { CiReport } from './ciReport.ts';

export interface Reporting {
  /** `sync`, `check` or `outdated`. */
  readonly command: string;
  /** The manifest as the user named it. */
  readonly manifest: string;
  /** The file of `--report`, if there is one. */
  readonly file: string | undefined;
}

/**
 * Runs a command and then writes its report for CI: the file of `--report`, and annotations if GitHub Actions runs it. `work` passes its
 * report to `collect`; a run that throws before that is reported by its error.
 * @throws what `work` throws, and ReportUnwritable
 */
export async function withReport(
  { command, manifest, file }: Reporting,
  work: (collect: (report: () => Promise<CiReport>) => void) => Promise<number>,
): Promise<number> {
  const isGithub = process.env.GITHUB_ACTIONS === 'true';
  if (file === undefined && !isGithub) return work(() => undefined);
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
