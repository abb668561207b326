#!/bin/sh
# Refuses build arguments that cannot work, in the first step of a Docker build. The arguments are the variables MANIFEST, HIGRESS,
# BUNDLE, CA_FILE and LOCK_DIGEST.
# Usage: checkArguments.sh CONTEXT
set -eu
context=$(readlink -f "$1")
fail() {
  printf '\nplugin-mirror: %s\n' "$1" >&2
  exit 2
}

# inside ARGUMENT FILE: the file exists in the build context.
inside() {
  case $2 in /*) fail "$1=$2 is an absolute path. Expected the path of a file in the build context, relative to its root." ;; esac
  real=$(readlink -m "$context/$2")
  case $real in
  "$context"/*) ;;
  *) fail "$1=$2 is outside of the build context. Copy the file into the folder that you pass to docker build, and give its path there." ;;
  esac
  [ -f "$real" ] || { [ "$1" = BUNDLE ] && [ -f "$real/oci-layout" ]; } || fail "$1=$2 is not in the build context. Check the path, and that .dockerignore does not leave it out."
}

if [ -n "${HIGRESS:-}" ]; then
  [ "${MANIFEST:-manifest.json}" = manifest.json ] || fail "HIGRESS=$HIGRESS and MANIFEST=$MANIFEST contradict each other. Give one of them."
  for release in $(printf %s "$HIGRESS" | tr , ' '); do
    # The rebuilds of 2.2.4 are 2.2.4-rebuilt and the like.
    ls "$context/higress/console/" | grep -Eq "^$(printf %s "${release#v}" | sed 's/[^0-9A-Za-z-]/[&]/g')(-[a-z]+)?[.]json$" || {
      known=$(ls "$context/higress/console/" | sed 's/\.json$//' | sort -V | tr '\n' ' ')
      fail "HIGRESS=$release is not a known release of Higress. Known are: ${known% }"
    }
  done
elif [ -z "${BUNDLE:-}" ] || [ "${MANIFEST:-manifest.json}" != manifest.json ]; then
  inside MANIFEST "${MANIFEST:-manifest.json}"
fi
if [ -n "${BUNDLE:-}" ]; then
  [ -z "${HIGRESS:-}" ] || fail "HIGRESS=$HIGRESS and BUNDLE=$BUNDLE contradict each other. Give one of them."
  inside BUNDLE "$BUNDLE"
  case $BUNDLE in
  *.tar) tar -tf "$context/$BUNDLE" oci-layout >/dev/null 2>&1 || fail "BUNDLE=$BUNDLE is not a bundle: it is no tar file with an oci-layout. Make one with plugin-mirror bundle." ;;
  esac
fi
[ -z "${CA_FILE:-}" ] || inside CA_FILE "$CA_FILE"

if [ -n "${LOCK_DIGEST:-}" ]; then
  [ -z "${HIGRESS:-}" ] || fail "HIGRESS=$HIGRESS uses no lockfile. Leave LOCK_DIGEST out."
  [ -z "${BUNDLE:-}" ] || [ "$MANIFEST" != manifest.json ] || fail "BUNDLE=$BUNDLE contains its own lockfile. Leave LOCK_DIGEST out."
  case $MANIFEST in *.[jJ][sS][oO][nN]) lock=${MANIFEST%.*}.lock.json ;; *) lock=$MANIFEST.lock.json ;; esac
  inside LOCK_DIGEST "$lock"
  found=sha256:$(sha256sum <"$context/$lock" | cut -d' ' -f1)
  [ "$found" = "$LOCK_DIGEST" ] || fail "$lock has the digest $found, and LOCK_DIGEST is $LOCK_DIGEST. Give the digest of this lockfile, or leave LOCK_DIGEST out."
fi
