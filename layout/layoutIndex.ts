import { parseBoundedJson } from '../base/boundedJson.ts';
import { canonicalJson, compareText } from '../base/canonicalJson.ts';
import { type Digest, isDigest } from '../base/digest.ts';
import { isRecord } from '../base/shape.ts';
import { LayoutInvalid } from './errors.ts';

export const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';
/** The reference of a tagged entry (image-spec, annotations.md). Our writer uses `HOST/REPOSITORY:TAG`. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
/** The same reference, where containerd's importer looks for it. */
export const IMAGE_NAME = 'io.containerd.image.name';
/** On an untagged entry: the digest of the manifest that it refers to, as containerd writes it. */
export const SUBJECT = 'io.containerd.manifest.subject';

/** An index of 5,000 images has about 3 MB. */
export const MAX_INDEX_BYTES = 32 * 1024 * 1024;
const MAX_ENTRIES = 100_000;

/** One entry of index.json (image-spec, descriptor.md). */
export interface LayoutEntry {
  readonly mediaType: string;
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface LayoutIndex {
  readonly entries: readonly LayoutEntry[];
  /** Annotations of the index itself. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** The name of an entry, or undefined if it is untagged. */
export function nameOf(entry: LayoutEntry): string | undefined {
  return entry.annotations?.[IMAGE_NAME] ?? entry.annotations?.[REF_NAME];
}

/**
 * Parses index.json. Unknown members are allowed, as the specification demands.
 * @param path the layout's path, for messages
 * @throws LayoutInvalid for anything that is no index, and if one name is given to two digests
 */
export function parseIndex(bytes: Buffer, path: string): LayoutIndex {
  const invalid = (found: string, expected: string): LayoutInvalid =>
    new LayoutInvalid(`index.json of ${path} is not an OCI image index`, {
      subject: path,
      expected,
      found,
      hint: 'Make the bundle again, or name an OCI image layout (oci-layout, index.json, blobs/).',
    });
  let value: unknown;
  try {
    value = parseBoundedJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error), 'JSON in UTF-8');
  }
  if (!isRecord(value)) throw invalid(typeName(value), 'an object');
  if (value.schemaVersion !== 2) throw invalid(`schemaVersion ${JSON.stringify(value.schemaVersion)}`, '2');
  const { manifests } = value;
  if (!Array.isArray(manifests)) throw invalid(`manifests: ${typeName(manifests)}`, 'a list of descriptors');
  if (manifests.length > MAX_ENTRIES) throw invalid(`${manifests.length} manifests`, `at most ${MAX_ENTRIES}`);
  const named = new Map<string, Digest>();
  const entries = manifests.map((item: unknown, at): LayoutEntry => {
    const entry = parseEntry(item);
    if (typeof entry === 'string') throw invalid(`manifests[${at}]: ${entry}`, 'a descriptor');
    const name = nameOf(entry);
    const other = name === undefined ? undefined : named.get(name);
    if (name !== undefined && other !== undefined && other !== entry.digest)
      throw invalid(`${name} twice, as ${other} and as ${entry.digest}`, 'one digest for each name');
    if (name !== undefined) named.set(name, entry.digest);
    return entry;
  });
  return { entries, annotations: isText(value.annotations) ? value.annotations : {} };
}

/** index.json as this program writes it: named entries first, sorted by name, then the others by digest. Same input, same bytes. */
export function formatIndex({ entries, annotations }: LayoutIndex): string {
  const key = (entry: LayoutEntry): string => `${nameOf(entry) === undefined ? 1 : 0}${nameOf(entry) ?? entry.digest}`;
  return `${canonicalJson({
    schemaVersion: 2,
    mediaType: INDEX_TYPE,
    manifests: [...entries].sort((one, other) => compareText(key(one), key(other))),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  })}\n`;
}

/** The descriptor, or what is wrong with it. */
function parseEntry(item: unknown): LayoutEntry | string {
  if (!isRecord(item)) return typeName(item);
  const { mediaType, digest, size, artifactType, annotations } = item;
  if (typeof mediaType !== 'string' || mediaType === '') return 'no mediaType';
  if (!isDigest(digest)) return `digest ${JSON.stringify(digest)?.slice(0, 200)}`;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return `size ${JSON.stringify(size)}`;
  if (annotations !== undefined && !isText(annotations)) return 'annotations that are not texts';
  return {
    mediaType,
    digest,
    size,
    ...(typeof artifactType === 'string' ? { artifactType } : {}),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function isText(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every(member => typeof member === 'string');
}

function typeName(value: unknown): string {
  return value === undefined ? 'nothing' : value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value;
}
