import { type Pair, parseLines } from 'dot-properties';
import { isDigest, parseReference } from '../../registry/reference.ts';
import { quoted } from '../json/problem.ts';
import type { ImportedEntries, ImportedEntry, ImportNote } from './collect.ts';

/**
 * Reads `name=oci://registry/repository:tag` lines (java.util.Properties: `=`, `:` or a space between, comments with `#`
 * or `!`, lines continued with a backslash). Unlike in a Properties object, a repeated name keeps all its values.
 */
export function listFromProperties(source: string): ImportedEntries {
  const text = source.replace(/^\ufeff/, '');
  const entries: ImportedEntry[] = [];
  const notes: ImportNote[] = [];
  let lost = 0;
  for (const node of parseLines(text, true)) {
    if (node.type !== 'PAIR') continue;
    const { key, value } = node as Pair;
    const line = text.slice(0, node.range[0]).split(/\r\n|\r|\n/).length;
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

/** @throws ReferenceInvalid */
function entriesOf(name: string, image: string, line: number): ImportedEntry[] {
  const reference = parseReference(image);
  const { tag, digest } = reference;
  if (tag === undefined) return [{ name, version: digest ?? '', reference, line }];
  if (digest === undefined || !isDigest(digest)) return [{ name, version: tag, reference, line }];
  // Higress publishes this under the digest, but users look for the tag: both paths have the same bytes.
  return [{ name, version: tag, reference, line, alias: digest }];
}
