#!/bin/sh
# Pulls the plugins in a Docker build. The build arguments are the variables below; the build context, with the manifest, the
# lockfile, the files that they name and the CA file, is at /context.
# Usage: imageSync.sh FOLDER
set -eu
cd /context
PATH=$PATH:/root-of-image/opt/plugin-mirror/bin
secrets=/run/secrets

if [ -n "${HIGRESS:-}" ]; then
  MANIFEST=/tmp/higress/manifest.json
  mkdir -p /tmp/higress
  plugin-mirror init $(printf %s "$HIGRESS" | tr ', ' '\n\n' | sed '/./s/^/--higress /') --write --manifest "$MANIFEST"
fi

# A bundle contains a manifest and a lockfile. Another manifest is used if it is named.
if [ -n "${BUNDLE:-}" ] && [ "$MANIFEST" = manifest.json ]; then MANIFEST=''; fi

# An empty variable counts as unset.
export PLUGIN_MIRROR_MANIFEST="$MANIFEST" PLUGIN_MIRROR_FROM="${BUNDLE:-}" PLUGIN_MIRROR_REGISTRY="$REGISTRY" PLUGIN_MIRROR_ENGINE="$ENGINE" \
  PLUGIN_MIRROR_PLAIN_HTTP="$PLAIN_HTTP" PLUGIN_MIRROR_CA_FILE="$CA_FILE" PLUGIN_MIRROR_USERNAME="$REGISTRY_USERNAME" \
  PLUGIN_MIRROR_COMPRESS="${COMPRESS:-}" \
  PLUGIN_MIRROR_CACHE_DIR=/var/cache/plugin-mirror

out=$1
set --
# A lockfile next to the manifest decides the bytes. Without one none is written, because it would be lost with the stage.
# A dangling link is a misplaced lockfile: --frozen reports it.
case $MANIFEST in *.[jJ][sS][oO][nN]) lock=${MANIFEST%.*}.lock.json ;; *) lock=$MANIFEST.lock.json ;; esac
if [ -n "${BUNDLE:-}" ]; then :
elif [ -e "$lock" ] || [ -L "$lock" ]; then set -- "$@" --frozen
else set -- "$@" --no-lock; fi
[ ! -e "$secrets/registry-config" ] || set -- "$@" --registry-config "$secrets/registry-config"
if [ -e "$secrets/registry-password" ]; then
  # As with --password-stdin, a final line end is not part of the password.
  PLUGIN_MIRROR_PASSWORD=$(tr -d '\r\n' <"$secrets/registry-password")
  export PLUGIN_MIRROR_PASSWORD
fi
# SYNC_ARGS is split at blanks and honours quotes, as on a command line.
eval "exec plugin-mirror sync --tree \"\$out\" \"\$@\" $SYNC_ARGS"
