#!/bin/sh
# Refuses build arguments that cannot work, in the first step of a Docker build. The arguments are the variables MANIFEST, HIGRESS,
# BUNDLE, IMAGES, CA_FILE and LOCK_DIGEST.
# Usage: checkArguments.sh CONTEXT
set -eu
context=$(readlink -f "$1")
fail() {
  printf '\nplugin-mirror: %s\n' "$1" >&2
  exit 2
}

# below ARGUMENT PATH: the path is below the root of the build context, as `real`.
below() {
  case $2 in /*) fail "$1=$2 is an absolute path. Expected the path of a file in the build context, relative to its root." ;; esac
  real=$(readlink -m "$context/$2")
  case $real in
  "$context"/*) ;;
  *) fail "$1=$2 is outside of the build context. Copy the file into the folder that you pass to docker build, and give its path there." ;;
  esac
}
absent() {
  fail "$1=$2 is not in the build context. Check the path, and that .dockerignore does not leave it out."
}

# inside ARGUMENT FILE: the file exists in the build context.
inside() {
  below "$1" "$2"
  [ -f "$real" ] || absent "$1" "$2"
}

# layout ARGUMENT PATH: the path is a bundle, as `sync --from` takes it: a tar, one of its parts, its .sha256 file, or a folder.
layout() {
  below "$1" "$2"
  if [ -d "$real" ]; then
    [ -f "$real/oci-layout" ] || fail "$1=$2 is not a bundle: the folder has no oci-layout. Make one with plugin-mirror bundle."
    return
  fi
  if [ ! -f "$real" ]; then
    [ ! -f "$real.001" ] || fail "$1=$2 is not in the build context, but its parts are. Name the first one: $1=$2.001"
    absent "$1" "$2"
  fi
  first=$real
  case $real in
  *.sha256) first=${real%.*} ;;
  *.[0-9][0-9][0-9] | *.[0-9][0-9][0-9][0-9] | *.[0-9][0-9][0-9][0-9][0-9]) first=${real%.*}.001 ;;
  esac
  [ -f "$first" ] || first=${real%.*}.001
  [ -f "$first" ] || fail "$1=$2 is in the build context, but ${first#"$context"/} is not. Copy the whole bundle into it."
  # Through a pipe, tar does not decompress. A part ends in the middle of a file, so the exit code of tar does not count.
  cat "$first" 2>/dev/null | tar -tf - 2>/dev/null | grep -Eqx '(\./)?oci-layout' ||
    fail "$1=$2 is not a bundle: it is no uncompressed tar file with an oci-layout. Make one with plugin-mirror bundle."
}

if [ -n "${HIGRESS:-}" ]; then
  [ "${MANIFEST:-manifest.json}" = manifest.json ] || fail "HIGRESS=$HIGRESS and MANIFEST=$MANIFEST contradict each other. Give one of them."
  case $HIGRESS in *[!,\ ]*) ;; *) fail "HIGRESS=$HIGRESS names no release. Expected one, such as 2.2.5, or several with commas." ;; esac
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
[ -z "${IMAGES:-}" ] || layout IMAGES "$IMAGES"
if [ -n "${BUNDLE:-}" ]; then
  [ -z "${HIGRESS:-}" ] || [ "$BUNDLE" != "${IMAGES:-}" ] ||
    fail "HIGRESS=$HIGRESS and IMAGES=$IMAGES contradict each other: the plugins come from the bundle. Give one of them, or an empty BUNDLE= as well, so that the bundle is only served."
  [ -z "${HIGRESS:-}" ] || fail "HIGRESS=$HIGRESS and BUNDLE=$BUNDLE contradict each other. Give one of them."
  layout BUNDLE "$BUNDLE"
fi
[ -z "${CA_FILE:-}" ] || inside CA_FILE "$CA_FILE"

if [ -n "${LOCK_DIGEST:-}" ]; then
  [ -z "${HIGRESS:-}" ] || fail "HIGRESS=$HIGRESS uses no lockfile. Leave LOCK_DIGEST out."
  [ -z "${BUNDLE:-}" ] || [ "$MANIFEST" != manifest.json ] || fail "BUNDLE=$BUNDLE contains its own lockfile. Leave LOCK_DIGEST out."
  case $MANIFEST in *.[jJ][sS][oO][nN]) lock=${MANIFEST%.*}.lock.json ;; *) lock=$MANIFEST.lock.json ;; esac
  below LOCK_DIGEST "$lock"
  [ -f "$real" ] || fail "LOCK_DIGEST is given, but $lock is not in the build context. Put the lockfile next to the manifest, or leave LOCK_DIGEST out."
  found=sha256:$(sha256sum <"$real" | cut -d' ' -f1)
  [ "$found" = "$LOCK_DIGEST" ] || fail "$lock has the digest $found, and LOCK_DIGEST is $LOCK_DIGEST. Give the digest of this lockfile, or leave LOCK_DIGEST out."
fi
