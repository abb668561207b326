import { createHash } from 'node:crypto';
import type { RawManifest } from '../../engine.ts';
import { ImageTypeUnsupported, RegistryDigestMismatch, RegistryProtocol } from '../../errors.ts';
import { printable } from '../../hosts/redact.ts';
import { type Digest, isDigest, type Reference } from '../../reference.ts';
import { type Asked, refusePortal } from '../faults/answerFaults.ts';
import { looksLikeHtml } from '../faults/diagnostics.ts';
import { readBody, requestOf } from '../transport/bodies.ts';
import type { HttpAnswer } from '../transport/transport.ts';

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
const MEDIA_TYPES = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

export const ACCEPTED_MANIFESTS = MEDIA_TYPES.join(', ');
/** distribution-spec, Pushing manifests: what registries must take at least, and what nobody sends more than. */
const MOST_BYTES = 4 * 1024 * 1024;

/** `Docker-Content-Digest`, if it is there and a digest. */
export function announcedDigest({ headers }: HttpAnswer): Digest | undefined {
  const text = headers['docker-content-digest']?.toString().trim();
  return text !== undefined && isDigest(text) ? text : undefined;
}

/** Reads a manifest or index and checks it against the digest that was asked for and the one that was announced. */
export async function readManifest(
  answer: HttpAnswer,
  reference: Reference,
  asked: Asked,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<RawManifest> {
  const bytes = await readBody(answer, MOST_BYTES, timeoutMs, signal);
  const text = bytes.toString('utf8');
  const contentType = answer.headers['content-type']?.toString();
  const details = { subject: asked.subject, status: answer.status, request: requestOf(answer) };
  if (looksLikeHtml(text, contentType)) throw refusePortal(answer.request.url.host, details);
  const announced = announcedDigest(answer);
  for (const [expected, by] of [
    [reference.digest, 'the digest asked for'],
    [announced, 'the digest that the registry announced'],
  ] as const) {
    if (expected === undefined) continue;
    const found = digestOf(bytes, expected);
    if (found !== expected)
      throw new RegistryDigestMismatch(`The manifest of ${asked.subject} does not hash to ${by}`, {
        ...details,
        expected,
        found,
        // A broken proxy on the way, or a tag that moved between header and body: rarely twice.
        temporary: true,
        retryLimit: 3,
        hint: 'The answer was changed on the way, or the registry is damaged: do not use it; try again, or another network.',
      });
  }
  const mediaType = mediaTypeOf(text, contentType, details);
  return { bytes, mediaType, digest: reference.digest ?? announced ?? digestOf(bytes, 'sha256:') };
}

function digestOf(bytes: Buffer, like: string): Digest {
  const algorithm = like.startsWith('sha512:') ? 'sha512' : 'sha256';
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** The header decides; registries that send a general one (`application/json`) are helped by the manifest's own member. */
function mediaTypeOf(
  text: string,
  contentType: string | undefined,
  details: { readonly subject: string; readonly status: number; readonly request: string },
): string {
  let json: Record<string, unknown>;
  try {
    json = Object(JSON.parse(text)) as Record<string, unknown>;
  } catch (error) {
    throw new RegistryProtocol(`The manifest of ${details.subject} is not JSON`, {
      ...details,
      found: printable(text, 60) || 'an empty answer',
      temporary: true,
      retryLimit: 2,
      hint: 'Check that the host is an OCI registry, and that no proxy answers for it.',
      cause: error,
    });
  }
  const header = contentType?.split(';')[0]?.trim().toLowerCase() ?? '';
  const own = typeof json.mediaType === 'string' ? json.mediaType : '';
  if (/^application\/vnd\.docker\.distribution\.manifest\.v1\+/.test(header) || json.schemaVersion === 1)
    throw new ImageTypeUnsupported(
      `${details.subject} is an image of Docker's old schema 1, which no longer can be trusted`,
      {
        subject: details.subject,
        expected: 'an OCI or Docker schema 2 manifest',
        found: 'schema 1',
        hint: 'Push the image again with a current docker, buildx or oras.',
      },
    );
  return (
    [header, own].find(type => MEDIA_TYPES.includes(type)) ??
    (Array.isArray(json.manifests) ? OCI_INDEX : Array.isArray(json.layers) ? OCI_MANIFEST : own || header)
  );
}
