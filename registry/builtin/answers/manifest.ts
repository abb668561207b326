import { parseBoundedJson } from '../../../base/boundedJson.ts';
import { digestOf } from '../../../base/digest.ts';
import { shortLine } from '../../../base/printable.ts';
import type { RawManifest } from '../../engine.ts';
import { ImageTypeUnsupported, RegistryDigestMismatch, RegistryProtocol } from '../../errors.ts';
import { type Digest, isDigest, type Reference } from '../../reference.ts';
import { type RegistryRequest, requestFor } from '../client/registryClient.ts';
import { looksLikeHtml } from '../faults/errorBody.ts';
import { emptyReplyError, type Purpose, webPageError } from '../faults/replyErrors.ts';
import { type Reply, requestOf } from '../http/reply.ts';
import { readBody } from '../transport/bodies.ts';

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
const MEDIA_TYPES = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

const ACCEPTED_MANIFESTS = MEDIA_TYPES.join(', ');
/** distribution-spec, Pushing manifests: registries should accept manifests up to this size, and larger ones are not in use. */
const MOST_BYTES = 4 * 1024 * 1024;

/** Returns the `Docker-Content-Digest` header; undefined if it is missing or not a digest. */
export function announcedDigest({ headers }: Reply): Digest | undefined {
  const text = headers['docker-content-digest']?.toString().trim();
  return text !== undefined && isDigest(text) ? text : undefined;
}

/** Returns a request for a manifest or index by its digest, else by its tag. `writes`: as part of a push. */
export function manifestRequest(reference: Reference, method: 'GET' | 'HEAD', writes = false): RegistryRequest {
  const wanted = reference.digest ?? reference.tag ?? '';
  return {
    ...requestFor(reference, { what: 'manifest', wanted, writes }),
    method,
    path: `manifests/${wanted}`,
    headers: { accept: ACCEPTED_MANIFESTS },
  };
}

/**
 * Reads a manifest or index of at most 4 MiB and checks it against the reference's digest and the announced one.
 * @throws RegistryDigestMismatch, RegistryProtocol, ImageTypeUnsupported, and what readBody throws
 */
export async function readManifest(
  reply: Reply,
  reference: Reference,
  purpose: Purpose,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<RawManifest> {
  const bytes = await readBody(reply, MOST_BYTES, timeoutMs, signal);
  const text = bytes.toString('utf8');
  const contentType = reply.headers['content-type']?.toString();
  const details = { subject: purpose.subject, status: reply.status, request: requestOf(reply) };
  if (bytes.length === 0) throw emptyReplyError(reply, purpose);
  if (looksLikeHtml(text, contentType)) throw webPageError(reply, purpose.subject);
  const announced = announcedDigest(reply);
  for (const [expected, by] of [
    [reference.digest, 'the requested digest'],
    [announced, 'the digest that the registry announced'],
  ] as const) {
    if (expected === undefined) continue;
    const found = digestOf(bytes, expected);
    if (found !== expected)
      throw new RegistryDigestMismatch(`The manifest of ${purpose.subject} does not hash to ${by}`, {
        ...details,
        expected,
        found,
        // A broken proxy on the way, or a tag that moved between header and body: it rarely happens twice.
        temporary: true,
        retryLimit: 3,
        hint: 'The bytes were changed on the way, or the registry is damaged: do not use them. Try again, or use another network.',
      });
  }
  const mediaType = mediaTypeOf(text, contentType, details);
  return { bytes, mediaType, digest: reference.digest ?? announced ?? digestOf(bytes) };
}

/** The Content-Type decides; if it is a general one such as `application/json`, the manifest's own member does. */
function mediaTypeOf(
  text: string,
  contentType: string | undefined,
  details: { readonly subject: string; readonly status: number; readonly request: string },
): string {
  let json: Record<string, unknown>;
  try {
    json = Object(parseBoundedJson(text)) as Record<string, unknown>;
  } catch (error) {
    throw new RegistryProtocol(`The manifest of ${details.subject} is not JSON`, {
      ...details,
      found: shortLine(text, 60) || 'text without letters',
      temporary: true,
      retryLimit: 2,
      hint: 'Check that the host is an OCI registry, and that no proxy answers in its place.',
      cause: error,
    });
  }
  const header = contentType?.split(';')[0]?.trim().toLowerCase() ?? '';
  const own = typeof json.mediaType === 'string' ? json.mediaType : '';
  if (/^application\/vnd\.docker\.distribution\.manifest\.v1\+/.test(header) || json.schemaVersion === 1)
    throw new ImageTypeUnsupported(`${details.subject} has Docker's old schema 1, whose content cannot be verified`, {
      subject: details.subject,
      expected: 'an OCI or Docker schema 2 manifest',
      found: 'schema 1',
      hint: 'Push the image again with a current docker, buildx or oras.',
    });
  return (
    [header, own].find(type => MEDIA_TYPES.includes(type)) ??
    (Array.isArray(json.manifests) ? OCI_INDEX : Array.isArray(json.layers) ? OCI_MANIFEST : own || header)
  );
}
