import { MODULE_FILE } from '../names.ts';
import type { PublishedVersion } from './published.ts';

/** Content codings (RFC 9110, section 8.4.1) that sync can publish next to plugin.wasm, the smallest result first. */
export const CODINGS = ['br', 'zstd', 'gzip'] as const;
export type Coding = (typeof CODINGS)[number];

const SUFFIXES: Readonly<Record<Coding, string>> = { gzip: '.gz', br: '.br', zstd: '.zst' };

/** The name of the file with plugin.wasm in this coding: `plugin.wasm.gz`. */
export function variantFile(coding: Coding): string {
  return MODULE_FILE + SUFFIXES[coding];
}

/** The coding that a file name means; undefined for other files. */
export function codingOf(file: string): Coding | undefined {
  return CODINGS.find(coding => variantFile(coding) === file);
}

/** True if a version has the compressed forms asked for, and no others. */
export function hasVariants(metadata: PublishedVersion, codings: readonly Coding[]): boolean {
  const present = variantsOf(metadata);
  return present.length === codings.length && codings.every(coding => present.includes(variantFile(coding)));
}

/** The names of a version's compressed forms. */
export function variantsOf({ files }: PublishedVersion): string[] {
  return Object.keys(files).filter(file => codingOf(file) !== undefined);
}
