import { z } from 'zod';
import { lockedAnnotationKeys, lockedDigest, lockVersion } from './format.ts';

/** The shape of manifest.lock.json. An `error` is what a problem says was expected. */

const digestRule = 'sha256: and 64 lower-case hex digits (or sha512: and 128)';
const digest = z.string({ error: digestRule }).regex(lockedDigest, { error: digestRule });
const hex = z
  .string({ error: '64 lower-case hex digits' })
  .regex(/^[0-9a-f]{64}$/, { error: '64 lower-case hex digits' });
const sha256 = hex.describe('sha256 of plugin.wasm.');
const aSize = 'a whole number of bytes';
const size = z.int({ error: aSize }).nonnegative({ error: aSize });
const text = z.string({ error: 'text' });

const annotations = z
  .strictObject(Object.fromEntries(lockedAnnotationKeys.map(key => [key, text.optional()])), {
    error: 'an object of annotations',
  })
  .optional()
  .describe('What the image says of itself.');

const layer = z
  .strictObject({ digest, mediaType: text, sizeBytes: size }, { error: 'an object' })
  .describe('The layer that holds plugin.wasm, as it is stored in the registry.');

const signature = z
  .strictObject(
    {
      policy: hex.describe('Fingerprint of the policy that was satisfied.'),
      signer: text.describe('Who signed.'),
      digest: digest.describe('What was signed: the index or the manifest.'),
    },
    { error: 'an object' },
  )
  .describe('The signature that the manifest’s policy asked for, verified when the image was mirrored.');

const image = z.strictObject(
  {
    reference: text.describe('What the manifest asked for: HOST/REPOSITORY:TAG, with @DIGEST if it is pinned there.'),
    digest: digest.describe('What the reference resolved to; an index’s digest where there is one.'),
    platform: text.optional().describe('os/architecture[/variant], if an index was followed.'),
    layer,
    sha256,
    sizeBytes: size.describe('Size of plugin.wasm.'),
    signature: signature.optional(),
    annotations,
  },
  { error: 'an object' },
);

const file = z.strictObject(
  {
    file: text.describe('Path of the local module as the manifest says it.'),
    sha256,
    sizeBytes: size.describe('Size of plugin.wasm.'),
  },
  { error: 'an object' },
);

const entry = z.union([image, file], { error: 'an object with "reference" or "file"' });

export const lockSchema = z
  .strictObject(
    {
      $schema: text.optional(),
      lockVersion: z.literal(lockVersion, { error: String(lockVersion) }),
      plugins: z
        .record(z.string(), z.record(z.string(), entry, { error: 'an object of version → entry' }), {
          error: 'an object of plugin name → versions',
        })
        .describe('Plugin name → version → the exact image and bytes.'),
    },
    { error: 'an object with "lockVersion" and "plugins"' },
  )
  .meta({
    title: 'plugin-mirror lock',
    description:
      'Exactly which images and bytes a manifest resolved to. Written by plugin-mirror sync; not for editing by hand.',
  });

/** Keys allowed in an object at this depth of the document; undefined where any key is. */
export function lockKeysAt(path: readonly (string | number)[]): readonly string[] | undefined {
  if (path.length === 0) return Object.keys(lockSchema.shape);
  if (path.length === 3) return [...new Set([...Object.keys(image.shape), ...Object.keys(file.shape)])];
  if (path.length !== 4) return undefined;
  if (path[3] === 'layer') return Object.keys(layer.shape);
  if (path[3] === 'signature') return ['policy', 'signer', 'digest'];
  return lockedAnnotationKeys;
}
