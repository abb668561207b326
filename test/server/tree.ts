import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext } from 'node:test';
import { buildCatalog, type CatalogEntry, catalogText, inventoryText } from '../../tree/catalog.ts';
import { ownFiles, type PublishedVersion } from '../../tree/version/published.ts';

export interface Planned {
  readonly name: string;
  readonly version: string;
  /** The bytes of plugin.wasm. */
  readonly bytes: Buffer;
  readonly aliasOf?: string;
  /** Whether the manifest or the lockfile names the digest. */
  readonly pinned?: boolean;
  readonly created?: string;
  readonly signer?: string;
  readonly abi?: string;
  readonly reference?: string;
  /** Whether the lockfile alone does. Default: the manifest. */
  readonly locked?: boolean;
  /** Further files, by name. */
  readonly files?: Readonly<Record<string, Buffer>>;
}

export function wasm(sizeBytes: number): Buffer {
  const bytes = randomBytes(sizeBytes);
  bytes.write('\0asm\x01\0\0\0', 0, 'latin1');
  return bytes;
}

export function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export async function emptyFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-server-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function makeTree(t: TestContext, planned: readonly Planned[]): Promise<string> {
  const tree = await emptyFolder(t);
  await publish(tree, planned);
  return tree;
}

/** A tree for all tests of a file; they must not change it. */
export async function sharedTree(planned: readonly Planned[]): Promise<string> {
  const tree = await mkdtemp(join(tmpdir(), 'plugin-mirror-server-'));
  after(() => rm(tree, { recursive: true, force: true }));
  await publish(tree, planned);
  return tree;
}

/** Publishes as sync does: file by file through rename, index.json last. */
export async function publish(tree: string, planned: readonly Planned[]): Promise<void> {
  const entries: CatalogEntry[] = [];
  for (const plan of planned) {
    const metadata = metadataOf(plan);
    const folder = join(tree, plan.name, plan.version);
    await mkdir(folder, { recursive: true });
    await put(join(folder, 'plugin.wasm'), plan.bytes);
    for (const [name, text] of ownFiles(metadata)) await put(join(folder, name), text);
    for (const [name, bytes] of Object.entries(plan.files ?? {})) await put(join(folder, name), bytes);
    entries.push({ metadata, pinned: plan.pinned ?? false });
  }
  await publishCatalog(tree, entries);
}

export async function publishCatalog(tree: string, entries: readonly CatalogEntry[]): Promise<void> {
  const catalog = buildCatalog(entries);
  await put(join(tree, 'snapshot-inventory.json'), inventoryText(catalog));
  await put(join(tree, 'index.json'), catalogText(catalog));
}

export function entryOf(plan: Planned): CatalogEntry {
  return { metadata: metadataOf(plan), pinned: plan.pinned ?? false };
}

export async function put(path: string, bytes: Buffer | string): Promise<void> {
  await writeFile(`${path}.new`, bytes);
  await rename(`${path}.new`, path);
}

function metadataOf(plan: Planned): PublishedVersion {
  const { name, version, bytes, aliasOf, created, signer, pinned, locked, files = {} } = plan;
  const digest = `sha256:${sha256(bytes)}`;
  const described = Object.entries(files).map(
    ([file, content]) => [file, { sha256: sha256(content), sizeBytes: content.length }] as const,
  );
  return {
    schemaVersion: 1,
    name,
    version,
    ...(aliasOf === undefined ? {} : { aliasOf }),
    reference: plan.reference ?? `registry.example/plugins/${name}:${version}${pinned && !locked ? `@${digest}` : ''}`,
    digest,
    sha256: sha256(bytes),
    md5: createHash('md5').update(bytes).digest('hex'),
    sizeBytes: bytes.length,
    abi: plan.abi ?? '0.2.1',
    ...(created === undefined ? {} : { created }),
    ...(signer === undefined
      ? {}
      : { signature: { policy: sha256('policy'), signer, digest: `sha256:${sha256(signer)}` } }),
    files: Object.fromEntries(described),
  };
}
