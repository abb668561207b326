#!/bin/sh
# What the Dockerfile calls on the tree that goes into the image, whoever synced it: drops dot files (what a killed sync has
# left, and what desktops leave), lets every user read the rest, and ends in an error unless `verify` finds all of it right.
# Usage: imageTree.sh FOLDER
set -eu
cd "$1"
find . -mindepth 1 -name '.*' -prune -exec rm -rf {} +
# Only where it is needed: in a build, each file that is touched is stored once more.
find . ! -type l \( -perm /022 -o ! -perm -444 -o -type d ! -perm -555 \) -exec chmod u+rwX,go+rX,go-w {} +
# The time that sync gives the folder, so that the same plugins make the same layer.
touch -d 1980-01-01T00:00:00Z .
PATH=$PATH:/root-of-image/opt/plugin-mirror/bin
exec plugin-mirror verify --tree . --format text
