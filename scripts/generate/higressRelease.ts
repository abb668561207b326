import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import * as v from 'valibot';
import { parse } from 'yaml';

/*
 * Writes higress/console/<release>.json from a checkout of higress-console at the tag of that release, and the digests of its
 * images from Higress' snapshot of plugins where there is one:
 * `npx tsx scripts/generate/higressRelease.ts --release 2.2.5 ../higress-console [snapshot.json]`.
 */

const PLUGINS = 'backend/sdk/src/main/resources/plugins';
const REGISTRY = 'oci://higress-registry.cn-hangzhou.cr.aliyuncs.com/';

const text = (description: string) => v.pipe(v.string(), v.minLength(1), v.description(description));

/** higress/release.schema.json: the files of higress/console, without `release` those of other parts of Higress. */
export const releaseSchema = v.strictObject({
  release: v.exactOptional(text('As in the tag of higress-console, without v; a rebuilt release has a suffix.')),
  plugins: v.pipe(
    v.record(
      v.string(),
      v.strictObject({
        version: text('The version in the URL, info.version of the plugin’s spec.yaml.'),
        image: v.exactOptional(text('REPOSITORY:TAG in the Higress registry. Default: plugins/NAME:VERSION.')),
        category: v.exactOptional(text('info.category of its spec.yaml.')),
        gateway: v.exactOptional(text('The oldest gateway, info.gatewayMinVersion of its spec.yaml.')),
        digest: v.exactOptional(
          v.pipe(text('Of the image when the release was made.'), v.regex(/^sha256:[0-9a-f]{64}$/)),
        ),
      }),
    ),
    v.description('The name in the URL, and what belongs to it.'),
  ),
});

/** The part of a plugin's spec.yaml that the data has. */
interface Info {
  readonly name?: string;
  readonly version?: string;
  readonly category?: string;
  readonly gatewayMinVersion?: string;
}

/**
 * Returns the text of higress/console/<release>.json. The Console replaces `${name}` and `${version}` of its pattern by
 * `info.name` and `info.version` of the plugin's spec.yaml; its image is in plugins.properties.
 * @throws Error with the plugin, for one whose image, name or version is missing or is in another registry
 */
export async function releaseText(release: string, checkout: string, snapshot?: string): Promise<string> {
  const digests = snapshot === undefined ? new Map<string, string>() : await digestsIn(snapshot);
  const folder = join(checkout, PLUGINS);
  const lines = (await readFile(join(folder, 'plugins.properties'), 'utf8')).split('\n').map(line => line.trim());
  const plugins = new Map<string, string>();
  for (const line of lines.filter(text => text !== '' && !text.startsWith('#'))) {
    const [key = '', image = ''] = line.split(/=(.*)/s);
    // A schema in one of them has a key twice, which the Console accepts.
    const spec = parse(await readFile(join(folder, key, 'spec.yaml'), 'utf8'), { uniqueKeys: false });
    const { info } = spec as { readonly info?: Info };
    if (!image.startsWith(REGISTRY)) throw new Error(`${key}: ${image} is in another registry than ${REGISTRY}`);
    if (!info?.name || !info.version) throw new Error(`${key}: its spec.yaml has no info.name or info.version`);
    plugins.set(info.name, spaced(entry(info, image.slice(REGISTRY.length), digests.get(image))));
  }
  const entries = [...plugins].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `    "${name}": ${value}`);
  return `{\n  "release": "${release}",\n  "plugins": {\n${entries.join(',\n')}\n  }\n}\n`;
}

/** Without an image where it is plugins/<name> with the version as its tag. */
function entry({ name, version, category, gatewayMinVersion }: Info, image: string, digest?: string): object {
  return {
    version,
    ...(image === `plugins/${name}:${version}` ? {} : { image }),
    ...(category ? { category } : {}),
    ...(gatewayMinVersion ? { gateway: gatewayMinVersion } : {}),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** Image, with oci://, to the digest that its tag led to. */
async function digestsIn(snapshot: string): Promise<Map<string, string>> {
  const { plugins } = JSON.parse(await readFile(snapshot, 'utf8')) as {
    readonly plugins: readonly { readonly ociRef: string; readonly digest: string }[];
  };
  return new Map(plugins.map(({ ociRef, digest }) => [`oci://${ociRef.replace(/^oci:\/\//, '')}`, digest]));
}

/** Returns a flat object as `{ "key": "value" }`, on one line. */
function spaced(object: object): string {
  return `{ ${Object.entries(object)
    .map(([key, value]) => `"${key}": ${JSON.stringify(value)}`)
    .join(', ')} }`;
}

if (import.meta.filename === process.argv[1]) {
  const [option, release, checkout, snapshot] = process.argv.slice(2);
  if (option !== '--release' || release === undefined || checkout === undefined) {
    console.error('usage: npx tsx scripts/generate/higressRelease.ts --release NAME CHECKOUT [SNAPSHOT]');
    process.exit(2);
  }
  const file = resolve(import.meta.dirname, `../../higress/console/${release}.json`);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, await releaseText(release, checkout, snapshot));
}
