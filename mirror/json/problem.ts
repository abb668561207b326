import { plural } from '../../base/words.ts';

/** One mistake in a file that a user wrote. Its keys are printed by --format json. */
export interface Problem {
  /** The path in the document: `plugins.ai-proxy[1]`; empty for the document itself. */
  readonly place: string;
  readonly found: string;
  readonly expected: string;
  readonly hint?: string;
  /** Both count from 1; absent if the problem has no position in the text. */
  readonly line?: number;
  readonly column?: number;
}

export type Path = readonly (string | number)[];

/** Reading a document ends with so many mistakes: looking for similar names for each of a million would take minutes. */
export const MOST_PROBLEMS = 100;

/** A longer list would bury the first mistake, which often causes the others. */
const shownProblems = 50;
const shownLength = 100;

/** Formats a path: `plugins.ai-proxy[1]`, `plugins.basic-auth.aliases["1.0.0"]`. */
export function formatPath(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_$][\w$-]*$/.test(part)) text += text === '' ? part : `.${part}`;
    else text += `[${quoted(part)}]`;
  }
  return text;
}

/** Returns a user's text for a message: quoted, escaped, at most 100 characters, and without passwords. */
export function quoted(text: string): string {
  const shown = redacted(text.slice(0, 4 * shownLength));
  // JSON does not escape DEL, the C1 controls and the bidirectional overrides, which a terminal interprets.
  return JSON.stringify(
    shown.length > shownLength || text.length > 4 * shownLength ? `${shown.slice(0, shownLength)}…` : shown,
  ).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Returns `2 problems`. */
export function problemCount(problems: readonly Problem[]): string {
  return problems.length < MOST_PROBLEMS ? plural(problems.length, 'problem') : `${MOST_PROBLEMS} problems or more`;
}

/** Formats the problems as lines of a message. */
export function problemLines(problems: readonly Problem[]): string[] {
  const lines = problems.slice(0, shownProblems).flatMap(problem => {
    const spot = problem.line === undefined ? '' : `line ${problem.line}, column ${problem.column}`;
    const where = [problem.place, problem.place && spot ? `(${spot})` : spot].filter(Boolean).join(' ');
    const line = `${where === '' ? '' : `${where}: `}found ${problem.found}, expected ${problem.expected}`;
    return problem.hint === undefined ? [line] : [line, `  ${problem.hint}`];
  });
  if (problems.length > shownProblems) lines.push(`… and ${problems.length - shownProblems} more`);
  return lines;
}

function redacted(text: string): string {
  // `user:password@host`, but not `tag@sha256:…`; and query strings.
  return text
    .replace(/:\/\/\S*@(?!sha\d+:)/g, '://***@')
    .replace(/[^\s/]*:[^\s/]*@(?!sha\d+:)/g, match => (match.startsWith('://') ? match : '***@'))
    .replace(/(https?:[^\s?]*)\?\S*/g, '$1?…')
    .replace(/\?[^\s?]*=\S*/g, '?…');
}
