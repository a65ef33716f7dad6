#!/bin/sh
# dist.sh [MACHINE...]: archives to be unpacked on other machines, in target/dist, and their SHA256SUMS. Without arguments
# for all machines. An archive has the binary, links for its names, manual pages, configuration, and install.sh, which
# puts all of it in place. The same sources give the same bytes.
set -eu
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- x86_64 aarch64 armv7 armv6 armv5te riscv64
directory=${CARGO_TARGET_DIR:-target}/dist
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The time of the last change, as https://reproducible-builds.org asks for; a source archive has no commits.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"

for machine; do
    sh cross/build.sh "$machine"
    name=distcc-$version-$machine-linux
    tree=$directory/tree/$name
    rm -rf "$tree"
    mkdir -p "$tree"
    cp "$directory/$machine/distcc" "$tree/distcc"
    cp README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$tree/"
    cp -R docs "$tree/docs"
    cp cross/install.sh "$tree/install.sh"
    for link in $(sh cross/install.sh --names); do
        ln -s distcc "$tree/$link"
    done
    chmod -R u=rwX,go=rX "$tree"
    chmod 755 "$tree/distcc" "$tree/install.sh"
    tar --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        -C "$directory/tree" -cf - "$name" | gzip -9n >"$directory/$name.tar.gz"
    rm -rf "$tree"
done

cd "$directory"
sha256sum distcc-"$version"-*-linux.tar.gz >SHA256SUMS
cat SHA256SUMS
