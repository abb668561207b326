import { createHash } from 'node:crypto';
import { gzip, type TarEntry, tarOf, zstd } from './archive.ts';

export type Digest = `${'sha256' | 'sha512'}:${string}`;

/** An image as a registry stores it: raw manifest, its blobs, and for an index the images behind it. */
export interface TestImage {
  readonly blobs: Map<Digest, Buffer>;
  readonly manifest: Buffer;
  readonly mediaType: string;
  readonly digest: Digest;
  /** What an extractor must find in it, if it must find anything. */
  readonly wasm?: Buffer;
  readonly children?: readonly TestImage[];
}

export interface LayerInput {
  readonly mediaType: string;
  readonly body: Buffer;
  /** The `org.opencontainers.image.title` annotation. */
  readonly title?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Claims in the descriptor that differ from the truth. */
  readonly digest?: Digest;
  readonly size?: number;
}

export interface ImageInput {
  readonly layers: readonly LayerInput[];
  readonly config?: { readonly mediaType: string; readonly body: Buffer };
  /** Default: the OCI image manifest. */
  readonly mediaType?: string;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** A manifest that this one refers to (referrers API). */
  readonly subject?: { readonly mediaType: string; readonly digest: Digest; readonly size: number };
  readonly wasm?: Buffer;
}

/** What all forms of a plugin image can carry. */
export interface PluginInput {
  readonly wasm: Buffer;
  readonly readme?: string;
  readonly readmeEn?: string;
  readonly spec?: string;
  readonly icon?: Buffer;
  /** The manifest's `org.opencontainers.image.created`, as RFC 3339 text. */
  readonly created?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** True leaves the title annotation off every layer. */
  readonly untitled?: boolean;
  /** How the tar layer is compressed. Default `gzip`. */
  readonly compression?: Compression;
  /** The module's name in the tar. Default `plugin.wasm`. */
  readonly entryName?: string;
  /** Members of the tar instead of the one module. */
  readonly entries?: readonly TarEntry[];
}

export type Compression = 'gzip' | 'zstd' | 'none';

export const MEDIA = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  tar: 'application/vnd.oci.image.layer.v1.tar',
  tarGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  tarZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerTarGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  wasm: 'application/vnd.module.wasm.content.layer.v1+wasm',
  wasmConfig: 'application/vnd.module.wasm.config.v1+json',
  spec: 'application/vnd.module.wasm.spec.v1+yaml',
  readme: 'application/vnd.module.wasm.doc.v1+markdown',
  readmeEn: 'application/vnd.module.wasm.doc.v1.EN+markdown',
  icon: 'application/vnd.module.wasm.icon.v1+png',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  empty: 'application/vnd.oci.empty.v1+json',
  unknownConfig: 'application/vnd.unknown.config.v1+json',
} as const;

export function digestOf(body: Buffer, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(body).digest('hex')}`;
}

/** An image manifest over any layers; all forms below are made with it. */
export function imageOf(input: ImageInput): TestImage {
  const config = input.config ?? { mediaType: MEDIA.empty, body: Buffer.from('{}') };
  const blobs = new Map<Digest, Buffer>();
  const describe = (layer: LayerInput) => {
    const digest = layer.digest ?? digestOf(layer.body);
    blobs.set(digest, layer.body);
    const title = layer.title === undefined ? {} : { 'org.opencontainers.image.title': layer.title };
    const annotations = { ...title, ...layer.annotations };
    return {
      mediaType: layer.mediaType,
      digest,
      size: layer.size ?? layer.body.length,
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    };
  };
  const mediaType = input.mediaType ?? MEDIA.manifest;
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      artifactType: input.artifactType,
      config: describe(config),
      layers: input.layers.map(describe),
      subject: input.subject,
      annotations: input.annotations,
    }),
  );
  return { blobs, manifest, mediaType, digest: digestOf(manifest), ...(input.wasm ? { wasm: input.wasm } : {}) };
}

/** A tar layer, compressed as asked for and of the media type that says so. */
export function tarLayer(entries: readonly TarEntry[] | Buffer, compression: Compression = 'gzip'): LayerInput {
  const body = Buffer.isBuffer(entries) ? entries : tarOf(entries);
  if (compression === 'zstd') return { mediaType: MEDIA.tarZstd, body: zstd(body) };
  if (compression === 'none') return { mediaType: MEDIA.tar, body };
  return { mediaType: MEDIA.tarGzip, body: gzip(body) };
}

/** Many images behind one digest. */
export function indexOf(
  members: readonly { readonly platform?: string; readonly image: TestImage }[],
  options: { readonly attestations?: boolean; readonly docker?: boolean } = {},
): TestImage {
  const mediaType = options.docker === true ? MEDIA.dockerList : MEDIA.index;
  const children = members.map(member => member.image);
  const entries: object[] = members.map(({ platform, image }) => ({
    mediaType: image.mediaType,
    digest: image.digest,
    size: image.manifest.length,
    ...(platform === undefined ? {} : { platform: platformOf(platform) }),
  }));
  if (options.attestations === true)
    for (const { image } of members) {
      const attestation = attestationFor(image);
      children.push(attestation);
      entries.push({
        mediaType: attestation.mediaType,
        digest: attestation.digest,
        size: attestation.manifest.length,
        annotations: {
          'vnd.docker.reference.digest': image.digest,
          'vnd.docker.reference.type': 'attestation-manifest',
        },
        platform: { architecture: 'unknown', os: 'unknown' },
      });
    }
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: entries }));
  const wasm = members[0]?.image.wasm;
  return { blobs: new Map(), manifest, mediaType, digest: digestOf(manifest), children, ...(wasm ? { wasm } : {}) };
}

// BuildKit puts provenance next to each image, as a manifest of its own for the platform unknown/unknown.
function attestationFor(image: TestImage): TestImage {
  const statement = { _type: 'https://in-toto.io/Statement/v0.1', subject: [{ digest: image.digest }], predicate: {} };
  const config = Buffer.from(JSON.stringify({ architecture: 'unknown', os: 'unknown', config: {}, rootfs: {} }));
  return imageOf({
    config: { mediaType: MEDIA.ociConfig, body: config },
    layers: [{ mediaType: 'application/vnd.in-toto+json', body: Buffer.from(JSON.stringify(statement)) }],
  });
}

function platformOf(text: string): object {
  const [os, architecture, variant] = text.split('/');
  return { architecture, os, ...(variant === undefined ? {} : { variant }) };
}
