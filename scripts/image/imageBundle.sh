#!/bin/sh
# Puts the bundle that the build argument IMAGES names, if there is one, where the image's server reads it: one tar, which is served
# in place, or a folder. The build context is at /context. Fails unless `verify` succeeds.
# Usage: imageBundle.sh ROOT PATH   PATH is the bundle's path in the image, such as opt/images
set -eu
root=$1 target=$1/$2
PATH=$PATH:/root-of-image/opt/plugin-mirror/bin
mkdir -p "$root"
[ -n "${IMAGES:-}" ] || exit 0
cd /context
plugin-mirror verify "$IMAGES" --format text
mkdir -p "${target%/*}"
if [ -d "$IMAGES" ]; then
  mkdir "$target"
  cp -R "$IMAGES/oci-layout" "$IMAGES/index.json" "$IMAGES/blobs" "$target"
else
  # One of the parts, or the checksum file, names the whole.
  whole=$(printf %s "$IMAGES" | sed -E 's/\.(sha256|[0-9]{3,5})$//')
  if [ "$whole" = "$IMAGES" ] || [ ! -f "$whole.001" ]; then cp "$whole" "$target"
  else
    number=1
    while part=$whole.$(printf %03d $number) && [ -f "$part" ]; do
      cat "$part"
      number=$((number + 1))
    done >"$target"
  fi
fi
# Readable for every user, and one time for all files, so that the same bundle is the same layer.
chmod -R u+rwX,go+rX,go-w "$root"
find "$root" -exec touch -h -d @0 {} +
