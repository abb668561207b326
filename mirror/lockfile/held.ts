import type { PublishedVersion } from '../../tree/version/published.ts';
import type { SignatureProof } from '../signatures/policy.ts';

export interface Held {
  /** The image's digest; of a local file, its sha256. */
  readonly digest: string;
  /** What was published from it before, if a lock says so. */
  readonly module?: HeldModule;
  /** Which image of an index that was, if one was followed. */
  readonly platform?: string;
  /** The proof that was written down when it was published. */
  readonly signature?: SignatureProof;
}

/** A plugin.wasm as a lock holds it: bare hex, bytes, and the layer that it came out of. */
export interface HeldModule {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly layerDigest: string;
}

/** True if what was made of an image is what a lock says was made of it. */
export function isHeldModule(
  held: HeldModule,
  { sha256, sizeBytes, layer }: Pick<PublishedVersion, 'sha256' | 'sizeBytes' | 'layer'>,
): boolean {
  return held.sha256 === sha256 && held.sizeBytes === sizeBytes && held.layerDigest === layer?.digest;
}
