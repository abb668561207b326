import { type Pair, parseLines } from 'dot-properties';
import { LoopTurn } from '../../base/eventLoop.ts';
import { isDigest, parseReference } from '../../registry/reference.ts';
import { quoted } from '../json/problem.ts';
import { readTextFile } from '../json/textFile.ts';
import { MOST_VERSIONS } from '../manifest/plugins.ts';
import {
  collectManifest,
  type ImportedEntries,
  type ImportedEntry,
  type ImportNote,
  type WrittenManifest,
} from './collect.ts';
import { ImportInvalid, ImportUnreadable } from './errors.ts';
import { listFromJson } from './snapshot.ts';

export interface ImportedList {
  /** In the format of manifest.json; parsePluginManifest takes it. */
  readonly manifest: WrittenManifest;
  /** Entries that were left out, repeated or taken without a pin, each with its line. */
  readonly notes: readonly string[];
  /** The number of entries that could not be taken; each has its note. */
  readonly lost: number;
}

/** Ten thousand entries with digests have half of it. */
const maxSizeBytes = 4 * 1024 * 1024;

/**
 * Converts a list of Higress' plugin server (plugins.properties, its JSON snapshot or its unmanaged lock) to a manifest.
 * Digests are kept as pins. @throws ImportInvalid
 */
export async function importList(text: string, { file }: { readonly file: string }): Promise<ImportedList> {
  const list = /^\ufeff?\s*[[{]/.test(text) ? await listFromJson(text, file) : await listFromProperties(text, file);
  requireFewEntries(list.entries.length, file);
  const collected = collectManifest(list.entries);
  const notes = [...list.notes, ...collected.notes]
    .sort((one, other) => one.line - other.line)
    .map(note => (note.line > 0 ? `line ${note.line}: ${note.text}` : note.text));
  if (collected.manifest === undefined)
    throw new ImportInvalid(
      file,
      notes.length === 0
        ? [{ place: '', found: 'no entry', expected: 'lines of NAME=REFERENCE, or JSON with a list of plugins' }]
        : [...list.notes, ...collected.notes].map(note => ({
            place: '',
            found: note.text,
            expected: 'an image with a tag or a digest',
            ...(note.line > 0 ? { line: note.line, column: 1 } : {}),
          })),
      'None of its entries could be taken.',
    );
  return { manifest: collected.manifest, notes, lost: list.lost + collected.lost };
}

/** Reads a file and converts it with importList. @throws ImportUnreadable, ImportInvalid */
export async function readList(path: string): Promise<ImportedList> {
  const read = await readTextFile(path, maxSizeBytes);
  if ('text' in read) return importList(read.text, { file: path });
  if (read.kind === 'missing') throw new ImportUnreadable(path, 'no such file', read.cause);
  if (read.kind === 'unreadable') throw new ImportUnreadable(path, read.found, read.cause);
  throw new ImportUnreadable(path, read.kind === 'too large' ? 'more than 4 MiB' : read.found);
}

/**
 * Reads `name=oci://registry/repository:tag` lines (java.util.Properties: `=`, `:` or a space between, comments with `#`
 * or `!`, lines continued with a backslash). Unlike in a Properties object, a repeated name keeps all its values.
 */
async function listFromProperties(source: string, file: string): Promise<ImportedEntries> {
  const turn = new LoopTurn();
  const text = source.replace(/^\ufeff/, '');
  const entries: ImportedEntry[] = [];
  const notes: ImportNote[] = [];
  let lost = 0;
  let [line, at] = [1, 0];
  for (const node of parseLines(text, true)) {
    if (node.type !== 'PAIR') continue;
    const { key, value } = node as Pair;
    await turn.rest();
    line += text.slice(at, node.range[0]).split(/\r\n|\r|\n/).length - 1;
    at = node.range[0];
    requireFewEntries(entries.length + lost, file);
    const name = key.trim();
    try {
      entries.push(...entriesOf(name, value.trim(), line));
    } catch (error) {
      lost++;
      const found = value.trim() === '' ? 'no image' : quoted(value.trim());
      const expected = error instanceof Error && 'expected' in error ? String(error.expected) : 'an image';
      notes.push({ line, text: `${quoted(name)} was not taken: found ${found}, expected ${expected}` });
    }
  }
  return { entries, notes, lost };
}

/** Notes about more lines would help nobody. @throws ImportInvalid */
function requireFewEntries(count: number, file: string): void {
  if (count > MOST_VERSIONS)
    throw new ImportInvalid(file, [
      { place: '', found: `more than ${MOST_VERSIONS} entries`, expected: `at most ${MOST_VERSIONS}, as a manifest` },
    ]);
}

/** @throws ReferenceInvalid */
function entriesOf(name: string, image: string, line: number): ImportedEntry[] {
  const reference = parseReference(image);
  const { tag, digest } = reference;
  if (tag === undefined) return [{ name, version: digest ?? '', reference, line }];
  if (digest === undefined || !isDigest(digest)) return [{ name, version: tag, reference, line }];
  // Higress publishes this under the digest, but users look for the tag: both paths have the same bytes.
  return [{ name, version: tag, reference, line, alias: digest }];
}
