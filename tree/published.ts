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
  /** Every other file of the version that came from the image (spec.yaml, README.md, icon.png …), by file name. */
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly sizeBytes: number }>>;
}
