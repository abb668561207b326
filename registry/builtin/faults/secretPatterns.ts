/** A pattern of a whole token would be too large to run, and servers repeat parts of tokens, too. */
const PIECE = 64;

/**
 * Returns patterns that find a secret in every form in which a server may repeat it: as it is, escaped in JSON (RFC 8259,
 * section 7; once or twice, also as `\u0026`), in XML and HTML, or in a URL. Each character may have any form, because
 * programs differ in which characters they escape. A letter outside ASCII may also have been decoded with the wrong
 * charset. A secret longer than 64 characters gets a pattern for each piece.
 */
export function secretPatterns(secret: string): RegExp[] {
  const forms = [...secret].map(formsOf);
  const pieces = Math.max(1, Math.floor(forms.length / PIECE));
  return Array.from({ length: pieces }, (_, at) => {
    const end = at === pieces - 1 ? undefined : (at + 1) * PIECE;
    return new RegExp(forms.slice(at * PIECE, end).join(''), 'g');
  });
}

/** No program escapes these. */
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
    // Each escaping doubles a backslash; other characters get one or three of them.
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
