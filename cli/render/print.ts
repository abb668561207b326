import process from 'node:process';
import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import { printable, printableJson, printableJsonText, printableLines } from '../../base/printable.ts';
import type { RegistryEvent } from '../../registry/registry.ts';

// All output of the command line goes through these functions. They keep line breaks and colours; text from outside has to
// pass through printable or printableValue before it becomes a part of a line.

/** Prints lines on stdout. */
export function print(text: string): void {
  printTo(process.stdout, text);
}

/** Prints lines for people, which are broken between words on a terminal. Not for anything that is copied or parsed. */
export function printText(text: string, stream: WriteStream = process.stdout): void {
  stream.write(wrapFor(stream, printableLines(text, wantsColor(stream))));
}

/** Prints lines for people on stderr, which are broken between words on a terminal. */
export function printError(text: string): void {
  printText(text, process.stderr);
}

/** Prints a line of JSON on stderr. */
export function printLogLine(value: unknown): void {
  printTo(process.stderr, `${printableJson(value, 0)}\n`);
}

export function printTo(stream: WriteStream, text: string): void {
  stream.write(printableLines(text, wantsColor(stream)));
}

/** Prints workflow commands of GitHub Actions on stderr, as they are. Their values must have been escaped for them. */
export function printCommands(text: string): void {
  process.stderr.write(text);
}

/** Prints a value as JSON on stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${printableJson(value)}\n`);
}

/** Prints a JSON document on stdout as it is laid out. */
export function printJsonText(text: string): void {
  process.stdout.write(printableJsonText(text));
}

/** Returns a listener that prints each warning of a registry once, on stderr. */
export function warningPrinter(): (event: { readonly type: string }) => void {
  const printed = new Set<string>();
  return event => {
    if (!isWarning(event)) return;
    const line = printable(`warning: ${event.subject}: ${event.message}`);
    if (printed.has(line)) return;
    printed.add(line);
    printError(`${line}\n`);
  };
}

type Warning = Extract<RegistryEvent, { type: 'warning' }>;

function isWarning(event: { readonly type: string }): event is Warning {
  return event.type === 'warning';
}

/**
 * Returns whether a stream gets colours. NO_COLOR (no-color.org: set and not empty) turns them off, then FORCE_COLOR decides;
 * without either, a terminal gets them unless TERM is `dumb`.
 */
export function wantsColor(stream: WriteStream, env: NodeJS.ProcessEnv = process.env): boolean {
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false;
  const forced = env.FORCE_COLOR;
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false';
  return stream.isTTY === true && env.TERM !== 'dumb';
}

/** Of the further rows of a line, after its own indentation. */
const INDENT = 2;

/** `→ plugin-mirror serve --tree DIR`, `→ check it with: sha256sum -c FILE`. */
const COMMAND = /^\s*→ (?:[^:.]{1,40}: )?(?:plugin-mirror|sha256sum|tar|docker|node) .*[^.?!:]$/;

/** Breaks the lines of a text for people at the width of a terminal. A file or a pipe gets it as it is. */
export function wrapFor(stream: Pick<WriteStream, 'isTTY' | 'columns'>, text: string): string {
  return stream.isTTY ? wrapLines(text, stream.columns) : text;
}

/**
 * Breaks lines between words, so that none of their parts is wider than `columns`, and indents what follows. A line that
 * is a command to copy is left to the terminal, which joins it again in the clipboard.
 */
export function wrapLines(text: string, columns: number | undefined): string {
  if (columns === undefined || columns <= 0) return text;
  return text
    .split('\n')
    .map(line => wrapLine(line, columns))
    .join('\n');
}

function wrapLine(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  if (plain.length <= columns || COMMAND.test(plain)) return line;
  const indent = ' '.repeat((/^ */.exec(plain)?.[0].length ?? 0) + INDENT);
  const rows: string[] = [];
  for (const word of line.trimStart().split(' ')) {
    const row = rows.at(-1);
    const longer = row === undefined ? `${indent.slice(INDENT)}${word}` : `${row} ${word}`;
    const isNew = row === undefined || stripVTControlCharacters(longer).length > columns;
    if (!isNew) rows[rows.length - 1] = longer;
    else if (row === undefined) rows.push(longer);
    else if (word !== '') rows.push(`${indent}${word}`);
  }
  return rows.map(row => row.trimEnd()).join('\n');
}
