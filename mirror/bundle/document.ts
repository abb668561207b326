import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { parseBoundedJson } from '../../base/boundedJson.ts';
import { canonicalJson, compareText } from '../../base/canonicalJson.ts';
import type { Digest } from '../../base/digest.ts';
import { onFile } from '../../base/errno.ts';
import { plural } from '../../base/words.ts';
import { LayoutInvalid } from '../../layout/errors.ts';
import type { Layout } from '../../layout/layout.ts';
import type { LayoutEntry } from '../../layout/layoutIndex.ts';
import type { BlobSource } from '../../layout/writeLayout.ts';
import { namedFiles } from '../manifest/readManifest.ts';
import type { SyncJob } from '../plan/job.ts';

// A bundle is an OCI image layout with one artifact of our own: the manifest, the lockfile, the files that the manifest names,
// and a readme. Other tools may copy or ignore it.

const IMAGE_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const BUNDLE_TYPE = 'application/vnd.plugin-mirror.bundle.v1+json';
const CONFIG_TYPE = 'application/vnd.plugin-mirror.bundle.config.v1+json';
const FILE_TYPE = 'application/vnd.plugin-mirror.file';
const TITLE = 'org.opencontainers.image.title';
/** On a layer: the path of a local module, key or trusted root as the manifest has it. */
const WRITTEN = 'plugin-mirror.path';

export const MANIFEST_TITLE = 'manifest.json';
export const LOCKFILE_TITLE = 'manifest.lock.json';
const README_TITLE = 'README.md';
/** Of the manifest and the config of the artifact itself. */
const MAX_ARTIFACT_BYTES = 4 * 1024 * 1024;

const configSchema = v.looseObject({
  schemaVersion: v.literal(1),
  /** The plugin-mirror that wrote the bundle. */
  version: v.string(),
  /** The globs of --only. Empty: all of the manifest. */
  only: v.array(v.string()),
  /** Digests of versions whose blobs are not here: the receiver has them from the base. Empty unless it is a delta. */
  requires: v.array(v.string()),
});

export type BundleConfig = v.InferOutput<typeof configSchema>;

/** The artifact with a bundle's documents, as it is read. */
export interface BundleDocument {
  readonly config: BundleConfig;
  /** manifest.json and manifest.lock.json. */
  readonly titled: ReadonlyMap<string, Digest>;
  /** By the path that the manifest has. */
  readonly files: ReadonlyMap<string, Digest>;
}

const documentSchema = v.looseObject({
  config: v.looseObject({ digest: v.string() }),
  layers: v.array(v.looseObject({ digest: v.string(), annotations: v.optional(v.record(v.string(), v.string())) })),
});

/** Reads a bundle's documents; undefined for a layout that another tool wrote. @throws LayoutInvalid, LayoutBlobMissing, LayoutBlobDamaged */
export async function readDocument(layout: Layout): Promise<BundleDocument | undefined> {
  const entry = layout.index.entries.find(({ artifactType }) => artifactType === BUNDLE_TYPE);
  if (entry === undefined) return undefined;
  const document = v.safeParse(documentSchema, await readJson(layout, entry.digest));
  if (!document.success) throw unknownDocument(layout.path, entry.digest);
  const config = v.safeParse(configSchema, await readJson(layout, document.output.config.digest as Digest));
  if (!config.success) throw unknownDocument(layout.path, document.output.config.digest);
  const titled = new Map<string, Digest>();
  const files = new Map<string, Digest>();
  for (const { digest, annotations = {} } of document.output.layers) {
    const { [TITLE]: title, [WRITTEN]: written } = annotations;
    if (written !== undefined) files.set(written, digest as Digest);
    else if (title !== undefined) titled.set(title, digest as Digest);
  }
  return { config: config.output, titled, files };
}

async function readJson(layout: Layout, digest: Digest): Promise<unknown> {
  try {
    return parseBoundedJson((await layout.read(digest, MAX_ARTIFACT_BYTES)).toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function unknownDocument(path: string, digest: string): LayoutInvalid {
  return new LayoutInvalid(`${path} has documents that this plugin-mirror cannot read`, {
    subject: digest,
    expected: 'a bundle of schemaVersion 1',
    found: 'another version, or a document that was changed',
    hint: 'Use the plugin-mirror that wrote the bundle, or a later one; or give a manifest with --manifest.',
  });
}

/** Makes the artifact with a bundle's documents. @returns its entry in index.json, and its blobs */
export async function makeDocument(
  { manifest, lockfile }: Pick<SyncJob, 'manifest' | 'lockfile'>,
  config: BundleConfig,
): Promise<{ readonly entry: LayoutEntry; readonly blobs: readonly BlobSource[] }> {
  const text = await onFile(manifest.file, readFile(manifest.file));
  const titled: [string, Buffer][] = [
    [MANIFEST_TITLE, text],
    [LOCKFILE_TITLE, await onFile(lockfile.path, readFile(lockfile.path))],
    [README_TITLE, Buffer.from(readme(config))],
  ];
  const written = [...namedFiles(manifest, text.toString('utf8'))].sort(([one], [other]) => compareText(one, other));
  const blobs: BlobSource[] = [];
  const layer = (bytes: Buffer, annotations: Record<string, string>, mediaType = FILE_TYPE): object => {
    const blob = blobOf(bytes);
    blobs.push(blob);
    return { mediaType, digest: blob.digest, size: blob.size, annotations };
  };
  const layers = titled.map(([title, bytes]) => layer(bytes, { [TITLE]: title }));
  for (const [path, absolute] of written)
    layers.push(layer(await onFile(absolute, readFile(absolute)), { [WRITTEN]: path }));
  const configBlob = blobOf(Buffer.from(canonicalJson(config)));
  const document = blobOf(
    Buffer.from(
      canonicalJson({
        schemaVersion: 2,
        mediaType: IMAGE_MANIFEST,
        artifactType: BUNDLE_TYPE,
        config: { mediaType: CONFIG_TYPE, digest: configBlob.digest, size: configBlob.size },
        layers,
      }),
    ),
  );
  const entry = { mediaType: IMAGE_MANIFEST, digest: document.digest, size: document.size, artifactType: BUNDLE_TYPE };
  return { entry, blobs: [document, configBlob, ...blobs] };
}

export function blobOf(bytes: Buffer): BlobSource {
  const digest: Digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { digest, size: bytes.length, open: async () => bytes };
}

function readme({ version, requires }: BundleConfig): string {
  return `# A bundle of Higress Wasm plugins

Written by plugin-mirror ${version}. It is an OCI image layout: every image is here as its registry has it.

- Publish it as a folder for \`plugin-mirror serve\`: \`plugin-mirror sync --from BUNDLE\`
- Copy it to a registry: \`plugin-mirror push HOST --from BUNDLE\`
- Serve the images to \`oci://\` addresses: \`plugin-mirror serve --images BUNDLE\`
- ORAS, skopeo, regctl and ctr read it, too.
${requires.length === 0 ? '' : `\nIt is a delta: the blobs of ${plural(requires.length, 'image')} are not in it, because its base has them.\n`}`;
}
