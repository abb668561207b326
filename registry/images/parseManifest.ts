import * as v from 'valibot';
import { parseBoundedJson } from '../../base/boundedJson.ts';
import { DIGEST } from '../../base/digest.ts';
import { looseObject, record } from '../../base/strictSchema.ts';
import { ImageManifestInvalid, ImageTypeUnsupported, RegistryProtocol } from '../errors.ts';
import type { Descriptor, ImageManifest } from '../image.ts';

export interface ImageIndex {
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
}

export type ParsedManifest =
  | { readonly kind: 'image'; readonly manifest: ImageManifest }
  | { readonly kind: 'index'; readonly index: ImageIndex };

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE_TYPES: readonly string[] = [OCI_MANIFEST, 'application/vnd.docker.distribution.manifest.v2+json'];
const INDEX_TYPES: readonly string[] = [OCI_INDEX, 'application/vnd.docker.distribution.manifest.list.v2+json'];
const SCHEMA_1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:pretty)?j(?:son|ws)$/;
// Media types of plain servers and proxies, which do not identify the content.
const GENERIC = /^(?:application\/json|application\/octet-stream|text\/plain|)$/;

export const isImageType = (mediaType: string): boolean => IMAGE_TYPES.includes(mediaType);
export const isIndexType = (mediaType: string): boolean => INDEX_TYPES.includes(mediaType);

// Go's encoder writes null for a missing member: `nullish` reads it as missing.
const annotations = v.nullish(record(v.string(), v.string(), 'not an object'));

const platform = looseObject({
  os: v.nullish(v.string()),
  architecture: v.nullish(v.string()),
  variant: v.nullish(v.string()),
});

const descriptor = looseObject({
  mediaType: v.pipe(v.string(), v.minLength(1), v.maxLength(255)),
  digest: v.pipe(v.string(), v.regex(DIGEST, 'is not sha256:<64 lower-case hex digits> or sha512:<128>')),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  annotations,
  platform: v.nullish(platform),
  artifactType: v.nullish(v.string()),
  data: v.nullish(v.string()),
});

const imageShape = looseObject({
  schemaVersion: v.literal(2),
  artifactType: v.nullish(v.string()),
  config: descriptor,
  layers: v.array(descriptor),
  annotations,
});

const indexShape = looseObject({ schemaVersion: v.literal(2), manifests: v.array(descriptor) });

/**
 * Parses an OCI image manifest or index, or Docker's schema 2 forms of both (image-spec, manifest.md and image-index.md).
 * `mediaType` is the reply's Content-Type; the document's own goes before it.
 * @throws RegistryProtocol if it is not JSON, ImageManifestInvalid, ImageTypeUnsupported
 */
export function parseManifest(bytes: Buffer, mediaType: string, subject: string): ParsedManifest {
  const document = parseDocument(bytes, mediaType, subject);
  const type = typeOf(document, mediaType, subject);
  // Two clients could read a document with members of both differently (CVE-2021-41190): refuse it.
  if ('manifests' in document && ('layers' in document || 'config' in document))
    throw invalidError(subject, 'either an image manifest or an index', 'members of both');
  if (isIndexType(type)) {
    const { manifests } = check(indexShape, document, subject);
    return { kind: 'index', index: { mediaType: type, manifests: manifests.map(tidyDescriptor) } };
  }
  const { config, layers, artifactType, annotations } = check(imageShape, document, subject);
  const manifest = {
    mediaType: type,
    config: tidyDescriptor(config),
    layers: layers.map(tidyDescriptor),
    ...(artifactType == null ? {} : { artifactType }),
    ...(annotations == null ? {} : { annotations }),
  };
  return { kind: 'image', manifest };
}

function parseDocument(bytes: Buffer, mediaType: string, subject: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = parseBoundedJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    const start = JSON.stringify(bytes.subarray(0, 60).toString('utf8'));
    const html = /^\s*(?:<!doctype html|<html)/i.test(bytes.subarray(0, 200).toString('utf8'));
    throw new RegistryProtocol(`The registry's reply for ${subject} is not a manifest`, {
      subject,
      expected: 'a JSON document',
      found:
        bytes.length === 0 ? 'nothing' : html ? `an HTML page (${mediaType})` : `${start} (${mediaType || 'no type'})`,
      hint: html
        ? "A login page of the network (captive portal) or a proxy answers in the registry's place: open the registry in a browser to see."
        : 'Check that the host is a registry, and that no proxy changes its replies.',
      cause,
    });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw invalidError(
      subject,
      'a JSON object',
      Array.isArray(parsed) ? 'an array' : JSON.stringify(parsed).slice(0, 60),
    );
  requireFewAnnotations(parsed, subject);
  return parsed as Record<string, unknown>;
}

