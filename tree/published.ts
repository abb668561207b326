import { z } from 'zod';

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const sizeBytes = z.int().nonnegative();

/** The shape of metadata.json. Unknown keys pass: a later version of this program may have written them. */
export const publishedSchema = z.object({
  schemaVersion: z.literal(1),
  name: z.string(),
  version: z.string(),
  aliasOf: z.string().optional(),
  reference: z.string(),
  digest: z.string(),
  platform: z.string().optional(),
  layer: z.object({ digest: z.string(), mediaType: z.string(), sizeBytes }).optional(),
  sha256: hex(64),
  md5: hex(32),
  sizeBytes,
  abi: z.string().nullable(),
  created: z.string().optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  signature: z.object({ policy: hex(64), signer: z.string(), digest: z.string() }).optional(),
  files: z.record(z.string(), z.object({ sha256: hex(64), sizeBytes })),
});

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

/** The value as a PublishedVersion, or in words what is wrong with it. */
export function parsePublished(value: unknown): PublishedVersion | string {
  const result = publishedSchema.safeParse(value);
  // Zod writes an absent key's type as `T | undefined`; JSON cannot hold undefined, so the value fits the interface.
  if (result.success) return value as PublishedVersion;
  return result.error.issues.map(issue => `${issue.path.join('.') || 'the whole'}: ${issue.message}`).join('; ');
}
