import { createHash } from 'node:crypto';
import { byCause, type CiChange, type CiFinding, type CiReport } from './ciReport.ts';

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
  const errors = findings.filter(({ level }) => level === 'error');
  const names = [...new Set([...subjects, ...errors.map(nameOf)])];
  const cases = names.map(name => {
    const mine = errors.filter(error => nameOf(error) === name);
    const open = `    <testcase classname="${xml(title)}" name="${xml(name)}"`;
    if (mine.length === 0) return `${open}/>`;
    const failures = mine.map(
      ({ code, message, hint }) =>
        `      <failure type="${xml(code)}" message="${xml(message)}">${xml([message, hint ?? ''].join('\n').trim())}</failure>`,
    );
    return `${open}>\n${failures.join('\n')}\n    </testcase>`;
  });
  const failed = new Set(errors.map(nameOf)).size;
  const counts = `tests="${names.length}" failures="${failed}" errors="0"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite name="${xml(title)}" ${counts}>`,
    ...cases,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function nameOf({ subject, code }: CiFinding): string {
  return subject ?? code;
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
