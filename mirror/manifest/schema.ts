import { z } from 'zod';
import { defaultRegistry } from './wanted.ts';

/**
 * The shape of manifest.json: types and keys. What the texts say (a version that could leave the tree, an alias that
 * leads nowhere) is judged by parsePluginManifest, which knows the place and has better words; the patterns here are for
 * editors. An `error` is what a problem says was expected.
 */

// Kept as metadata, not as checks: a text that breaks one is reported once, by the parser.
const nameMeta = { pattern: '^(?!\\.)[A-Za-z0-9._~+@-]{1,128}$' };
const digestPattern = '(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})';
const versionPattern = '(?!\\.)[A-Za-z0-9._~+:-]{1,128}';
const versionMeta = { pattern: `^${versionPattern}$` };
const placePattern = '^[A-Za-z0-9.\\[\\]:-]+(/[a-z0-9._/-]+)?$';

const version = z.string({ error: 'a version in double quotes, such as "2.0.1"' }).meta({
  pattern: `^${versionPattern}(@${digestPattern})?$`,
  description: 'A version as consumers ask for it. "2.0.1@sha256:…" pins it to that image digest.',
  examples: ['2.0.1'],
});

const versions = z
  .array(version, { error: 'a list of versions, such as ["2.0.1"]' })
  .min(1, { error: 'at least one version' })
  .meta({ uniqueItems: true });

const details = z
  .strictObject(
    {
      versions: versions.describe('Every version to publish, each under plugins/NAME/VERSION/plugin.wasm.'),
      image: z
        .string({ error: 'an image, such as "plugins/ai-proxy"' })
        .min(1, { error: 'an image, such as "plugins/ai-proxy"' })
        .optional()
        .meta({
          description:
            'Repository of the image. A first part that is a host (harbor.example.com/team/x) is taken whole, anything else lies in `registry`. With one version it may end in @sha256:… to pin it. Default: plugins/NAME.',
          examples: ['plugins/jsonrpc-converter', 'harbor.example.com/team/my-plugin'],
        }),
      file: z
        .string({ error: 'the path of a Wasm module' })
        .min(1, { error: 'the path of a Wasm module' })
        .optional()
        .meta({
          description: 'A local Wasm module instead of an image; relative to the folder of this file.',
          examples: ['./local/main.wasm'],
        }),
      tags: z
        .record(
          z.string().meta(versionMeta),
          z.string({ error: 'a tag, a digest or an image' }).min(1, { error: 'a tag, a digest or an image' }),
          { error: 'an object of version → tag, such as {"1.2.3": "v1.2.3"}' },
        )
        .optional()
        .meta({
          description:
            'Where the image is not tagged as its version: version → tag ("v1.2.3"), tag and digest ("v1.2.3@sha256:…"), digest ("sha256:…"), or the whole image of that one version ("mcp-server/all-in-one:1.0.0").',
          examples: [{ '1.2.3': 'v1.2.3' }],
        }),
      aliases: z
        .record(
          z.string().meta(versionMeta),
          z.string({ error: 'one of the versions, in double quotes' }).meta(versionMeta),
          { error: 'an object of alias → version, such as {"1.0.0": "2.0.0"}' },
        )
        .optional()
        .meta({
          description: 'Further version paths to the same bytes: alias → one of the versions (or another alias).',
          examples: [{ '1.0.0': '2.0.0' }],
        }),
    },
    { error: 'a version, a list of versions, or an object' },
  )
  .describe('A plugin with an image, tags or aliases of its own.');

const plugin = z
  .union([version, versions, details], { error: 'a version, a list of versions, or an object' })
  .describe('A version, a list of versions, or an object.');

const aGlob = z.string({ error: 'a glob over HOST/REPOSITORY' }).min(1, { error: 'a glob over HOST/REPOSITORY' });
const fileText = (error: string) => z.string({ error }).min(1, { error }).optional();

