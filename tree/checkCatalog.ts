import { type Check, list, nullable, object, only, optional, sha256, size, text, yesOrNo } from './shape.ts';

/** What is wrong with a value that is to be a catalog of schemaVersion 1: where, and what; undefined if nothing is. */
export function catalogProblem(value: unknown): string | undefined {
  return catalog(value);
}

const version = object({
  version: text,
  aliasOf: optional(text),
  path: text,
  reference: text,
  digest: text,
  pinned: yesOrNo,
  sha256,
  sizeBytes: size,
  abi: nullable(text),
  created: optional(text),
  files: list(object({ name: text, sizeBytes: size, sha256 })),
});

const catalog: Check = object({
  schemaVersion: only(1),
  tree: text,
  plugins: list(object({ name: text, versions: list(version) })),
});
