import type { Reference } from '../../registry/reference.ts';
import type { SignaturePolicy } from '../signatures/policy.ts';

/**
 * The user's list, normalised: every default is filled in, every image is a whole reference, every chain of aliases is
 * followed to its end. Nothing in it can lead out of the tree.
 */
export interface PluginManifest {
  /** Absolute path of the file it was read from. */
  readonly file: string;
  /** `HOST[/PREFIX]` of images that name no host. */
  readonly registry: string;
  /** In the order of the file. */
  readonly versions: readonly WantedVersion[];
  readonly aliases: readonly WantedAlias[];
  /** Registry host → places to ask first, each `HOST[/PREFIX]`. */
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
}

export interface WantedVersion {
  readonly name: string;
  readonly version: string;
  /** Where it stands in the file, e.g. `plugins.ai-proxy[1]`. */
  readonly place: string;
  readonly source: VersionSource;
  /** Who must have signed its image. Absent: nobody need have. */
  readonly signatures?: SignaturePolicy;
}

export type VersionSource =
  /** A reference with a digest is a pin. */
  | { readonly kind: 'image'; readonly reference: Reference }
  /** `path` is absolute; `written` is the path as the manifest says it, relative to the manifest's folder. */
  | { readonly kind: 'file'; readonly path: string; readonly written: string };

/** A second version path to the bytes of `target`, a real version of the same plugin. */
export interface WantedAlias {
  readonly name: string;
  readonly version: string;
  readonly target: string;
  readonly place: string;
}

/** The registry of images that name none, when the manifest names none either. */
export const defaultRegistry = 'higress-registry.cn-hangzhou.cr.aliyuncs.com';
