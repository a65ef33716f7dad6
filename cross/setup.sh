#!/bin/sh
# setup.sh [--check]: what cross/build.sh needs to build for machines that rustup has no target for: Debian's Rust with the
# source of its library, and zig, which links and brings every libc. --check only says what is missing.
#
# Nothing of it goes into the project: zig stands in its own directory of the user's cache (ZIG_VENV; 440 MB).
set -eu

zig_version=0.17.1
zigbuild_version=0.24.0
venv=${ZIG_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/distcc-cross/zig-$zig_version}

check=
case ${1-} in
    '') ;;
    --check) check=1 ;;
    *) echo "usage: setup.sh [--check]" >&2; exit 2 ;;
esac

packages=
[ -x /usr/bin/rustc ] || packages="$packages rustc-web"
[ -x /usr/bin/cargo ] || packages="$packages cargo-web"
[ -e /usr/lib/rustlib/src/rust/library/Cargo.lock ] || packages="$packages rust-web-src"
command -v python3 >/dev/null 2>&1 || packages="$packages python3"
# What makes an environment is in a package of its own in Debian, not in Pythons from elsewhere.
[ -x "$venv/bin/python" ] || python3 -c 'import ensurepip' 2>/dev/null || packages="$packages python3-venv"
if [ -n "$packages" ]; then
    install="apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300$packages"
    if [ -n "$check" ] || ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
        echo "cross/setup.sh: missing:$packages. Run as root, on Debian 12 or newer:" >&2
        echo "  apt-get update && $install" >&2
        exit 1
    fi
    echo "cross/setup.sh: installing$packages"
    export DEBIAN_FRONTEND=noninteractive
    $install >/dev/null || { apt-get -q update >/dev/null && $install >/dev/null; }
fi

if ! "$venv/bin/cargo-zigbuild" --version >/dev/null 2>&1; then
    if [ -n "$check" ]; then
        echo "cross/setup.sh: missing: zig in $venv. Run: sh cross/setup.sh" >&2
        exit 1
    fi
    echo "cross/setup.sh: installing zig $zig_version in $venv"
    rm -rf "$venv"
    mkdir -p "${venv%/*}"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check \
        "ziglang==$zig_version" "cargo-zigbuild==$zigbuild_version"
fi
echo "$venv"
