import * as v from 'valibot';
import { DIGEST_PATTERN } from '../../base/digest.ts';
import { oneOf, record, strictObject } from '../../base/strictSchema.ts';
import { defaultRegistry } from './wanted.ts';

/**
 * The schema of manifest.json: its types and keys, in every run, and manifest.schema.json for editors. Each message is what
 * a problem reports as expected. What a text must be (a version that stays inside the tree, an alias of an existing version)
 * is validated by parsePluginManifest, which has better messages: the patterns here are only for editors.
 */

const versionPattern = '(?!\\.)[A-Za-z0-9._~+:-]{1,128}';
const registryPattern = '^[A-Za-z0-9.\\[\\]:-]+(/[a-z0-9._/-]+)?$';
const versionKey = v.pipe(v.string(), v.metadata({ pattern: `^${versionPattern}$` }));

const text = (message: string) => v.pipe(v.string(message), v.nonEmpty(message));

const version = v.pipe(
  v.string('a version in double quotes, such as "2.0.1"'),
  v.metadata({
    pattern: `^${versionPattern}(@${DIGEST_PATTERN})?$`,
    description: 'A version as clients request it. "2.0.1@sha256:…" pins it to that image digest.',
    examples: ['2.0.1'],
  }),
);

const versions = v.pipe(
  v.array(version, 'a list of versions, such as ["2.0.1"]'),
  v.nonEmpty('at least one version'),
  v.metadata({ uniqueItems: true }),
);

const details = v.pipe(
  strictObject(
    {
      versions: v.pipe(
        versions,
        v.description('Every version to publish, each under plugins/NAME/VERSION/plugin.wasm.'),
      ),
      image: v.exactOptional(
        v.pipe(
          text('an image, such as "plugins/ai-proxy"'),
          v.metadata({
            description:
              'Repository of the image. If its first part is a host (harbor.example.com/team/x) it is complete, otherwise it is relative to `registry`. With one version it may end in @sha256:… to pin it. Default: plugins/NAME.',
            examples: ['plugins/jsonrpc-converter', 'harbor.example.com/team/my-plugin'],
          }),
        ),
      ),
      file: v.exactOptional(
        v.pipe(
          text('the path of a Wasm module'),
          v.metadata({
            description: 'A local Wasm module instead of an image; relative to the folder of this file.',
            examples: ['./local/main.wasm'],
          }),
        ),
      ),
      tags: v.exactOptional(
        v.pipe(
          record(
            versionKey,
            text('a tag, a digest or an image'),
            'an object of version → tag, such as {"1.2.3": "v1.2.3"}',
          ),
          v.metadata({
            description:
              'For images whose tag is not the version: version → tag ("v1.2.3"), tag and digest ("v1.2.3@sha256:…"), digest ("sha256:…"), or the whole image of that one version ("mcp-server/all-in-one:1.0.0").',
            examples: [{ '1.2.3': 'v1.2.3' }],
          }),
        ),
      ),
      aliases: v.exactOptional(
        v.pipe(
          record(
            versionKey,
            v.pipe(v.string('one of the versions, in double quotes'), v.metadata({ pattern: `^${versionPattern}$` })),
            'an object of alias → version, such as {"1.0.0": "2.0.0"}',
          ),
          v.metadata({
            description: 'Further version paths to the same bytes: alias → one of the versions (or another alias).',
            examples: [{ '1.0.0': '2.0.0' }],
          }),
        ),
      ),
    },
    'a version, a list of versions, or an object',
  ),
  v.description('A plugin with an image, tags or aliases of its own.'),
);

const plugin = v.pipe(
  oneOf([version, versions, details], 'a version, a list of versions, or an object'),
  v.description('A version, a list of versions, or an object.'),
);

const glob = text('a glob over HOST/REPOSITORY');

