/** One thing that is wrong in a file that a user wrote. */
export interface Problem {
  /** Where, as a path into the document: `plugins.ai-proxy[1]`; empty for the document itself. */
  readonly place: string;
  readonly found: string;
  /** What is allowed there. */
  readonly expected: string;
  readonly hint?: string;
  /** Both from 1; absent when the problem is not at one spot of the text. */
  readonly line?: number;
  readonly column?: number;
}

export type Path = readonly (string | number)[];

/** More than this and the list buries the first mistake, which often is the cause of the others. */
const shownProblems = 50;
const shownLength = 100;

/** `plugins.ai-proxy[1]`, `plugins.basic-auth.aliases["1.0.0"]`. */
export function formatPlace(path: Path): string {
  let place = '';
  for (const part of path) {
    if (typeof part === 'number') place += `[${part}]`;
    else if (/^[A-Za-z_$][\w$-]*$/.test(part)) place += place === '' ? part : `.${part}`;
    else place += `[${quoted(part)}]`;
  }
  return place;
}

/** A text of the user's as a message shows it: in quotes, escaped, not endless, and without a password. */
export function quoted(text: string): string {
  const shown = redacted(text.slice(0, 4 * shownLength));
  // JSON leaves DEL, the C1 controls and the bidirectional overrides as they are; a terminal does not.
  return JSON.stringify(
    shown.length > shownLength || text.length > 4 * shownLength ? `${shown.slice(0, shownLength)}…` : shown,
  ).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The problems as lines for people, indented by two. */
export function formatProblems(problems: readonly Problem[]): string {
  const lines = problems.slice(0, shownProblems).map(problem => {
    const spot = problem.line === undefined ? '' : `line ${problem.line}, column ${problem.column}`;
    const where = [problem.place, problem.place && spot ? `(${spot})` : spot].filter(Boolean).join(' ');
    const hint = problem.hint === undefined ? '' : `\n    ${problem.hint}`;
    return `  ${where === '' ? '' : `${where}: `}found ${problem.found}, expected ${problem.expected}${hint}`;
  });
  if (problems.length > shownProblems) lines.push(`  … and ${problems.length - shownProblems} more`);
  return lines.join('\n');
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function redacted(text: string): string {
  // `user:password@host`, but not `tag@sha256:…`; and whatever a query string carries.
  return text
    .replace(/:\/\/\S*@(?!sha\d+:)/g, '://***@')
    .replace(/[^\s/]*:[^\s/]*@(?!sha\d+:)/g, match => (match.startsWith('://') ? match : '***@'))
    .replace(/(https?:[^\s?]*)\?\S*/g, '$1?…')
    .replace(/\?[^\s?]*=\S*/g, '?…');
}
