#!/bin/sh
# Installs npm packages in a Docker build. CA_FILE and NPM_REGISTRY are build arguments, empty if not given.
# Usage: npmInstall.sh [further arguments of npm ci]
set -eu
if [ -n "${CA_FILE:-}" ]; then
  # In addition to the authorities of the base image.
  { [ ! -r "${NODE_EXTRA_CA_CERTS:-}" ] || { cat "$NODE_EXTRA_CA_CERTS" && echo; }; cat /ca.pem; } >/tmp/authorities.pem
  export NODE_EXTRA_CA_CERTS=/tmp/authorities.pem
fi
[ -z "${NPM_REGISTRY:-}" ] || export npm_config_registry="$NPM_REGISTRY"
[ ! -e /run/secrets/npmrc ] || export npm_config_userconfig=/run/secrets/npmrc
export npm_config_cache=/var/cache/npm
exec npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier "$@"
