import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { PublishingTree } from '../../tree/publish/publishingTree.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';

const HEAD = Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);

/** A temporary folder that is removed after the test, with whatever a killed writer left next to it. */
export async function temporary(t: TestContext): Promise<string> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'plugin-mirror-tree-')));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const inner = join(dir, 'here');
  await mkdir(inner);
  return inner;
}

/** A module of `sizeBytes`; different seeds give different bytes. */
export function module(seed: string, sizeBytes = 64): Buffer {
  const body = Buffer.alloc(Math.max(0, sizeBytes - HEAD.length), `${seed};`);
  return Buffer.concat([HEAD, body]);
}

export interface Sample {
  readonly metadata: PublishedVersion;
  readonly contents: ReadonlyMap<string, Buffer>;
}

export function sample(
  name: string,
  version: string,
  options: { seed?: string; sizeBytes?: number; files?: Record<string, string>; created?: string } = {},
): Sample {
  const { seed = `${name} ${version}`, sizeBytes = 64, files = {}, created } = options;
  const bytes = module(seed, sizeBytes);
  const contents = new Map([['plugin.wasm', bytes]]);
  const entries = Object.entries(files).map(([file, text]) => {
    contents.set(file, Buffer.from(text));
    return [file, { sha256: hash('sha256', Buffer.from(text)), sizeBytes: Buffer.byteLength(text) }] as const;
  });
  const metadata: PublishedVersion = {
    schemaVersion: 1,
    name,
    version,
    reference: `registry.example.com/plugins/${name}:${version}`,
    digest: `sha256:${hash('sha256', Buffer.from(seed))}`,
    sha256: hash('sha256', bytes),
    md5: hash('md5', bytes),
    sizeBytes: bytes.length,
    abi: '0.2.1',
    ...(created === undefined ? {} : { created }),
    files: Object.fromEntries(entries),
  };
  return { metadata, contents };
}

export async function publish(publishing: PublishingTree, { metadata, contents }: Sample): Promise<PublishedVersion> {
  const staged = await publishing.stage();
  for (const [file, bytes] of contents) await writeFile(join(staged.dir, file), bytes);
  await publishing.publish(staged, metadata);
  return metadata;
}

export function hash(algorithm: string, bytes: Buffer): string {
  return createHash(algorithm).update(bytes).digest('hex');
}

export function code(expected: string): (error: unknown) => boolean {
  return error => {
    const found = error instanceof Error && 'code' in error ? error.code : error;
    if (found !== expected) throw new Error(`expected ${expected}, met ${String(found)}`, { cause: error });
    return true;
  };
}

/** Throws unless all bytes belong to one module. */
export function requireWhole(bytes: Buffer): void {
  const seed = bytes.subarray(8, bytes.indexOf(';')).toString();
  assert.ok(bytes.length >= 20_000, `${bytes.length} bytes`);
  assert.ok(bytes.equals(module(seed, bytes.length)), `a mixture that begins with ${seed}`);
}
