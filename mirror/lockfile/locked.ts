import type { PublishedVersion } from '../../tree/version/published.ts';
import type { SignatureProof } from '../signatures/policy.ts';

/** The image that the lockfile, or the manifest itself, fixes for one version. */
export interface LockedVersion {
  /** The image's digest; of a local file, its sha256. */
  readonly digest: string;
  /** The plugin.wasm that was published from it; absent if only the manifest fixes the digest. */
  readonly module?: LockedModule;
  /** The platform of the image that was taken, if an index was followed. */
  readonly platform?: string;
  /** The signature that was verified when the version was published. */
  readonly signature?: SignatureProof;
}

/** A plugin.wasm as the lockfile records it: bare hex, bytes, and the layer that it came out of. */
export interface LockedModule {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly layerDigest: string;
}

/** True if the plugin.wasm that came out of an image is the locked one. */
export function isLockedModule(
  locked: LockedModule,
  { sha256, sizeBytes, layer }: Pick<PublishedVersion, 'sha256' | 'sizeBytes' | 'layer'>,
): boolean {
  return locked.sha256 === sha256 && locked.sizeBytes === sizeBytes && locked.layerDigest === layer?.digest;
}
