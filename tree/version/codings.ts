import { MODULE_FILE } from '../names.ts';

/** Content codings (RFC 9110, 8.4.1) that a module may lie beside itself in, smallest first. */
export const CODINGS = ['br', 'zstd', 'gzip'] as const;
export type Coding = (typeof CODINGS)[number];

const SUFFIXES: Readonly<Record<Coding, string>> = { gzip: '.gz', br: '.br', zstd: '.zst' };

/** The file of a version that holds plugin.wasm in this coding: `plugin.wasm.gz`. */
export function variantFile(coding: Coding): string {
  return MODULE_FILE + SUFFIXES[coding];
}

/** The coding whose file this is; undefined of any other file. */
export function codingOf(file: string): Coding | undefined {
  return CODINGS.find(coding => variantFile(coding) === file);
}
