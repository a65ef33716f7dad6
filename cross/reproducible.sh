#!/bin/sh
# reproducible.sh [MACHINE]: builds the last commit in two directories of its own, and compares the binaries byte by byte.
set -eu
cd "$(dirname "$0")/.."
machine=${1:-armv7}
commit=$(git rev-parse HEAD)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/distcc-reproducible.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

for copy in here somewhere/else; do
    mkdir -p "$scratch/$copy"
    git archive "$commit" | tar -xf - -C "$scratch/$copy"
    env -u CARGO_TARGET_DIR sh "$scratch/$copy/cross/build.sh" "$machine"
done
cmp "$scratch/here/target/dist/$machine/distcc" "$scratch/somewhere/else/target/dist/$machine/distcc"
echo "$machine: twice the same bytes"
