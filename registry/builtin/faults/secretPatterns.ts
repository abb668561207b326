/** A pattern of a whole token would be too large to run, and servers repeat parts of tokens, too. */
const PIECE = 64;

/**
 * Returns patterns that find a secret in every form in which a server may repeat it: as it is, escaped in JSON (RFC 8259,
 * section 7; once or twice, also as `\u0026`), in XML and HTML, or in a URL. Each character may have any form, because
 * programs differ in which characters they escape. Letters outside ASCII may also have been decoded with the wrong charset. A
 * secret longer than 64 characters gets a pattern for each piece. Each pattern reads any text in linear time: what may match
 * in several ways, backslashes and replacement characters, is counted for a whole run of characters.
 */
export function secretPatterns(secret: string): RegExp[] {
  const characters = [...secret];
  const pieces = Math.max(1, Math.floor(characters.length / PIECE));
  return Array.from({ length: pieces }, (_, at) => {
    const end = at === pieces - 1 ? undefined : (at + 1) * PIECE;
    return new RegExp(
      runsOf(characters.slice(at * PIECE, end))
        .map(formsOfRun)
        .join(''),
      'g',
    );
  });
}

/** Splits characters so that backslashes next to each other are one run, and letters outside ASCII, too. */
function runsOf(characters: readonly string[]): string[] {
  const runs: string[] = [];
  for (const character of characters) {
    const last = runs.at(-1) ?? '';
    const joins = isWide(character) ? isWide(last) : character === '\\' && last.startsWith('\\');
    if (joins) runs[runs.length - 1] = last + character;
    else runs.push(character);
  }
  return runs;
}

const isWide = (text: string): boolean => (text.codePointAt(0) ?? 0) > 0x7f;

function formsOfRun(run: string): string {
  if (run.startsWith('\\'))
    return `(?:\\\\|u005[cC]|%(?:25)*5[cC]|&(?:amp;)*#(?:0*92|[xX]0*5[cC]);){${run.length},${MOST_ESCAPES * run.length}}`;
  if (!isWide(run)) return formsOf(run);
  const characters = [...run];
  const wrongly = `[\\ufffd?]{${characters.length},${Buffer.byteLength(run, 'utf8')}}`;
  return `(?:${characters.map(formsOf).join('')}|${wrongly})`;
}

/** Characters of `\\\\u005c`, the longest form of a backslash that two escapings make, with one to spare. */
const MOST_ESCAPES = 7;

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
    // Each escaping adds one backslash or three.
    `\\\\{0,3}${literal(character)}`,
    ...(isAscii ? [] : [literal(bytes.toString('latin1'))]),
  ];
  return `(?:${forms.join('|')})`;
}

function hex(digits: string): string {
  return digits.replace(/[a-f]/g, digit => `[${digit}${digit.toUpperCase()}]`);
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
