/**
 * Every code of docs/errors.md, by its section and by the exit code of a command that ends with it; meaning and remedy stay
 * there. Takes that file's text.
 */
export function renderErrorTable(text: string): string {
  const rows = new Map<string, string[]>();
  let section = '';
  for (const line of text.split('\n')) {
    section = /^## (.+)/.exec(line)?.[1] ?? section;
    const [, code, exit] = /^\| (`[A-Z_]+`) \|.* \| (\S+) \|$/.exec(line) ?? [];
    if (code === undefined || exit === undefined) continue;
    const row = `[${section}](docs/errors.md#${anchorOf(section)}) | ${exit}`;
    rows.set(row, [...(rows.get(row) ?? []), code]);
  }
  const head = ['| Where | Exit | Error codes |', '|---|---|---|'];
  return [...head, ...[...rows].map(([row, codes]) => `| ${row} | ${codes.join(', ')} |`)].join('\n');
}

/** As GitHub and npm make them of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}
