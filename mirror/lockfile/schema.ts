import * as v from 'valibot';
import { A_DIGEST, DIGEST } from '../../base/digest.ts';
import { oneOf, record, strictObject } from '../../base/strictSchema.ts';

/** The schema of manifest.lock.json. Each message is what a problem reports as expected. */

export const lockVersion = 1;

/** The image annotations worth reviewing next to a digest (OCI image-spec, annotations.md), in this order. */
export const lockedAnnotationKeys = [
  'org.opencontainers.image.created',
  'org.opencontainers.image.revision',
  'org.opencontainers.image.source',
  'org.opencontainers.image.version',
] as const;

const digest = v.pipe(v.string(A_DIGEST), v.regex(DIGEST, A_DIGEST));
const hex = v.pipe(v.string('64 lower-case hex digits'), v.regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits'));
const sha256 = v.pipe(hex, v.description('sha256 of plugin.wasm.'));
const aSize = 'a whole number of bytes';
const size = v.pipe(v.number(aSize), v.safeInteger(aSize), v.minValue(0, aSize));
const moduleSize = v.pipe(size, v.description('Size of plugin.wasm.'));
const text = v.string('text');

const annotations = v.pipe(
  strictObject(
    Object.fromEntries(lockedAnnotationKeys.map(key => [key, v.exactOptional(text)])),
    'an object of annotations',
  ),
  v.description('Annotations of the image.'),
);

const layer = v.pipe(
  strictObject({ digest, mediaType: text, sizeBytes: size }, 'an object'),
  v.description('The layer that contains plugin.wasm, as it is stored in the registry.'),
);

const signature = v.pipe(
  strictObject(
    {
      policy: v.pipe(hex, v.description('Fingerprint of the policy that was satisfied.')),
      signer: v.pipe(text, v.description('The signer.')),
      digest: v.pipe(digest, v.description('The digest that was signed: of the index or of the manifest.')),
    },
    'an object',
  ),
  v.description('The signature that the manifest’s policy requires, verified when the image was mirrored.'),
);

const image = strictObject(
  {
    reference: v.pipe(
      text,
      v.description('What the manifest asked for: HOST/REPOSITORY:TAG, with @DIGEST if it is pinned there.'),
    ),
    digest: v.pipe(digest, v.description('What the reference resolved to; the digest of an index if there is one.')),
    platform: v.exactOptional(v.pipe(text, v.description('os/architecture[/variant], if an index was followed.'))),
    layer,
    sha256,
    sizeBytes: moduleSize,
    signature: v.exactOptional(signature),
    annotations: v.exactOptional(annotations),
  },
  'an object',
);

const file = strictObject(
  {
    file: v.pipe(text, v.description('Path of the local module, as in the manifest.')),
    sha256,
    sizeBytes: moduleSize,
  },
  'an object',
);

export const lockfileSchema = v.pipe(
  strictObject(
    {
      $schema: v.exactOptional(text),
      lockVersion: v.literal(lockVersion, String(lockVersion)),
      plugins: v.pipe(
        record(
          v.string(),
          record(
            v.string(),
            oneOf([image, file], 'an object with "reference" or "file"'),
            'an object of version → entry',
          ),
          'an object of plugin name → versions',
        ),
        v.description('Plugin name → version → the exact image and bytes.'),
      ),
    },
    'an object with "lockVersion" and "plugins"',
  ),
  v.title('plugin-mirror lock'),
  v.description(
    'The exact images and bytes that a manifest resolved to. Written by plugin-mirror sync; not to be edited by hand.',
  ),
);

/** manifest.lock.json as parsed JSON. */
export type WrittenLockfile = v.InferOutput<typeof lockfileSchema>;

/** Keys that an object at this path may have; undefined where any key is allowed. */
export function lockfileKeysAt(path: readonly (string | number)[]): readonly string[] | undefined {
  if (path.length === 0) return Object.keys(lockfileSchema.entries);
  if (path.length === 3) return [...new Set([...Object.keys(image.entries), ...Object.keys(file.entries)])];
  if (path.length !== 4) return undefined;
  if (path[3] === 'layer') return Object.keys(layer.entries);
  if (path[3] === 'signature') return Object.keys(signature.entries);
  return lockedAnnotationKeys;
}
