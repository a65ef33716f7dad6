#!/bin/sh
# fresh.sh [demo|dist|test]...: what README says, in a Debian on which there is nothing but rustup's toolchain, made for this run. Without
# arguments all. Needs root, mmdebstrap, a Debian mirror and the registries of crates and of Python's packages.
#
#   demo   tests/setup.sh demo, make demo
#   dist   cross/setup.sh, make dist-armv7 dist-aarch64
#   test   make test
#
# What is tried is the last commit. FRESH=DIR keeps the system in DIR and takes it if it is there.
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "fresh.sh: needs root, for chroot" >&2; exit 1; }
[ $# -gt 0 ] || set -- demo dist test
for part; do
    case $part in
        demo | dist | test) ;;
        *) echo "usage: fresh.sh [demo|dist|test]..." >&2; exit 2 ;;
    esac
done

root=${FRESH:-}
if [ -z "$root" ]; then
    root=$(mktemp -d "${TMPDIR:-/tmp}/distcc-fresh.XXXXXX")
    trap 'rm -rf --one-file-system "$root"' EXIT
    trap 'exit 130' INT TERM
fi
if [ ! -e "$root/bin/sh" ]; then
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mmdebstrap --quiet --variant=minbase --include=ca-certificates "$suite" "$root"
    chmod 755 "$root"
fi
# Where the network has an authority of its own.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
# What tests of another run have kept has the same numbers of processes in its names.
rm -rf "$root"/tmp/distcc-test-*
# Not below /root: some tests run the program as other users, to whom that is closed.
mkdir -p "$root/rust" "$root/distcc"
git archive HEAD | tar -C "$root/distcc" -xf -

# The mounts and whatever still runs go with the name spaces.
cat >"$root/root/run" <<'END'
set -eu
root=$1
sysroot=$2
shift 2
mount --bind "$sysroot" "$root/rust"
mount -o remount,bind,ro "$root/rust"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
for part; do
    case $part in
        demo) words="sh tests/setup.sh demo && make demo" ;;
        dist) words="sh cross/setup.sh && make dist-armv7 dist-aarch64" ;;
        test) words="sh tests/setup.sh test && make test" ;;
    esac
    echo "=== $words"
    started=$(date +%s)
    chroot "$root" /bin/sh -ec "cd /distcc && $words"
    echo "--- $part: $(($(date +%s) - started)) s"
done
END
env -u CARGO_HOME -u CARGO_TARGET_DIR -u RUSTUP_HOME -u RUSTUP_TOOLCHAIN -u XDG_CACHE_HOME -u TMPDIR -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u CI \
    HOME=/root PATH=/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    unshare --mount --pid --fork --kill-child sh "$root/root/run" "$root" "$(rustc --print sysroot)" "$@"
