import { existsSync } from 'node:fs';
import { basename, dirname, isAbsolute, relative } from 'node:path';
import { lockfilePath } from '../../mirror/lockfile/lockfile.ts';
import { namedFiles, readManifestText, readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { OptionInvalid } from '../options/errors.ts';

/**
 * Returns a Dockerfile for a folder that has a manifest, its lockfile and the files that the manifest names, and nothing of
 * plugin-mirror. Its base is the image of the target `program` of our own Dockerfile (docs/image.md).
 * @throws OptionInvalid if the manifest names a file outside of its folder; ManifestInvalid
 */
export async function dockerfileFor(manifest: string, version: string): Promise<string> {
  const name = basename(manifest);
  const sync = ['plugin-mirror', 'sync', '--frozen', '--manifest', `/context/${name}`, '--tree', '/tmp/plugins'];
  const copies = [
    [name, basename(lockfilePath(manifest)), '/context/'],
    ...(await filesBeside(manifest)).map(file => [file, `/context/${file}`]),
  ];
  // In the JSON form a name may have spaces.
  return `# An image that serves the plugins of the manifest next to this file:
#   docker build -t IMAGE --build-arg PROGRAM=REGISTRY/plugin-mirror:program .
# PROGRAM is the image of plugin-mirror without plugins. The default is what this makes in a checkout of plugin-mirror:
#   docker build -t plugin-mirror:${version}-program --target program .
ARG PROGRAM=plugin-mirror:${version}-program
FROM --platform=$BUILDPLATFORM \${PROGRAM} AS sync
${copies.map(paths => `COPY ${JSON.stringify(paths)}`).join('\n')}
RUN ${JSON.stringify(sync)}
FROM \${PROGRAM}
COPY --from=sync /tmp/plugins/ /usr/share/nginx/html/plugins/
`;
}

/** Returns the local modules, keys and trusted roots of a manifest that exists, relative to its folder. */
async function filesBeside(manifest: string): Promise<string[]> {
  if (!existsSync(manifest)) return [];
  const named = namedFiles(await readPluginManifest(manifest), await readManifestText(manifest));
  return [...named].map(([written, absolute]) => {
    const path = relative(dirname(manifest), absolute).replaceAll('\\', '/');
    if (!path.startsWith('../') && !isAbsolute(path)) return path;
    throw new OptionInvalid(`The manifest names ${written}, which is outside of its folder`, {
      subject: written,
      expected: 'files in the folder of the manifest: a Docker build reads no others',
      found: absolute,
      hint: 'Copy the file into that folder, and change its path in the manifest.',
    });
  });
}
