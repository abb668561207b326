import { type Check, either, exactObject, fitting, list, optional, record, text } from '../../base/shape.ts';

const filled = fitting(/./s, 'a text that is not empty');
const versions = list(text, 1);

const details = exactObject({
  versions,
  image: optional(filled),
  file: optional(filled),
  tags: optional(record(filled)),
  aliases: optional(record(text)),
});

const manifest: Check = exactObject({
  $schema: optional(text),
  registry: optional(text),
  plugins: record(either(text, versions, details)),
  mirrors: optional(record(list(text))),
});

/**
 * True only of what manifestSchema takes; false of what it does not, and of a manifest with signature policies. A list that is
 * in order shall not wait for the library's code; what is wrong with another, the schema says.
 */
export function isPlainlyFit(value: unknown): boolean {
  return manifest(value) === undefined;
}
