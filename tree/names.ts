import { TreeNameUnfit } from './errors.ts';

export const MODULE_FILE = 'plugin.wasm';
export const METADATA_FILE = 'metadata.json';
/** The metadata file of the official plugin server, with its line names. */
export const METADATA_TEXT_FILE = 'metadata.txt';
export const CHECKSUM_FILE = 'plugin.wasm.sha256';
export const CATALOG_FILE = 'index.json';
/** What Higress' acceptance of a plugin server fetches: name → version, digest, wasmSha256. */
export const INVENTORY_FILE = 'snapshot-inventory.json';
/** Names within the tree that are this program's while a run lasts. */
export const LOCK_FILE = '.lock';
export const STAGING_FOLDER = '.staging';

/** The files of every version that are made here; nothing from an image may take their names. */
export const OWN_FILES: readonly string[] = [MODULE_FILE, METADATA_FILE, METADATA_TEXT_FILE, CHECKSUM_FILE];

const MAX_LENGTH = 128;

/**
 * Why a text cannot be a plugin's name, in words that follow it ("is empty"); undefined if it can. What is allowed
 * needs no escape in a URL's path (RFC 3986, 3.3), in a shell or on any file system of Linux and macOS.
 */
export function nameProblem(name: string): string | undefined {
  const lower = name.toLowerCase();
  if (lower === CATALOG_FILE || lower === INVENTORY_FILE) return 'is the name of a file that stands in the tree itself';
  return partProblem(name, '');
}

/** As nameProblem, for a version. ":" is allowed here, for lists that have a digest (`sha256:…`) for a version. */
export function versionProblem(version: string): string | undefined {
  return partProblem(version, ':');
}

/** As nameProblem, for a file that an image brings along (spec.yaml, README.md, icon.png). */
export function fileNameProblem(file: string): string | undefined {
  if (OWN_FILES.includes(file.toLowerCase())) return 'is the name of a file that is made here';
  return partProblem(file, '');
}

/** `<name>/<version>/plugin.wasm`, below the tree, with "/" on every system. @throws TreeNameUnfit */
export function modulePath(name: string, version: string): string {
  requireFit(name, version);
  return `${name}/${version}/${MODULE_FILE}`;
}

/** @throws TreeNameUnfit */
export function requireFit(name: string, version: string): void {
  refuse('plugin name', name, nameProblem(name));
  refuse('version', version, versionProblem(version));
}

/** @throws TreeNameUnfit */
export function requireFitFile(file: string): void {
  refuse('file name', file, fileNameProblem(file));
}

function refuse(what: string, text: string, problem: string | undefined): void {
  if (problem === undefined) return;
  const shown = JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
  throw new TreeNameUnfit(`The ${what} ${shown} ${problem}`, {
    subject: shown,
    expected: 'at most 128 letters, digits and . _ ~ + @ -, no dot in front',
    found: shown,
    hint: 'Give it another name in the manifest.',
  });
}

function partProblem(part: string, alsoAllowed: string): string | undefined {
  if (part === '') return 'is empty';
  if (part === '.' || part === '..') return 'is a path, not a name';
  if (part.length > MAX_LENGTH) return `is longer than ${MAX_LENGTH} characters`;
  if (part.startsWith('.')) return 'begins with a dot';
  for (const character of part) {
    if (/[A-Za-z0-9._~+@-]/.test(character) || alsoAllowed.includes(character)) continue;
    return characterProblem(character);
  }
  return undefined;
}

function characterProblem(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (character === '/' || character === '\\') return `holds a ${character === '/' ? 'slash' : 'backslash'}`;
  if (character === '%') return 'holds a "%", which URLs use for escapes';
  if (code < 0x20 || code === 0x7f) return `holds a control character (${codePoint(code)})`;
  if (/\s/u.test(character)) return 'holds white space';
  if (code > 0x7e) return `holds a character that is not ASCII (${codePoint(code)})`;
  return `holds "${character}", which not every URL, shell or file system takes`;
}

function codePoint(code: number): string {
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}
