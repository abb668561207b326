#!/bin/sh
# What the Dockerfile calls to pull the plugins. Its build arguments are the variables below; the build context, with the
# manifest, the lock, the files they name and the CA file, lies at /context.
# Usage: imageSync.sh FOLDER
set -eu
cd /context
PATH=$PATH:/root-of-image/opt/plugin-mirror/bin
secrets=/run/secrets

# An empty variable is as good as none.
export PLUGIN_MIRROR_MANIFEST="$MANIFEST" PLUGIN_MIRROR_REGISTRY="$REGISTRY" PLUGIN_MIRROR_ENGINE="$ENGINE" \
  PLUGIN_MIRROR_PLAIN_HTTP="$PLAIN_HTTP" PLUGIN_MIRROR_CA_FILE="$CA_FILE" PLUGIN_MIRROR_USERNAME="$REGISTRY_USERNAME" \
  PLUGIN_MIRROR_COMPRESS="${COMPRESS:-}" \
  PLUGIN_MIRROR_CACHE_DIR=/var/cache/plugin-mirror

out=$1
set --
# A lock beside the manifest says which bytes; without one, none is written: nobody would see it.
# A link that leads nowhere is a lock that went astray, and --frozen says so.
case $MANIFEST in *.[jJ][sS][oO][nN]) lock=${MANIFEST%.*}.lock.json ;; *) lock=$MANIFEST.lock.json ;; esac
if [ -e "$lock" ] || [ -L "$lock" ]; then set -- "$@" --frozen; else set -- "$@" --no-lock; fi
[ ! -e "$secrets/registry-config" ] || set -- "$@" --registry-config "$secrets/registry-config"
if [ -e "$secrets/registry-password" ]; then
  # As --password-stdin takes it: an editor's line end is not the password's.
  PLUGIN_MIRROR_PASSWORD=$(tr -d '\r\n' <"$secrets/registry-password")
  export PLUGIN_MIRROR_PASSWORD
fi
# SYNC_ARGS is split at blanks and honours quotes, as on a command line.
eval "exec plugin-mirror sync --out \"\$out\" \"\$@\" $SYNC_ARGS"
