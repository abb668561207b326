import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import process from 'node:process';
import { addTo } from '../../base/groups.ts';
import { makeFolder } from '../../base/makeFolder.ts';
import { printableLines, printableValue } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';
import { positionsIn } from '../../mirror/coverage/manifestLines.ts';
import { replaceTextFile } from '../../mirror/json/textFile.ts';
import { printCommands } from '../render/print.ts';
import { byCause, type CiChange, type CiFinding, type CiReport } from './ciReport.ts';

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
    await replaceTextFile(file, format(printableReport(placed)));
  } catch (error) {
    throw new ReportUnwritable(file, error instanceof Error ? error.message : String(error), error);
  }
}

/** Returns the report as it may be shown: registries and images have named things in it. Messages keep their line breaks. */
function printableReport(report: CiReport): CiReport {
  const findings = report.findings.map(({ message, hint, ...finding }) => ({
    ...printableValue(finding),
    message: printableLines(message),
    ...(hint === undefined ? {} : { hint: printableLines(hint) }),
  }));
  return { ...printableValue(report), findings };
}

/** Adds to each finding about a plugin the line that names it in the manifest; without a readable manifest none. */
export async function withPositions(findings: readonly CiFinding[], manifest: string): Promise<CiFinding[]> {
  const text = await readFile(manifest, 'utf8').catch(() => '');
  const positionOf = await positionsIn(text);
  return findings.map(finding =>
    finding.line !== undefined || finding.name === undefined ? finding : { ...finding, ...positionOf(finding) },
  );
}

const HEADS: Readonly<Record<CiChange['kind'], string>> = {
  updated: 'Updated',
  added: 'Added',
  alias: 'Alias',
  removed: 'Removed',
  newer: 'Newer version',
};

/** For a pull request, an issue or the summary of a job: GitHub's Markdown. */
export function markdown({ title, changes, findings, subjects }: CiReport): string {
  const rows = changes.map(
    ({ kind, subject, from, to }) => `| ${HEADS[kind]} | ${cell(subject)} | ${digest(from)} | ${digest(to)} |`,
  );
  const errors = findings.filter(({ level }) => level === 'error').length;
  const counts = [
    `${subjects.length} looked at`,
    `${changes.length} ${changes.some(({ kind }) => kind === 'newer') ? 'newer' : 'changed'}`,
    ...(errors === 0 ? [] : [`${errors} failed`]),
  ];
  const lines = byCause(findings).map(({ finding, count }) => {
    const { level, code, subject, message, hint, line } = finding;
    const about = [
      ...(subject === undefined ? [] : [`**${cell(subject)}**`]),
      ...(line === undefined ? [] : [`line ${line}`]),
    ];
    const more = count > 1 ? ` (and ${count - 1} more)` : '';
    const advice = hint === undefined ? '' : `<br>→ ${cell(hint)}`;
    return `- ${level === 'error' ? '❌' : '⚠️'} \`${code}\` ${about.join(', ')}${more}: ${cell(message)}${advice}`;
  });
  return [
    `### ${title}`,
    '',
    counts.join(' · '),
    ...(rows.length === 0 ? [] : ['', '| | Plugin | From | To |', '|---|---|---|---|', ...rows]),
    ...(lines.length === 0 ? [] : ['', ...lines]),
    '',
  ].join('\n');
}

function digest(text: string | undefined): string {
  if (text === undefined) return '';
  return `\`${text.replace(/^(sha\d+:[0-9a-f]{12})[0-9a-f]+$/, '$1…')}\``;
}

/** Names and messages come from manifests and registries: nothing in them is markup. */
function cell(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replace(/[\\`*_[\]|#~@]/g, '\\$&')
    .replace(/\s*\n\s*/g, ' ');
}

/** JUnit's XML, as GitLab, Jenkins and others read it: a test case for each version, and one for each other error. */
export function junit({ title, subjects, findings }: CiReport): string {
  const cases = new Map<string, CiFinding[]>(subjects.map(name => [name, []]));
  for (const finding of findings) if (finding.level === 'error') addTo(cases, finding.subject ?? finding.code, finding);
  const lines = [...cases].map(([name, mine]) => {
    const open = `    <testcase classname="${xml(title)}" name="${xml(name)}"`;
    if (mine.length === 0) return `${open}/>`;
    const failures = mine.map(
      ({ code, message, hint }) =>
        `      <failure type="${xml(code)}" message="${xml(message)}">${xml([message, hint ?? ''].join('\n').trim())}</failure>`,
    );
    return `${open}>\n${failures.join('\n')}\n    </testcase>`;
  });
  const failed = [...cases.values()].filter(mine => mine.length > 0).length;
  const counts = `tests="${cases.size}" failures="${failed}" errors="0"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite name="${xml(title)}" ${counts}>`,
    ...lines,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function xml(text: string): string {
  const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replace(/[&<>"]/g, character => escapes[character] ?? '');
}

/** GitLab's code quality report (a subset of Code Climate's): each finding with its line in the manifest. */
export function codeQuality({ findings, manifest }: CiReport): string {
  const rows = findings.map(({ level, code, subject, message, line }) => {
    const description = `${subject === undefined ? '' : `${subject}: `}${message}`;
    const fingerprint = createHash('sha256')
      .update(JSON.stringify([code, subject, message]))
      .digest('hex');
    const severity = level === 'error' ? 'major' : 'minor';
    return {
      description,
      check_name: code,
      fingerprint,
      severity,
      location: { path: manifest, lines: { begin: line ?? 1 } },
    };
  });
  return `${JSON.stringify(rows, null, 2)}\n`;
}

/**
 * Workflow commands of GitHub Actions, which it shows at the lines of the manifest. GitHub shows ten of each kind for a step, so findings
 * of one cause are one.
 */
export function annotations({ findings, manifest }: CiReport): string {
  const lines = byCause(findings).map(({ finding, count }) => {
    const { level, code, subject, message, hint, line, column } = finding;
    const position = line === undefined ? [] : [`line=${line}`, ...(column === undefined ? [] : [`col=${column}`])];
    const title = [code, ...(subject === undefined ? [] : [subject]), ...(count > 1 ? [`and ${count - 1} more`] : [])];
    const properties = [`file=${property(manifest)}`, ...position, `title=${property(title.join(' '))}`];
    return `::${level} ${properties.join(',')}::${data([message, ...(hint === undefined ? [] : [hint])].join('\n'))}\n`;
  });
  return lines.join('');
}

function data(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function property(text: string): string {
  return data(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
