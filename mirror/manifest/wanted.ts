import type { Reference } from '../../registry/reference.ts';
import type { SignaturePolicy } from '../signatures/policy.ts';

/**
 * A valid manifest, normalised: with all defaults, complete references and aliases resolved to versions. No name or version in
 * it can leave the tree.
 */
export interface PluginManifest {
  /** Absolute path of the manifest file. */
  readonly file: string;
  /** Its name in messages, if it is another: a bundle's manifest is read from a temporary file. */
  readonly shown?: string;
  /** `HOST[/PREFIX]` of images that name no host. */
  readonly registry: string;
  /** In the order of the file. */
  readonly versions: readonly WantedVersion[];
  readonly aliases: readonly WantedAlias[];
  /** Registry host → mirrors to try first, each `HOST[/PREFIX]`. */
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
}

export interface WantedVersion {
  readonly name: string;
  readonly version: string;
  /** Its path in the manifest, e.g. `plugins.ai-proxy[1]`. */
  readonly path: string;
  readonly source: VersionSource;
  /** The policy for its image. Absent: no signature is needed. */
  readonly signatures?: SignaturePolicy;
}

export type VersionSource =
  /** A reference with a digest is a pin. */
  | { readonly kind: 'image'; readonly reference: Reference }
  /** `path` is absolute; `written` is the path as in the manifest, relative to the manifest's folder. */
  | { readonly kind: 'file'; readonly path: string; readonly written: string };

/** A second version path to the bytes of `target`, a real version of the same plugin. */
export interface WantedAlias {
  readonly name: string;
  readonly version: string;
  readonly target: string;
  readonly path: string;
}

/** The default of the manifest's `registry`. */
export const defaultRegistry = 'higress-registry.cn-hangzhou.cr.aliyuncs.com';
