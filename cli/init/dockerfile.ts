import { basename } from 'node:path';
import { lockfilePath } from '../../mirror/lockfile/lockfile.ts';

/**
 * Returns a Dockerfile for a folder that has a manifest and its lockfile and nothing of plugin-mirror. Its base is the image of
 * the target `program` of our own Dockerfile (docs/image.md).
 */
export function dockerfileFor(manifest: string, version: string): string {
  const [file, lock] = [basename(manifest), basename(lockfilePath(manifest))];
  return `# An image that serves the plugins of ${file}: docker build -t IMAGE .
# PROGRAM is the image of plugin-mirror without plugins (docs/image.md, The program without plugins).
ARG PROGRAM=plugin-mirror:${version}-program
FROM --platform=$BUILDPLATFORM \${PROGRAM} AS sync
COPY ${file} ${lock} /context/
RUN ["plugin-mirror", "sync", "--frozen", "--manifest", "/context/${file}", "--out", "/tmp/plugins"]
FROM \${PROGRAM}
COPY --from=sync /tmp/plugins/ /usr/share/nginx/html/plugins/
`;
}
