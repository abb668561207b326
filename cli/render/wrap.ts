import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';

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
