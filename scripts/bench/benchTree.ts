import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { buildCatalog, type CatalogEntry, catalogText, inventoryText } from '../../tree/catalog.ts';

export const MB = 1_000_000;

export interface BenchModule {
  readonly name: string;
  readonly sizeBytes: number;
}

export function sized(prefix: string, count: number, sizeBytes: number): BenchModule[] {
  return Array.from({ length: count }, (_, at) => ({ name: `${prefix}${at}`, sizeBytes }));
}

/** Makes a tree of different modules, all in version 1.0.0, without a sync. */
export async function makeBenchTree(tree: string, modules: readonly BenchModule[]): Promise<void> {
  const block = randomBytes(MB);
  const entries: CatalogEntry[] = [];
  for (const { name, sizeBytes } of modules) {
    const bytes = Buffer.allocUnsafe(sizeBytes);
    for (let at = 0; at < sizeBytes; at += block.length) block.copy(bytes, at);
    bytes.write(`\0asm\x01\0\0\0${name}`, 0, 'latin1');
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    await mkdir(join(tree, name, '1.0.0'), { recursive: true });
    writeFileSync(join(tree, name, '1.0.0', 'plugin.wasm'), bytes);
    const metadata = {
      schemaVersion: 1,
      name,
      version: '1.0.0',
      reference: `bench.test/${name}:1.0.0`,
      digest: `sha256:${sha256}`,
      sha256,
      md5: '',
      sizeBytes,
      abi: null,
      files: {},
    } as const;
    entries.push({ metadata, pinned: true });
  }
  const catalog = buildCatalog(entries);
  writeFileSync(join(tree, 'snapshot-inventory.json'), inventoryText(catalog));
  writeFileSync(join(tree, 'index.json'), catalogText(catalog));
}
