# An image that serves the plugins of manifest.json at http://…:8080/plugins/<name>/<version>/plugin.wasm
#
#   docker build -t IMAGE .
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/IMAGE --push .
#   docker build --target program -t IMAGE .     # the program without plugins, for a tree on a volume
#
# Everything is fetched and built on the build platform: plugins and node_modules are the same on every platform, and the
# final stages run nothing, so a build for another platform needs no emulation.
# There is no `syntax` line, because it would pull one more image.

# The base image, for the build and for Node.js, bash and the C library in the result: Debian with Node 20.18.1 or newer and npm.
# docs/image.md explains how to pin it by digest.
ARG NODE_IMAGE=node:24-bookworm-slim
# The registry client: `builtin`, or `oras`, which takes /bin/oras from ORAS_IMAGE. That image is not pulled otherwise.
ARG ENGINE=builtin
ARG ORAS_IMAGE=ghcr.io/oras-project/oras:v1.3.3
# A PEM file inside the build context: further certificate authorities for npm and sync.
ARG CA_FILE=
# npm's registry, if not the usual one. The secret `npmrc` may contain its password.
ARG NPM_REGISTRY=
# The manifest, inside the build context, with the files that it names. If a lockfile is next to it, sync is frozen.
ARG MANIFEST=manifest.json
# A release of Higress, such as 2.2.5, instead of a manifest: the plugins that its Console and Controller request.
ARG HIGRESS=
# A bundle inside the build context (`plugin-mirror bundle`) whose images the server offers at /v2/, next to the plugins.
ARG IMAGES=
# A bundle inside the build context: the plugins come from it, and from no network.
ARG BUNDLE=${IMAGES}
# sha256:… of the lockfile and the tree digest (`tree` in index.json), for the labels. The build fails if they are different.
ARG LOCK_DIGEST=
ARG TREE_DIGEST=

# Mistakes in the arguments end the build before anything is fetched.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS arguments
ARG CA_FILE
ARG MANIFEST
ARG HIGRESS
ARG BUNDLE
ARG IMAGES
ARG LOCK_DIGEST
RUN --mount=type=bind,target=/context sh /context/scripts/image/checkArguments.sh /context && touch /arguments-are-good

FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS packages
ARG CA_FILE
ARG NPM_REGISTRY
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
COPY ${CA_FILE:-package.json} /ca.pem
COPY scripts/image/npmInstall.sh scripts/image/

# --omit=optional leaves out TypeScript, an optional peer of valibot.
# One time stamp for all files, so that the same sources give the same layer, byte for byte.
FROM packages AS modules
RUN --mount=type=cache,target=/var/cache/npm --mount=type=secret,id=npmrc \
    sh scripts/image/npmInstall.sh --omit=dev --omit=optional \
 && find node_modules -type f \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' -o -name '*.md' \) -delete \
 && find node_modules -exec touch -h -d @0 {} +

FROM packages AS compiled
RUN --mount=type=cache,target=/var/cache/npm --mount=type=secret,id=npmrc \
    sh scripts/image/npmInstall.sh
COPY tsconfig.json tsconfig.build.json ./
COPY base base
COPY layout layout
COPY registry registry
COPY tree tree
COPY mirror mirror
COPY server server
COPY cli cli
RUN npm run --silent build && chmod 755 dist/cli/main.js && find dist -exec touch -h -d @0 {} +

# The files that are added to the base image.
FROM packages AS app
COPY --from=modules /src/node_modules /root-of-image/opt/plugin-mirror/node_modules
COPY --from=compiled /src/dist /root-of-image/opt/plugin-mirror/dist
COPY LICENSE /root-of-image/opt/plugin-mirror/
COPY higress /root-of-image/opt/plugin-mirror/higress
COPY --chmod=755 scripts/image/curl.sh /root-of-image/opt/plugin-mirror/bin/curl
COPY --chmod=755 scripts/image/health.sh /root-of-image/opt/plugin-mirror/bin/health
# A volume that Docker makes for the tree takes the owner of this folder, so that the image's user can sync into it.
RUN cd /root-of-image && mkdir -p usr/share/nginx/html/plugins && chown 1000:1000 usr/share/nginx/html/plugins \
 && cp /src/package.json opt/plugin-mirror/ \
 && ln -s ../dist/cli/main.js opt/plugin-mirror/bin/plugin-mirror \
 && find . \( -name node_modules -o -name dist \) -prune -o -exec touch -h -d @0 {} +

