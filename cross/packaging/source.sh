#!/bin/sh
# source.sh [DIRECTORY]: the source archive that packages are built from without a network, DIRECTORY (target/package)/
# distcc-rs-VERSION.tar.gz: what is committed, without fuzzing, and in vendor/ the crates that it needs. The same commit
# gives the same bytes.
set -eu
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
directory=${1:-${CARGO_TARGET_DIR:-target}/package}
name=distcc-rs-$version
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"

mkdir -p "$directory"
parent=$(mktemp -d "$directory/source.XXXXXX")
trap 'rm -rf "$parent"' EXIT
tree=$parent/$name
git archive --prefix="$name/" HEAD -- . ':!tests/fuzz' | tar -C "$parent" -xf -
mkdir -p "$tree/.cargo"
(cd "$tree" && cargo vendor -q --locked --versioned-dirs vendor >/dev/null)
cat >"$tree/.cargo/config.toml" <<'END'
[source.crates-io]
replace-with = "vendored-sources"

[source.vendored-sources]
directory = "vendor"
END
tar --format=gnu --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    -C "$parent" -cf - "$name" | gzip -9n >"$parent/$name.tar.gz"
mv -f "$parent/$name.tar.gz" "$directory/"
echo "$directory/$name.tar.gz"
