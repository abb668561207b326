/**
 * Text from outside (registries, images, files, clients, the command line) for a terminal or a log. Such text must not move a
 * cursor, hide or reorder what is next to it, begin a line of its own, or be a command to the CI service that reads the log.
 * Everything that a user reads passes through here, once, when it is printed.
 */

/** A longer text says nothing more to a reader. JSON keeps more, since a program may need all of it. */
const MOST_CHARACTERS = 2000;
const MOST_IN_JSON = 65_536;

/** Control and format characters (C0, C1, bidirectional, zero-width, tags), line separators, halves of surrogate pairs. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const UNSAFE_BUT_BREAKS = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** As GitHub reads commands: `::error::` at the start of a line; `##[error]`, `##vso[…]` and `##teamcity[…]` anywhere. */
const COMMAND_LINE = /^([^\S\n]*):(?=:)/gm;
const COMMAND = /##(?=\w{0,20}\[)/g;
/** The codes of picocolors: bold, dim, underline and colours, but nothing that hides text. */
const COLOR = /\u001b\[(?:0|1|2|4|22|24|3[1-9]|90)m/;

/** Most text: ASCII without what any pattern above looks for. */
const PLAIN = /^(?!\s*::)(?:[ -"$-~]|#(?!#))*$/;

/** Returns text as one line of at most `length` characters: what cannot be printed is escaped (`\n`, `\x1b`, `\u202e`). */
export function printable(text: string, length = MOST_CHARACTERS): string {
  const shown = text.length > length ? text.slice(0, length) : text;
  if (shown === text && PLAIN.test(text)) return text;
  const safe = withoutCommands(shown.replace(UNSAFE, escaped));
  return safe.length > length || shown !== text ? `${safe.slice(0, length - 1)}…` : safe;
}

/** Returns text as one line of at most `length` characters: what cannot be printed is a space, and spaces are single. */
export function shortLine(text: string, length: number): string {
  const clean = text
    .slice(0, length * 4)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return clean.length > length ? `${clean.slice(0, length - 1)}…` : clean;
}

/** Returns a whole output with its own line breaks and, if `color` is true, its own colours. Everything else is escaped. */
export function printableLines(text: string, color = false): string {
  const parts = color ? text.split(new RegExp(`(${COLOR.source})`)) : [text];
  // Every second part is a colour.
  const safe = parts.map((part, at) => (at % 2 === 1 ? part : part.replace(UNSAFE_BUT_BREAKS, escaped)));
  return withoutCommands(safe.join(''));
}

/** Returns a copy of a report with every text printable: of objects, lists, maps and errors. */
export function printableValue<T>(value: T): T {
  return copyOf(value) as T;
}

/**
 * Returns JSON in ASCII where a terminal or a CI service would act on the characters themselves. A parser gets them back
 * unchanged; only a text of more than 65,536 characters is cut.
 */
export function printableJson(value: unknown, indent = 2): string {
  return printableJsonText(
    JSON.stringify(value, (_key, member) => (typeof member === 'string' ? cut(member) : member), indent),
  );
}

/** Returns a JSON text with the same values, printable as printableJson makes it. */
export function printableJsonText(text: string): string {
  return text.replace(UNSAFE_BUT_BREAKS, escapedInJson).replace(COMMAND, '\\u0023#');
}

function copyOf(value: unknown): unknown {
  if (typeof value === 'string') return printable(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOf);
  if (value instanceof Map) return new Map([...value].map(([key, member]) => [copyOf(key), copyOf(member)]));
  if (value instanceof Error) return copyOfError(value);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [printable(key), copyOf(member)]));
}

/** The copy has the class of the error, and its stack and cause, which are printed with printableLines only. */
function copyOfError(error: Error): Error {
  const copy: Error = Object.create(Object.getPrototypeOf(error));
  for (const key of Object.keys(error)) Reflect.set(copy, key, copyOf(Reflect.get(error, key)));
  const { headline = error.message, lines = [] } = copy as { headline?: string; lines?: readonly string[] };
  // Not enumerable, as in the error itself.
  Object.defineProperties(copy, {
    message: { value: messageOf(printable(headline), lines) },
    stack: { get: () => error.stack },
    ...('cause' in error ? { cause: { value: error.cause } } : {}),
  });
  return copy;
}

/** Returns a message of several lines, the further ones indented. */
export function messageOf(headline: string, lines: readonly string[]): string {
  return [headline, ...lines.map(line => `  ${line}`)].join('\n');
}

function withoutCommands(text: string): string {
  return text.replace(COMMAND_LINE, '$1: ').replace(COMMAND, '# #');
}

function cut(text: string): string {
  return text.length > MOST_IN_JSON ? `${text.slice(0, MOST_IN_JSON)}…` : text;
}

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  if (code < 0x100) return SHORT[character] ?? `\\x${hex.padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${hex}` : `\\u{${hex}}`;
}

/** Escapes each UTF-16 unit separately: JSON has no longer escapes. */
function escapedInJson(character: string): string {
  return character.replace(/[\s\S]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