/** Real images have about ten. They are copied into metadata.json and read again by every run. */
const MOST_ANNOTATIONS = 1000;

function requireFewAnnotations(document: object, subject: string): void {
  const { config, layers, manifests } = document as { config?: unknown; layers?: unknown; manifests?: unknown };
  const parts = [document, config, ...[layers, manifests].flatMap(list => (Array.isArray(list) ? list : []))];
  for (const part of parts) {
    const { annotations } = Object(part) as { annotations?: unknown };
    const count = typeof annotations === 'object' && annotations !== null ? Object.keys(annotations).length : 0;
    if (count > MOST_ANNOTATIONS)
      throw invalidError(subject, `at most ${MOST_ANNOTATIONS} annotations`, `${count} annotations`);
  }
}

function typeOf(document: Record<string, unknown>, contentType: string, subject: string): string {
  const own = typeof document.mediaType === 'string' ? document.mediaType : '';
  const sent = contentType.split(';')[0]?.trim().toLowerCase() ?? '';
  const known = [own, sent].find(type => isImageType(type) || isIndexType(type));
  if (document.schemaVersion === 1 || SCHEMA_1.test(own) || (own === '' && SCHEMA_1.test(sent)))
    throw unsupportedError(
      subject,
      "Docker's image manifest, schema 1",
      'Push it again with a current docker, buildx or oras.',
    );
  if ([own, sent].includes(ARTIFACT_MANIFEST))
    throw unsupportedError(
      subject,
      `an artifact manifest (${ARTIFACT_MANIFEST}), which OCI has withdrawn`,
      'It was pushed with ORAS 0.15 or 0.16: push it again with ORAS 1.0 or newer.',
    );
  if (own !== '' && own !== known)
    throw unsupportedError(subject, own, 'Check that the reference names a plugin image and not another artifact.');
  if (known !== undefined) return known;
  if (!GENERIC.test(sent) && !/json/.test(sent))
    throw unsupportedError(subject, sent, 'Check that the host is a registry.');
  if ('manifests' in document) return OCI_INDEX;
  if ('layers' in document) return OCI_MANIFEST;
  const members = Object.keys(document).slice(0, 8).join(', ') || 'no members';
  throw unsupportedError(subject, `a document with ${members}`, 'Check that the reference names an image.');
}

/** Of a release candidate of the image spec 1.1; the default of ORAS 0.15 and 0.16. */
const ARTIFACT_MANIFEST = 'application/vnd.oci.artifact.manifest.v1+json';

function check<T extends v.GenericSchema>(shape: T, document: unknown, subject: string): v.InferOutput<T> {
  const result = v.safeParse(shape, document);
  if (result.success) return result.output;
  const [{ message, path = [] }] = result.issues;
  const at = path.map(({ key }) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  throw invalidError(subject, 'members as in the OCI image spec', `${at.replace(/^\./, '')}: ${message}`);
}

/** Omits missing members, as exactOptionalPropertyTypes requires. */
function tidyDescriptor(raw: v.InferOutput<typeof descriptor>): Descriptor {
  const { mediaType, digest, size, annotations, platform, artifactType, data } = raw;
  const { os, architecture, variant } = platform ?? {};
  return {
    mediaType,
    digest: digest as Descriptor['digest'],
    size,
    ...(annotations == null ? {} : { annotations }),
    // Some tools write an empty platform instead of omitting it.
    ...(os || architecture
      ? { platform: { os: os ?? '', architecture: architecture ?? '', ...(variant == null ? {} : { variant }) } }
      : {}),
    ...(artifactType == null ? {} : { artifactType }),
    ...(data == null ? {} : { data }),
  };
}

function invalidError(subject: string, expected: string, found: string): ImageManifestInvalid {
  return new ImageManifestInvalid(`The manifest of ${subject} cannot be read: ${found}`, {
    subject,
    expected,
    found,
    hint: "The image's owner must push it again: its manifest breaks the OCI image specification.",
  });
}

function unsupportedError(subject: string, found: string, hint: string): ImageTypeUnsupported {
  return new ImageTypeUnsupported(`${subject} is not a supported image: it is ${found}`, {
    subject,
    expected: 'an OCI image manifest or index, or Docker schema 2',
    found,
    hint,
  });
}
