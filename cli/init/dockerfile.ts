import { existsSync } from 'node:fs';
import { basename, dirname, isAbsolute, relative, sep } from 'node:path';
import { lockfilePath } from '../../mirror/lockfile/lockfile.ts';
import { namedFiles, parsePluginManifest, readManifestText } from '../../mirror/manifest/readManifest.ts';
import { OptionInvalid } from '../options/errors.ts';

/**
 * Returns a Dockerfile for a folder that has a manifest, its lockfile and the files that the manifest names, and nothing of
 * plugin-mirror. Its base is the image of the target `program` of our own Dockerfile (docs/image.md).
 * @throws OptionInvalid if the manifest names a file outside of its folder, or one that no Dockerfile can; ManifestInvalid
 */
export async function dockerfileFor(manifest: string, version: string): Promise<string> {
  const name = basename(manifest);
  const sync = ['plugin-mirror', 'sync', '--frozen', '--manifest', `/context/${name}`, '--tree', '/tmp/plugins'];
  const copies = [
    copy([name, basename(lockfilePath(manifest))], '/context/'),
    ...(await namedFilesOf(manifest)).map(file => copy([file], `/context/${file}`)),
  ];
  return `# An image that serves the plugins of the manifest next to this file:
#   docker build -t IMAGE --build-arg PROGRAM=REGISTRY/plugin-mirror:program .
# PROGRAM is the image of plugin-mirror without plugins. The default is what this makes in a checkout of plugin-mirror:
#   docker build -t plugin-mirror:${version}-program --target program .
ARG PROGRAM=plugin-mirror:${version}-program
FROM --platform=$BUILDPLATFORM \${PROGRAM} AS sync
${copies.join('\n')}
RUN ${JSON.stringify(sync)}
FROM \${PROGRAM}
COPY --from=sync /tmp/plugins/ /usr/share/nginx/html/plugins/
`;
}

/**
 * Returns a COPY of these files. In its JSON form a name may have spaces; `$` and `[` are escaped.
 * @throws OptionInvalid for names that COPY takes as patterns in every form
 */
function copy(files: readonly string[], target: string): string {
  const pattern = files.find(file => /[*?\\]/.test(file));
  if (pattern !== undefined)
    throw new OptionInvalid(`A Dockerfile cannot copy ${pattern}`, {
      subject: pattern,
      expected: 'a name without *, ? and \\: COPY takes them as a pattern',
      found: pattern,
      hint: 'Rename the file; of a file that the manifest names, change its path there as well.',
    });
  const paths = [...files.map(file => file.replaceAll('[', '[[]')), target];
  return `COPY ${JSON.stringify(paths.map(path => path.replaceAll('$', '\\$')))}`;
}

/** Returns the local modules, keys and trusted roots of a manifest that exists, relative to its folder. */
async function namedFilesOf(manifest: string): Promise<string[]> {
  if (!existsSync(manifest)) return [];
  const text = await readManifestText(manifest);
  return [...namedFiles(await parsePluginManifest(text, { file: manifest }), text)].map(([written, absolute]) => {
    const path = relative(dirname(manifest), absolute).split(sep).join('/');
    if (!path.startsWith('../') && !isAbsolute(path)) return path;
    throw new OptionInvalid(`The manifest names ${written}, which is outside of its folder`, {
      subject: written,
      expected: 'files in the folder of the manifest: a Docker build reads no others',
      found: absolute,
      hint: 'Copy the file into that folder, and change its path in the manifest.',
    });
  });
}