const signaturePolicy = v.pipe(
  strictObject(
    {
      images: v.exactOptional(
        v.pipe(
          oneOf(
            [glob, v.pipe(v.array(glob, 'a glob or a list of globs'), v.nonEmpty('at least one glob'))],
            'a glob or a list of globs',
          ),
          v.metadata({
            description:
              'The images that this policy applies to: globs over HOST/REPOSITORY, "**" crosses slashes. Of several policies the first that matches applies. Default: every image.',
            examples: ['harbor.example.com/team/**'],
          }),
        ),
      ),
      key: v.exactOptional(
        v.pipe(
          text('the path of a public key'),
          v.description('The signer’s public key in PEM, such as cosign.pub; relative to the folder of this file.'),
        ),
      ),
      identity: v.exactOptional(
        v.pipe(
          text('the identity in the signer’s certificate'),
          v.metadata({
            description: 'Keyless: the identity in the certificate, exactly. Needs "issuer" and "trustedRoot".',
            examples: ['https://github.com/team/plugins/.github/workflows/release.yaml@refs/heads/main'],
          }),
        ),
      ),
      identityPattern: v.exactOptional(
        v.pipe(
          text('a regular expression for the whole identity'),
          v.metadata({
            description:
              'Keyless: a regular expression that must match the whole identity. Needs "issuer" and "trustedRoot".',
            examples: ['https://github\\.com/team/.*'],
          }),
        ),
      ),
      issuer: v.exactOptional(
        v.pipe(
          text('the OIDC issuer'),
          v.metadata({
            description: 'Keyless: the OIDC issuer that confirmed the identity, exactly.',
            examples: ['https://token.actions.githubusercontent.com'],
          }),
        ),
      ),
      trustedRoot: v.exactOptional(
        v.pipe(
          text('the path of a trusted_root.json'),
          v.description(
            'Sigstore’s trusted root in JSON; relative to the folder of this file, never downloaded. With "key" it requires an entry in its transparency log.',
          ),
        ),
      ),
      unsigned: v.exactOptional(v.pipe(v.literal(true, 'true'), v.description('These images need no signature.'))),
    },
    'a policy, or a list of policies',
  ),
  v.description('Who must have signed an image (cosign): "key", or "identity" or "identityPattern", or "unsigned".'),
);

export const manifestSchema = v.pipe(
  strictObject(
    {
      $schema: v.exactOptional(
        v.pipe(
          v.string('the path of manifest.schema.json'),
          v.description('For editors: the path of manifest.schema.json.'),
        ),
      ),
      registry: v.exactOptional(
        v.pipe(
          v.string('a registry, HOST or HOST/PREFIX'),
          v.metadata({
            pattern: registryPattern,
            default: defaultRegistry,
            description: 'HOST or HOST/PREFIX of every image that names no host itself.',
          }),
        ),
      ),
      plugins: v.pipe(
        record(
          v.pipe(v.string(), v.metadata({ pattern: '^(?!\\.)[A-Za-z0-9._~+@-]{1,128}$' })),
          plugin,
          'an object of plugin name → versions',
        ),
        v.metadata({ minProperties: 1, description: 'Plugin name, as in the URL, → what to mirror of it.' }),
      ),
      mirrors: v.exactOptional(
        v.pipe(
          record(
            v.string(),
            v.array(
              v.pipe(v.string('a registry, HOST or HOST/PREFIX'), v.metadata({ pattern: registryPattern })),
              'a list of registries, each HOST or HOST/PREFIX',
            ),
            'an object of registry host → list of registries',
          ),
          v.metadata({
            description:
              'Mirrors to try first: registry host → HOST[/PREFIX], in order, then the registry itself. Digests are verified in any case.',
            examples: [{ [defaultRegistry]: ['harbor.local/higress'] }],
          }),
        ),
      ),
      signatures: v.exactOptional(
        v.pipe(
          oneOf(
            [
              signaturePolicy,
              v.pipe(v.array(signaturePolicy, 'a policy, or a list of policies'), v.nonEmpty('at least one policy')),
            ],
            'a policy, or a list of policies',
          ),
          v.description(
            'Who must have signed the images. An image that does not satisfy it is not published. Local files are no images and are not checked.',
          ),
        ),
      ),
    },
    'an object with "plugins"',
  ),
  v.title('plugin-mirror manifest'),
  v.description('Which Higress Wasm plugins to mirror, in which versions, from which registries.'),
);

/** Keys that an object at this path may have; undefined where any key is allowed. */
export function manifestKeysAt(path: readonly (string | number)[]): readonly string[] | undefined {
  if (path.length === 0) return Object.keys(manifestSchema.entries);
  if (path[0] === 'signatures') return path.length < 3 ? Object.keys(signaturePolicy.entries) : undefined;
  return path.length === 2 && path[0] === 'plugins' ? Object.keys(details.entries) : undefined;
}