FROM --platform=$BUILDPLATFORM ${ORAS_IMAGE} AS oras
FROM app AS engine-builtin
FROM app AS engine-oras
COPY --from=oras /bin/oras /usr/local/bin/oras

FROM engine-${ENGINE} AS sync
COPY --from=arguments /arguments-are-good /
ARG MANIFEST
ARG HIGRESS
ARG BUNDLE
# HOST[/PREFIX] to use instead of every registry in the manifest: a private mirror.
ARG REGISTRY=
# 1, or the hosts to contact over http. Loopback is tried over http in any case.
ARG PLAIN_HTTP=
# A user name, with the password as `--secret id=registry-password,src=FILE`; or docker's config.json as
# `--secret id=registry-config,src=FILE`. Neither is left in the image.
ARG REGISTRY_USERNAME=
# Compressed forms to publish next to each plugin.wasm: gzip, br, zstd, separated by commas.
ARG COMPRESS=
# More options for sync: `--only 'ai-*'`, `--timeout 60` …
ARG SYNC_ARGS=
ARG ENGINE
COPY scripts/image/imageSync.sh /
RUN --mount=type=bind,target=/context,rw \
    --mount=type=cache,id=plugin-mirror-blobs,target=/var/cache/plugin-mirror \
    --mount=type=secret,id=registry-config \
    --mount=type=secret,id=registry-password \
    sh /imageSync.sh /mirror/plugins

# The plugins only. `docker buildx build --build-context tree=plugins …` replaces this stage by a folder that was synced before.
FROM --platform=$BUILDPLATFORM scratch AS tree
COPY --from=sync /mirror/plugins/ /

