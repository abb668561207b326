import type { InputProblem } from './pluginRequest.ts';

export interface Variable {
  readonly value: string;
  /** From 1. */
  readonly line: number;
  /** Placeholders of the value (`name`, `version`) that docker compose replaces by variables of that name, as nothing quotes them. */
  readonly replaced: readonly string[];
}

/** `compose`: docker compose reads the file, with its rules for quotes and `$`. `literal`: the output of `env`. */
export type EnvRules = 'compose' | 'literal';

const assignment = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*(?:=|:\s)\s*(.*)$/;

/** Reads `NAME=VALUE` lines. Under `literal` a value is all that follows the sign. */
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
    const read = rules === 'literal' ? { value: written, replaced: [] } : unquote(written);
    if (read === undefined)
      report({ source: { file, line }, found: `${name} with a quote that is not closed`, expected: 'NAME=VALUE' });
    else variables.set(name, { line, ...read });
  }
  return variables;
}

/**
 * As docker compose reads a value in an .env file: a single-quoted one as it is; `$$` is one `$` in the others, where
 * `${name}` is a variable and `\$` in double quotes is a `$` (compose-go, dotenv).
 */
function unquote(written: string): { readonly value: string; readonly replaced: readonly string[] } | undefined {
  const quote = written[0];
  if (quote !== "'" && quote !== '"') return expand(written.replace(/\s+#.*$/, '').trimEnd());
  const end = closing(written, quote);
  if (end < 0) return undefined;
  const inner = written.slice(1, end);
  return quote === "'"
    ? { value: inner, replaced: [] }
    : expand(inner.replace(/\\([\\"$])/g, (_, character: string) => (character === '$' ? '$$' : character)));
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
