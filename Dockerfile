# An image that serves the plugins of manifest.json at http://…:8080/plugins/<name>/<version>/plugin.wasm
#
#   docker build -t IMAGE .
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/IMAGE --push .
#
# Everything is fetched and built on the build platform: plugins and node_modules are the same on every platform, and the
# final stage runs nothing, so a build for another platform needs no emulation.
# There is no `syntax` line, because it would pull one more image.

# The base image, for the build and for the result: Node 20.18.1 or newer with npm.
ARG NODE_IMAGE=node:24-bookworm-slim
# The registry client: `builtin`, or `oras`, which takes /bin/oras from ORAS_IMAGE. That image is not pulled otherwise.
ARG ENGINE=builtin
ARG ORAS_IMAGE=ghcr.io/oras-project/oras:v1.3.3
# A PEM file inside the build context: further certificate authorities for npm and sync.
ARG CA_FILE=
# npm's registry, if not the usual one. The secret `npmrc` may contain its password.
ARG NPM_REGISTRY=

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

FROM packages AS program
RUN --mount=type=cache,target=/var/cache/npm --mount=type=secret,id=npmrc \
    sh scripts/image/npmInstall.sh
COPY tsconfig.json tsconfig.build.json ./
COPY base base
COPY registry registry
COPY tree tree
COPY mirror mirror
COPY server server
COPY cli cli
RUN npm run --silent build && chmod 755 dist/cli/main.js && find dist -exec touch -h -d @0 {} +

# The files that are added to the base image.
FROM packages AS app
COPY --from=modules /src/node_modules /root-of-image/opt/plugin-mirror/node_modules
COPY --from=program /src/dist /root-of-image/opt/plugin-mirror/dist
COPY LICENSE /root-of-image/opt/plugin-mirror/
COPY higress /root-of-image/opt/plugin-mirror/higress
COPY --chmod=755 scripts/image/curl.sh /root-of-image/opt/plugin-mirror/bin/curl
COPY --chmod=755 scripts/image/health.sh /root-of-image/opt/plugin-mirror/bin/health
RUN cd /root-of-image && mkdir -p usr/share/nginx/html/plugins \
 && cp /src/package.json opt/plugin-mirror/ \
 && ln -s ../dist/cli/main.js opt/plugin-mirror/bin/plugin-mirror \
 && find . \( -name node_modules -o -name dist \) -prune -o -exec touch -h -d @0 {} +

FROM --platform=$BUILDPLATFORM ${ORAS_IMAGE} AS oras
FROM app AS engine-builtin
FROM app AS engine-oras
COPY --from=oras /bin/oras /usr/local/bin/oras

FROM engine-${ENGINE} AS sync
# The manifest, inside the build context, with the files that it names. If a lockfile is next to it, sync is frozen.
ARG MANIFEST=manifest.json
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

# The plugins without dot files. The build fails unless every byte matches the tree's index.json.
FROM app AS verify
COPY scripts/image/imageTree.sh /
COPY --from=tree / /mirror/plugins/
RUN sh /imageTree.sh /mirror/plugins
FROM --platform=$BUILDPLATFORM scratch AS verified
COPY --from=verify /mirror/plugins/ /

FROM ${NODE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="plugin-mirror" \
      org.opencontainers.image.description="Higress Wasm plugins over plain HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A young generation of 2 MiB: a file server allocates little that lives long, and its memory is limited.
ENV NODE_ENV=production \
    NODE_OPTIONS=--max-semi-space-size=2 \
    PATH="${PATH}:/opt/plugin-mirror/bin" \
    PLUGIN_MIRROR_TREE=/usr/share/nginx/html/plugins \
    PLUGIN_MIRROR_HOST=0.0.0.0 \
    PLUGIN_MIRROR_PORT=8080
COPY --from=app /root-of-image/ /
COPY --from=verified / /usr/share/nginx/html/plugins/
# A number, so that Kubernetes can see that it is not root. Any other user works as well.
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/opt/plugin-mirror/bin/health"]
ENTRYPOINT ["plugin-mirror"]
CMD ["serve"]