const signaturePolicy = z
  .strictObject(
    {
      images: z
        .union([aGlob, z.array(aGlob).min(1, { error: 'at least one glob' })], { error: 'a glob or a list of globs' })
        .optional()
        .meta({
          description:
            'Which images it governs: globs over HOST/REPOSITORY, "**" crosses slashes. Of several policies the first that fits counts. Default: every image.',
          examples: ['harbor.example.com/team/**'],
        }),
      key: fileText('the path of a public key').describe(
        'The signer’s public key in PEM, such as cosign.pub; relative to the folder of this file.',
      ),
      identity: fileText('the identity in the signer’s certificate').meta({
        description: 'Keyless: whom the certificate names, exactly. Needs "issuer" and "trustedRoot".',
        examples: ['https://github.com/team/plugins/.github/workflows/release.yaml@refs/heads/main'],
      }),
      identityPattern: fileText('a regular expression for the whole identity').meta({
        description:
          'Keyless: a regular expression that the whole identity must fit. Needs "issuer" and "trustedRoot".',
        examples: ['https://github\\.com/team/.*'],
      }),
      issuer: fileText('the OIDC issuer').meta({
        description: 'Keyless: who vouched for the identity, exactly.',
        examples: ['https://token.actions.githubusercontent.com'],
      }),
      trustedRoot: fileText('the path of a trusted_root.json').describe(
        'Sigstore’s trusted root in JSON; relative to the folder of this file, never fetched. Beside "key" it demands an entry in its transparency log.',
      ),
      unsigned: z.literal(true, { error: 'true' }).optional().describe('These images may come unsigned.'),
    },
    { error: 'a policy, or a list of policies' },
  )
  .describe('Who must have signed an image (cosign): "key", or "identity" or "identityPattern", or "unsigned".');

export const manifestSchema = z
  .strictObject(
    {
      $schema: z
        .string({ error: 'the path of manifest.schema.json' })
        .optional()
        .describe('For editors: where manifest.schema.json lies.'),
      registry: z.string({ error: 'a registry, HOST or HOST/PREFIX' }).optional().meta({
        pattern: placePattern,
        default: defaultRegistry,
        description: 'HOST or HOST/PREFIX of every image that names no host itself.',
      }),
      plugins: z
        .record(z.string().meta(nameMeta), plugin, { error: 'an object of plugin name → versions' })
        .meta({ minProperties: 1, description: 'Plugin name, as it stands in the URL, → what to mirror of it.' }),
      mirrors: z
        .record(
          z.string(),
          z.array(z.string({ error: 'a registry, HOST or HOST/PREFIX' }).meta({ pattern: placePattern }), {
            error: 'a list of registries, each HOST or HOST/PREFIX',
          }),
          { error: 'an object of registry host → list of registries' },
        )
        .optional()
        .meta({
          description:
            'Other places to ask first: registry host → HOST[/PREFIX], tried in order before the registry itself. Digests are verified all the same.',
          examples: [{ [defaultRegistry]: ['harbor.local/higress'] }],
        }),
      signatures: z
        .union([signaturePolicy, z.array(signaturePolicy).min(1, { error: 'at least one policy' })], {
          error: 'a policy, or a list of policies',
        })
        .optional()
        .describe(
          'Who must have signed the images. What does not satisfy it is not published. Local files are no images and are not checked.',
        ),
    },
    { error: 'an object with "plugins"' },
  )
  .meta({
    title: 'plugin-mirror manifest',
    description: 'Which Higress Wasm plugins to mirror, in which versions, from where.',
  });

/** Keys allowed in an object at this depth of the document; undefined where any key is. */
export function manifestKeysAt(path: readonly (string | number)[]): readonly string[] | undefined {
  if (path.length === 0) return Object.keys(manifestSchema.shape);
  if (path[0] === 'signatures') return path.length < 3 ? Object.keys(signaturePolicy.shape) : undefined;
  return path.length === 2 && path[0] === 'plugins' ? Object.keys(details.shape) : undefined;
}
