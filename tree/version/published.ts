import { fitting, nullable, object, only, optional, record, sha256, size, text } from '../../base/shape.ts';

/**
 * The content of `<tree>/<name>/<version>/metadata.json`: everything known about one published version. It has sorted keys and
 * no time of this machine, so that two runs over the same image write the same bytes.
 */
export interface PublishedVersion {
  readonly schemaVersion: 1;
  readonly name: string;
  readonly version: string;
  /** Set on an alias: the version of the same plugin whose bytes these are. */
  readonly aliasOf?: string;
  /** The origin: `HOST/REPOSITORY:TAG`, or `file:<path as written in the manifest>`. */
  readonly reference: string;
  /** The digest that the reference resolved to (the index's if the image has one). For a local file: its sha256. */
  readonly digest: string;
  /** `os/architecture[/variant]`, if an index was followed. */
  readonly platform?: string;
  /** The layer that contained plugin.wasm. Absent for a local file. */
  readonly layer?: { readonly digest: string; readonly mediaType: string; readonly sizeBytes: number };
  /** sha256 and md5 of plugin.wasm in lower-case hex, and its size in bytes. */
  readonly sha256: string;
  readonly md5: string;
  readonly sizeBytes: number;
  /** `0.1.0`, `0.2.0` or `0.2.1`; null if the module exports no Proxy-Wasm ABI version. */
  readonly abi: string | null;
  /** RFC 3339, if the image has a creation time. */
  readonly created?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /**
   * The signature that the manifest's policy required, verified before the version was published: the policy's fingerprint in
   * hex, the signer, and the signed digest (an index's or a manifest's). Absent if no policy applied to the image.
   */
  readonly signature?: { readonly policy: string; readonly signer: string; readonly digest: string };
  /** The other files of the version: those of the image (spec.yaml, README.md …), plugin.wasm.gz and the like. */
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly sizeBytes: number }>>;
}

/** Returns the value as a PublishedVersion, or its problem as a text. Allows unknown keys, as in every file of the tree. */
export function parsePublished(value: unknown): PublishedVersion | string {
  const problem = published(value);
  if (problem === undefined) return value as PublishedVersion;
  return problem.startsWith(':') ? `the whole${problem}` : problem;
}

const published = object({
  schemaVersion: only(1),
  name: text,
  version: text,
  aliasOf: optional(text),
  reference: text,
  digest: text,
  platform: optional(text),
  layer: optional(object({ digest: text, mediaType: text, sizeBytes: size })),
  sha256,
  md5: fitting(/^[0-9a-f]{32}$/, 'an md5 in lower-case hex'),
  sizeBytes: size,
  abi: nullable(text),
  created: optional(text),
  annotations: optional(record(text)),
  signature: optional(object({ policy: sha256, signer: text, digest: text })),
  files: record(object({ sha256, sizeBytes: size })),
});
