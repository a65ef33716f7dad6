#!/bin/sh
# deb.sh [DIRECTORY]: the Debian package, built by dpkg-buildpackage from the source archive and without a network:
# DIRECTORY (target/package)/deb/distcc-rs_VERSION_ARCHITECTURE.deb
set -eu
cd "$(dirname "$0")/../.."

if ! command -v dh >/dev/null 2>&1 || ! command -v dpkg-buildpackage >/dev/null 2>&1; then
    echo "deb.sh: missing: debhelper, dpkg-dev. Run as root: apt-get install --no-install-recommends debhelper dpkg-dev" >&2
    exit 1
fi
archive=$(sh cross/packaging/source.sh "$@")
directory=$(dirname "$archive")/deb
rm -rf "$directory"
mkdir -p "$directory"
tar -C "$directory" -xf "$archive"
tree=$directory/$(basename "$archive" .tar.gz)
cp -R "$tree/cross/packaging/debian" "$tree/debian"
cd "$tree"
# A Rust from elsewhere than Debian's packages is as good.
unmet=
if ! dpkg-checkbuilddeps >/dev/null 2>&1; then
    unmet=-d
fi
unset CARGO_TARGET_DIR MAKEFLAGS MAKELEVEL MFLAGS
# shellcheck disable=SC2086
dpkg-buildpackage -b -us -uc $unmet
cd ..
rm -rf "${tree##*/}"
ls "$PWD"/distcc-rs_*.deb
