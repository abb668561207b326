import { parseBoundedJson } from '../base/boundedJson.ts';
/** distribution-spec, Pushing Manifests: clients should accept manifests of up to 4 MiB. In bytes. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/** The members of an image manifest, an index or an artifact that readers of a layout follow. Nothing about them is checked. */
export interface ManifestDocument {
  readonly config?: unknown;
  readonly layers?: unknown;
  readonly manifests?: unknown;
}

/** Parses a manifest. A document that is no JSON object has no members. */
export function parseManifestDocument<Document extends object = ManifestDocument>(bytes: Buffer): Partial<Document> {
  try {
    const value: unknown = parseBoundedJson(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
