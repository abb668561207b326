#!/bin/sh
# Prepares the tree for the image in a Docker build: copies it without dot files (leftovers of a killed sync or a desktop), makes it
# readable for every user, fails unless `verify` succeeds, and divides it into one folder for each layer of the image. A plugin
# is in one of LAYERS/00 … LAYERS/95, and the files of the tree itself are in LAYERS/catalog. Up to 96 plugins have a layer each. The
# layer follows from the plugin's name, so that a new plugin moves few others.
# Usage: imageTree.sh TREE LAYERS PATH   PATH is the tree's path in the image, such as usr/share/plugins
set -eu
tree=$1 layers=$2 path=$3 count=96
PATH=$PATH:/root-of-image/opt/plugin-mirror/bin

mkdir -p "$layers/whole"
cp -a "$tree/." "$layers/whole"
cd "$layers/whole"
find . -mindepth 1 -name '.*' -prune -exec rm -rf {} +
find . ! -type l \( -perm /022 -o ! -perm -444 -o -type d ! -perm -555 \) -exec chmod u+rwX,go+rX,go-w {} +
plugin-mirror verify --tree . --format text
found=$(node -p 'JSON.parse(require("fs").readFileSync("index.json", "utf8")).tree')
if [ "${TREE_DIGEST:-$found}" != "$found" ]; then
  echo "The tree has the digest $found, and TREE_DIGEST is $TREE_DIGEST. Give the digest of this tree, or leave TREE_DIGEST out." >&2
  exit 1
fi
echo "tree digest $found"

(cd "$layers" && mkdir catalog $(seq -w 0 $((count - 1))))
taken=0
for name in *; do
  layer=catalog
  if [ -d "$name" ]; then
    sum=$(printf %s "$name" | cksum)
    number=$((${sum%% *} % count))
    while :; do
      layer=$number
      [ "$number" -gt 9 ] || layer=0$number
      # The next free layer; with more plugins than layers, some share one.
      [ $taken -lt $count ] && [ -d "$layers/$layer/$path" ] || break
      number=$(((number + 1) % count))
    done
    taken=$((taken + 1))
  fi
  [ -d "$layers/$layer/$path" ] || mkdir -p "$layers/$layer/$path"
  mv "$name" "$layers/$layer/$path/"
done
cd "$layers"
rmdir whole
# One time for the folders above the plugins, so that the same plugins give the same layers.
find . -type d ! -path "./*/$path/*" -exec touch -d 1980-01-01T00:00:00Z {} +
