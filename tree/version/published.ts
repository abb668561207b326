import { fitting, nullable, object, only, optional, record, sha256, size, text } from '../../base/shape.ts';

/**
 * What stands in `<tree>/<name>/<version>/metadata.json`: everything known of one published version. Sorted keys, no time
 * of this machine, nothing that differs between two runs over the same image.
 */
export interface PublishedVersion {
  readonly schemaVersion: 1;
  readonly name: string;
  readonly version: string;
  /** Set on an alias: the version of the same plugin whose bytes these are. */
  readonly aliasOf?: string;
  /** Where it came from: `HOST/REPOSITORY:TAG`, or `file:<path as the manifest says it>`. */
  readonly reference: string;
  /** The image's digest as the reference resolved (an index's where there is one). Of a local file: its sha256. */
  readonly digest: string;
  /** `os/architecture[/variant]`, if an index was followed. */
  readonly platform?: string;
  /** The layer that held plugin.wasm. Absent for a local file. */
  readonly layer?: { readonly digest: string; readonly mediaType: string; readonly sizeBytes: number };
  /** Of plugin.wasm: bare lower-case hex, and bytes. */
  readonly sha256: string;
  readonly md5: string;
  readonly sizeBytes: number;
  /** `0.1.0`, `0.2.0` or `0.2.1`; null if the module exports no Proxy-Wasm ABI version. */
  readonly abi: string | null;
  /** RFC 3339, if the image says when it was made. */
  readonly created?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /**
   * The signature that the manifest's policy asked for, checked before anything was published: the policy's fingerprint
   * (bare hex), who signed, and which digest (an index's or a manifest's). Absent if no policy governed the image.
   */
  readonly signature?: { readonly policy: string; readonly signer: string; readonly digest: string };
  /** Every other file of the version: what came from the image (spec.yaml, README.md …), plugin.wasm.gz and the like. */
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly sizeBytes: number }>>;
}

/** The value as a PublishedVersion, or in words what is wrong with it. Unknown keys pass, as in every file of the tree. */
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
