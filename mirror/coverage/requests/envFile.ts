import type { InputProblem } from './pluginRequest.ts';

export interface Variable {
  readonly value: string;
  /** From 1. */
  readonly line: number;
  /** Placeholders of the value (`name`, `version`) that docker compose replaces by variables of that name, as nothing quotes them. */
  readonly replaced: readonly string[];
}

/**
 * `compose`: docker compose reads the file, with its rules for quotes and `$`. `shell`: a script, the output of `export -p`, or a
 * Dockerfile. `literal`: the output of `env`.
 */
export type EnvRules = 'compose' | 'shell' | 'literal';

/** Words in front of an assignment in a shell and in a Dockerfile. */
const declared = /^\s*(?:export|declare -x|readonly|ENV)\s+(?=[A-Za-z_])/;
const assignment = /^\s*(?:(?:export|declare -x|readonly|ENV)\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*(?:=|:\s)\s*(.*)$/;

/**
 * Reads `NAME=VALUE` lines. Under `literal` a value is all that follows the sign, but a line of a shell or a value in quotes shows
 * that a shell reads the file.
 */
export function readEnvFile(
  text: string,
  { file, rules, report }: { readonly file: string; readonly rules: EnvRules; report(problem: InputProblem): void },
): Map<string, Variable> {
  const variables = new Map<string, Variable>();
  for (const [index, row] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .entries()) {
    const line = index + 1;
    if (/^\s*(?:#.*)?$/.test(row)) continue;
    const [, name, written = ''] = assignment.exec(row) ?? [];
    // The further lines of a multi-line value.
    if (name === undefined) continue;
    const isShell =
      rules === 'shell' || (rules === 'literal' && (declared.test(row) || /^(['"]).*\1\s*$/.test(written)));
    const read = isShell
      ? unquoteShell(written)
      : rules === 'literal'
        ? { value: written, replaced: [] }
        : unquote(written);
    if (read === undefined)
      report({ source: { file, line }, found: `${name} with a quote that is not closed`, expected: 'NAME=VALUE' });
    else variables.set(name, { line, ...read });
  }
  return variables;
}

/**
 * Reads a value of an .env file as docker compose does: a single-quoted one as it is; `$$` is one `$` in the others, where
 * `${name}` is a variable and `\$` in double quotes is a `$` (compose-go, dotenv).
 */
function unquote(written: string): { readonly value: string; readonly replaced: readonly string[] } | undefined {
  const quote = written[0];
  if (quote !== "'" && quote !== '"') return expand(written.replace(/(?<=\S)\s+#.*$/, '').trimEnd());
  const end = closing(written, quote);
  if (end < 0) return undefined;
  const inner = written.slice(1, end);
  return quote === "'"
    ? { value: inner, replaced: [] }
    : expand(inner.replace(/\\([\\"$])/g, (_, character: string) => (character === '$' ? '$$' : character)));
}

/** Reads a word as a shell does: `$` begins a variable except in single quotes and after a backslash (POSIX, 2.2 Quoting). */
function unquoteShell(written: string): { readonly value: string; readonly replaced: readonly string[] } | undefined {
  const quote = written[0];
  if (quote === "'") {
    const end = closing(written, quote);
    return end < 0 ? undefined : { value: written.slice(1, end), replaced: [] };
  }
  const end = quote === '"' ? closing(written, quote) : written.search(/(?<!\\)[\s;]|$/);
  if (end < 0) return undefined;
  const word = quote === '"' ? written.slice(1, end) : written.slice(0, end);
  const escaped = quote === '"' ? /\\([\\"$`])/g : /\\(.)/g;
  const replaced = [...word.matchAll(/(?<!\\)\$\{(name|version)\}/g)].map(([, placeholder = '']) => placeholder);
  return { value: word.replace(escaped, '$1'), replaced };
}

function closing(text: string, quote: string): number {
  for (let at = 1; at < text.length; at += 1) {
    if (text[at] === '\\' && quote === '"') at += 1;
    else if (text[at] === quote) return at;
  }
  return -1;
}

/**
 * Replaces `$$` by `$`, as docker compose and Kubernetes do. A placeholder without that escape is kept and named in `replaced`:
 * docker compose would replace it by a variable, which breaks a pattern.
 */
export function expand(text: string): { readonly value: string; readonly replaced: readonly string[] } {
  const replaced: string[] = [];
  const value = text.replace(/\$\$|\$\{(name|version)\}/g, (match, placeholder: string | undefined) => {
    if (placeholder === undefined) return '$';
    replaced.push(placeholder);
    return match;
  });
  return { value, replaced };
}
