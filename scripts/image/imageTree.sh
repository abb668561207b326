#!/bin/sh
# Prepares the tree for the image in a Docker build: removes dot files (leftovers of a killed sync or a desktop), makes the rest
# readable for every user, and fails unless `verify` succeeds.
# Usage: imageTree.sh FOLDER
set -eu
cd "$1"
find . -mindepth 1 -name '.*' -prune -exec rm -rf {} +
# Only where needed: a build stores every changed file once more.
find . ! -type l \( -perm /022 -o ! -perm -444 -o -type d ! -perm -555 \) -exec chmod u+rwX,go+rX,go-w {} +
# The time that sync gives the folder, so that the same plugins give the same layer.
touch -d 1980-01-01T00:00:00Z .
PATH=$PATH:/root-of-image/opt/plugin-mirror/bin
exec plugin-mirror verify --tree . --format text
