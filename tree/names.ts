import { TreeNameUnfit } from './errors.ts';

/** A version of a plugin, by its two names. */
export interface VersionId {
  readonly name: string;
  readonly version: string;
}

export const MODULE_FILE = 'plugin.wasm';
export const METADATA_FILE = 'metadata.json';
/** The metadata file of Higress' own plugin server, with its line names. */
export const METADATA_TEXT_FILE = 'metadata.txt';
export const CHECKSUM_FILE = 'plugin.wasm.sha256';
export const CATALOG_FILE = 'index.json';
/** Fetched by Higress' acceptance test of a plugin server: name → version, digest, wasmSha256. */
export const INVENTORY_FILE = 'snapshot-inventory.json';
/** These two exist in a tree while a run writes to it. */
export const WRITER_LOCK_FILE = '.lock';
export const STAGING_FOLDER = '.staging';

/** The files that sync makes for every version. A file of an image may not have one of these names. */
export const OWN_FILES: readonly string[] = [MODULE_FILE, METADATA_FILE, METADATA_TEXT_FILE, CHECKSUM_FILE];

const MAX_LENGTH = 128;

/**
 * Why a text cannot be a plugin's name, as a predicate ("is empty"); undefined if it can. Every allowed character is valid
 * without an escape in a URL's path (RFC 3986, section 3.3), in a shell, and on the file systems of Linux and macOS.
 */
export function nameProblem(name: string): string | undefined {
  const lower = name.toLowerCase();
  if (lower === CATALOG_FILE || lower === INVENTORY_FILE) return 'is the name of a file of the tree itself';
  if (isVolumeEntry(name)) return 'is a name that file systems use themselves';
  return partProblem(name, '');
}

/**
 * Whether a file or folder belongs to the volume, not to the tree: `lost+found` is in the root of every ext file system, and only
 * root may read it. The others are of quotas, Windows, Synology, QNAP and NetApp. No plugin may have such a name.
 */
export function isVolumeEntry(entry: string): boolean {
  return VOLUME_ENTRIES.has(entry.toLowerCase());
}

const VOLUME_ENTRIES: ReadonlySet<string> = new Set([
  'lost+found',
  'aquota.user',
  'aquota.group',
  'quota.user',
  'quota.group',
  'system volume information',
  '$recycle.bin',
  'thumbs.db',
  'desktop.ini',
  '@eadir',
  '#recycle',
  '#snapshot',
  '@recycle',
  '@recently-snapshot',
  '~snapshot',
]);

/** As nameProblem, for a version. ":" is allowed as well, because upstream's lists use digests (`sha256:…`) as versions. */
export function versionProblem(version: string): string | undefined {
  return partProblem(version, ':');
}

/** As nameProblem, for a further file of an image (spec.yaml, README.md, icon.png). */
export function fileNameProblem(file: string): string | undefined {
  if (OWN_FILES.includes(file.toLowerCase())) return 'is the name of a file that sync makes';
  return partProblem(file, '');
}

/** `<name>/<version>/plugin.wasm`, below the tree, with "/" on every system. @throws TreeNameUnfit */
export function modulePath(name: string, version: string): string {
  requireFit(name, version);
  return `${name}/${version}/${MODULE_FILE}`;
}

/** Returns a name for a version's Kubernetes resource (RFC 1123): lower-case letters, digits, "-" and "." between them, at most 253. */
export function resourceName(name: string, version: string): string {
  return `${name}-${version}`
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/\.(?![a-z0-9])|(?<![a-z0-9])\./g, '-')
    .slice(0, 253)
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
}

/** @throws TreeNameUnfit */
export function requireFit(name: string, version: string): void {
  requireNoProblem('plugin name', name, nameProblem(name));
  requireNoProblem('version', version, versionProblem(version));
}

/** @throws TreeNameUnfit */
export function requireFitFile(file: string): void {
  requireNoProblem('file name', file, fileNameProblem(file));
}

function requireNoProblem(what: string, text: string, problem: string | undefined): void {
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
  if (character === '/' || character === '\\') return `contains a ${character === '/' ? 'slash' : 'backslash'}`;
  if (character === '%') return 'contains a "%", which URLs use for escapes';
  if (code < 0x20 || code === 0x7f) return `contains a control character (${codePoint(code)})`;
  if (/\s/u.test(character)) return 'contains white space';
  if (code > 0x7e) return `contains a character that is not ASCII (${codePoint(code)})`;
  return `contains "${character}", which not every URL, shell or file system accepts`;
}

function codePoint(code: number): string {
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}
