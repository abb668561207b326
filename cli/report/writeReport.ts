import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import process from 'node:process';
import { makeFolder } from '../../base/makeFolder.ts';
import { printableValue } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';
import { positionOf } from '../../mirror/coverage/manifestLines.ts';
import { replaceTextFile } from '../../mirror/json/textFile.ts';
import { printCommands } from '../render/print.ts';
import type { CiFinding, CiReport } from './ciReport.ts';
import { annotations, codeQuality, junit, markdown } from './formats.ts';

export class ReportUnwritable extends Refusal {
  readonly code = 'REPORT_UNWRITABLE';

  constructor(file: string, found: string, cause: unknown) {
    super(`The report ${file} cannot be written: ${found}`, {
      subject: file,
      expected: 'a file in a folder that the user who runs this may write to',
      found,
      hint: 'Name another file with --report FILE. The run itself is done.',
      cause,
    });
  }
}

export interface ReportOptions {
  readonly file: string | undefined;
  /** Print workflow commands of GitHub Actions on stderr. */
  readonly annotate: boolean;
  /** The checkout to which GitHub and GitLab relate paths; default: the current folder. */
  readonly workspace: string | undefined;
}

/** Writes the report in the format of the file's extension. @throws ReportUnwritable */
export async function writeReport(report: CiReport, { file, annotate, workspace }: ReportOptions): Promise<void> {
  const findings = await withPositions(report.findings, report.manifest);
  const path = relative(workspace ?? process.cwd(), resolve(report.manifest));
  // A manifest outside of the checkout has no line there.
  const manifest = path.startsWith('..') || isAbsolute(path) ? report.manifest : path.replaceAll('\\', '/');
  const placed = { ...report, findings, manifest };
  if (annotate) printCommands(annotations(printableValue(placed)));
  if (file === undefined) return;
  const format = file.endsWith('.md') ? markdown : file.endsWith('.xml') ? junit : codeQuality;
  try {
    await makeFolder(dirname(resolve(file)));
    await replaceTextFile(file, format(placed));
  } catch (error) {
    throw new ReportUnwritable(file, error instanceof Error ? error.message : String(error), error);
  }
}

/** Adds to each finding about a plugin the line that names it in the manifest; without a readable manifest none. */
export async function withPositions(findings: readonly CiFinding[], manifest: string): Promise<CiFinding[]> {
  const text = await readFile(manifest, 'utf8').catch(() => '');
  return findings.map(finding => {
    const { name, version, line } = finding;
    if (line !== undefined || name === undefined) return finding;
    return { ...finding, ...positionOf(text, name, version) };
  });
}
