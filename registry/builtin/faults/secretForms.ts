/** A pattern of a whole token would be too large to run; and servers repeat parts of one, too. */
const PIECE = 64;

/**
 * Finds a secret in every form in which a server may repeat it: as it is, escaped in JSON (RFC 8259, 7; once or twice, as
 * `\u0026` as well), in XML and HTML, or in a URL; each of its characters in whatever form, since no two programs agree on
 * which of them need one. What is left of a letter outside ASCII that was read in the wrong charset counts as well. One
 * pattern for each piece of a long one; they may follow each other at once.
 */
export function secretPatterns(secret: string): RegExp[] {
  const forms = [...secret].map(formsOf);
  const pieces = Math.max(1, Math.floor(forms.length / PIECE));
  return Array.from({ length: pieces }, (_, at) => {
    const end = at === pieces - 1 ? undefined : (at + 1) * PIECE;
    return new RegExp(forms.slice(at * PIECE, end).join(''), 'g');
  });
}

/** Nobody escapes these. */
const PLAIN = /^[A-Za-z0-9_]$/;

const NAMED: Readonly<Record<string, string>> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot', "'": 'apos' };
const CONTROLS: Readonly<Record<string, string>> = { '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't' };

function formsOf(character: string): string {
  if (PLAIN.test(character)) return character;
  const bytes = Buffer.from(character, 'utf8');
  const isAscii = bytes.length === 1;
  const code = character.codePointAt(0) ?? 0;
  const named = NAMED[character];
  const control = CONTROLS[character];
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  const entities = [...(named === undefined ? [] : [named]), `#0*${code}`, `#[xX]0*${hex(code.toString(16))}`];
  const forms = [
    units.map(unit => `\\\\{1,4}u${hex(unit.toString(16).padStart(4, '0'))}`).join(''),
    ...(control === undefined ? [] : [`\\\\{1,4}${control}`]),
    `&(?:amp;)*(?:${entities.join('|')});`,
    [...bytes].map(byte => `%(?:25)*${hex(byte.toString(16).padStart(2, '0'))}`).join(''),
    ...(character === ' ' ? ['\\+'] : []),
    // A backslash is doubled by each escaping, other characters are given one or three.
    character === '\\' ? '\\\\{1,4}' : `\\\\{0,3}${literal(character)}`,
    ...(isAscii ? [] : [literal(bytes.toString('latin1')), `[\\ufffd?]{1,${bytes.length}}`]),
  ];
  return `(?:${forms.join('|')})`;
}

function hex(digits: string): string {
  return digits.replace(/[a-f]/g, digit => `[${digit}${digit.toUpperCase()}]`);
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
