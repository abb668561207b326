import { canonicalJson } from '../../base/canonicalJson.ts';
import { openReadStream } from '../../base/errno.ts';
import type { BlobSource } from '../../layout/writeLayout.ts';
import type { GatheredManifest } from '../../registry/images/gatherImage.ts';
import { isRepository, isTag, type Reference } from '../../registry/reference.ts';
import type { LockfileEntry } from '../lockfile/lockfile.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import { blobOf } from './document.ts';

/** Host of the names that local modules get. No request is sent to it. */
const LOCAL_HOST = 'plugin-mirror.local';
const IMAGE_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
const MODULE_TYPE = 'application/vnd.module.wasm.content.layer.v1+wasm';
const MODULE_CONFIG_TYPE = 'application/vnd.module.wasm.config.v1+json';

export interface LocalImage {
  readonly name: Reference;
  readonly manifest: GatheredManifest;
  readonly blobs: readonly BlobSource[];
}

/** A local module as an image of two layers, which gateways load over oci://: config.json, then the module itself. */
export function localImage(wanted: WantedVersion, { sha256, sizeBytes }: LockfileEntry): LocalImage {
  const path = wanted.source.kind === 'file' ? wanted.source.path : '';
  const config = blobOf(Buffer.from('{}'));
  const module: BlobSource = { digest: `sha256:${sha256}`, size: sizeBytes, open: async () => openReadStream(path) };
  const layer = ({ digest, size }: BlobSource, mediaType: string, title: string): object => ({
    mediaType,
    digest,
    size,
    annotations: { 'org.opencontainers.image.title': title },
  });
  const bytes = Buffer.from(
    canonicalJson({
      schemaVersion: 2,
      mediaType: IMAGE_TYPE,
      config: { mediaType: EMPTY_TYPE, digest: config.digest, size: config.size },
      layers: [layer(config, MODULE_CONFIG_TYPE, 'config.json'), layer(module, MODULE_TYPE, 'plugin.wasm')],
    }),
  );
  const manifest = { digest: blobOf(bytes).digest, mediaType: IMAGE_TYPE, bytes };
  return { name: localName(wanted), manifest, blobs: [config, module] };
}

/** `plugin-mirror.local/plugins/NAME:VERSION`, with other characters where an image name does not allow them. */
function localName({ name, version }: WantedVersion): Reference {
  const repository = `plugins/${name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')}`;
  const tag = version.replace(/[^\w.-]/g, '-');
  return {
    registry: LOCAL_HOST,
    repository: isRepository(repository) ? repository : 'plugins/local',
    tag: isTag(tag) ? tag : 'local',
  };
}