# The plugins without dot files, divided into /layers/00 … /layers/95 by plugin, and /layers/catalog with the files of the whole
# tree. The build fails unless every byte matches the tree's index.json.
FROM app AS divided
ARG TREE_DIGEST
COPY scripts/image/imageTree.sh /
RUN --mount=type=bind,from=tree,target=/tree sh /imageTree.sh /tree /layers usr/share/nginx/html/plugins
FROM --platform=$BUILDPLATFORM scratch AS verified
COPY --from=divided /layers/*/usr/share/nginx/html/plugins/ /

# The bundle for `serve --images`. The build fails unless all of it is there and undamaged.
FROM app AS images
COPY --from=arguments /arguments-are-good /
ARG IMAGES
COPY scripts/image/imageBundle.sh /
RUN --mount=type=bind,target=/context sh /imageBundle.sh /root-of-images opt/plugin-mirror/images

# Node.js, bash, cat and the libraries they need, out of the base image of the target platform. Without npm, apt and perl.
FROM ${NODE_IMAGE} AS base
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS runtime
COPY scripts/image/runtimeRoot.sh /
RUN --mount=type=bind,from=base,target=/base sh /runtimeRoot.sh /base /runtime

FROM scratch AS program
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
ARG NODE_IMAGE
LABEL org.opencontainers.image.title="plugin-mirror" \
      org.opencontainers.image.description="Higress Wasm plugins over plain HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${NODE_IMAGE}"
# A young generation of 2 MiB: a file server allocates little that lives long, and its memory is limited.
ENV NODE_ENV=production \
    NODE_OPTIONS=--max-semi-space-size=2 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/plugin-mirror/bin \
    PLUGIN_MIRROR_TREE=/usr/share/nginx/html/plugins \
    PLUGIN_MIRROR_HOST=:: \
    PLUGIN_MIRROR_PORT=8080
COPY --from=runtime /runtime/ /
COPY --from=app /root-of-image/ /
# A number, so that Kubernetes can see that it is not root. Any other user works as well.
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/opt/plugin-mirror/bin/health"]
ENTRYPOINT ["plugin-mirror"]
CMD ["serve"]

# A plugin is in one layer, so a changed plugin is the only one that is uploaded and pulled again. With --link a layer depends on
# its own files only: it stays the same when the layers before it change.
FROM program
ARG LOCK_DIGEST
ARG TREE_DIGEST
ARG IMAGES
LABEL plugin-mirror.lock-digest="${LOCK_DIGEST}" \
      plugin-mirror.tree-digest="${TREE_DIGEST}"
# Empty is the same as unset.
ENV PLUGIN_MIRROR_IMAGES=${IMAGES:+/opt/plugin-mirror/images}
COPY --link --from=images /root-of-images/ /
COPY --link --from=divided /layers/00/ /
COPY --link --from=divided /layers/01/ /
COPY --link --from=divided /layers/02/ /
COPY --link --from=divided /layers/03/ /
COPY --link --from=divided /layers/04/ /
COPY --link --from=divided /layers/05/ /
COPY --link --from=divided /layers/06/ /
COPY --link --from=divided /layers/07/ /
COPY --link --from=divided /layers/08/ /
COPY --link --from=divided /layers/09/ /
COPY --link --from=divided /layers/10/ /
COPY --link --from=divided /layers/11/ /
COPY --link --from=divided /layers/12/ /
COPY --link --from=divided /layers/13/ /
COPY --link --from=divided /layers/14/ /
COPY --link --from=divided /layers/15/ /
COPY --link --from=divided /layers/16/ /
COPY --link --from=divided /layers/17/ /
COPY --link --from=divided /layers/18/ /
COPY --link --from=divided /layers/19/ /
COPY --link --from=divided /layers/20/ /
COPY --link --from=divided /layers/21/ /
COPY --link --from=divided /layers/22/ /
COPY --link --from=divided /layers/23/ /
COPY --link --from=divided /layers/24/ /
COPY --link --from=divided /layers/25/ /
COPY --link --from=divided /layers/26/ /
COPY --link --from=divided /layers/27/ /
COPY --link --from=divided /layers/28/ /
COPY --link --from=divided /layers/29/ /
COPY --link --from=divided /layers/30/ /
COPY --link --from=divided /layers/31/ /
COPY --link --from=divided /layers/32/ /
COPY --link --from=divided /layers/33/ /
COPY --link --from=divided /layers/34/ /
COPY --link --from=divided /layers/35/ /
COPY --link --from=divided /layers/36/ /
COPY --link --from=divided /layers/37/ /
COPY --link --from=divided /layers/38/ /
COPY --link --from=divided /layers/39/ /
COPY --link --from=divided /layers/40/ /
COPY --link --from=divided /layers/41/ /
COPY --link --from=divided /layers/42/ /
COPY --link --from=divided /layers/43/ /
COPY --link --from=divided /layers/44/ /
COPY --link --from=divided /layers/45/ /
COPY --link --from=divided /layers/46/ /
COPY --link --from=divided /layers/47/ /
COPY --link --from=divided /layers/48/ /
COPY --link --from=divided /layers/49/ /
COPY --link --from=divided /layers/50/ /
COPY --link --from=divided /layers/51/ /
COPY --link --from=divided /layers/52/ /
COPY --link --from=divided /layers/53/ /
COPY --link --from=divided /layers/54/ /
COPY --link --from=divided /layers/55/ /
COPY --link --from=divided /layers/56/ /
COPY --link --from=divided /layers/57/ /
COPY --link --from=divided /layers/58/ /
COPY --link --from=divided /layers/59/ /
COPY --link --from=divided /layers/60/ /
COPY --link --from=divided /layers/61/ /
COPY --link --from=divided /layers/62/ /
COPY --link --from=divided /layers/63/ /
COPY --link --from=divided /layers/64/ /
COPY --link --from=divided /layers/65/ /
COPY --link --from=divided /layers/66/ /
COPY --link --from=divided /layers/67/ /
COPY --link --from=divided /layers/68/ /
COPY --link --from=divided /layers/69/ /
COPY --link --from=divided /layers/70/ /
COPY --link --from=divided /layers/71/ /
COPY --link --from=divided /layers/72/ /
COPY --link --from=divided /layers/73/ /
COPY --link --from=divided /layers/74/ /
COPY --link --from=divided /layers/75/ /
COPY --link --from=divided /layers/76/ /
COPY --link --from=divided /layers/77/ /
COPY --link --from=divided /layers/78/ /
COPY --link --from=divided /layers/79/ /
COPY --link --from=divided /layers/80/ /
COPY --link --from=divided /layers/81/ /
COPY --link --from=divided /layers/82/ /
COPY --link --from=divided /layers/83/ /
COPY --link --from=divided /layers/84/ /
COPY --link --from=divided /layers/85/ /
COPY --link --from=divided /layers/86/ /
COPY --link --from=divided /layers/87/ /
COPY --link --from=divided /layers/88/ /
COPY --link --from=divided /layers/89/ /
COPY --link --from=divided /layers/90/ /
COPY --link --from=divided /layers/91/ /
COPY --link --from=divided /layers/92/ /
COPY --link --from=divided /layers/93/ /
COPY --link --from=divided /layers/94/ /
COPY --link --from=divided /layers/95/ /
COPY --link --from=divided /layers/catalog/ /
