#!/bin/sh
# fetch.sh DEST [rocksdb|boost]: lay the pinned third-party sources out under DEST:
#
#   DEST/lua       Lua 5.4              (C)
#   DEST/zstd      Zstandard            (C, with one assembler file)
#   DEST/leveldb   LevelDB              (C++)
#   DEST/snappy    Snappy, for LevelDB  (C++)
#   DEST/harfbuzz  HarfBuzz             (C++, heavy on templates)
#
# With `rocksdb` only DEST/rocksdb, RocksDB 8.10 as its package has it (C++,
# large): for measurements, and for a test that runs on demand. With `boost` only
# DEST/boost, the headers of Debian's Boost 1.74.
#
# All but Boost come as source packages through cargo, which downloads what its cache
# lacks and checks it against Cargo.lock; with a warm cache it needs no network.
# Running it again does nothing until Cargo.lock or this script changes, and two
# runs at once are safe: each unpacks for itself and the last step is a rename.
set -eu

case $#,${2-} in
    1,) set=. names='lua, zstd, leveldb, snappy and harfbuzz' ;;
    2,rocksdb) set=rocksdb names=RocksDB ;;
    2,boost) set=boost names=Boost ;;
    *) echo "usage: fetch.sh DEST [rocksdb|boost]" >&2; exit 2 ;;
esac

here=$(cd -- "$(dirname -- "$0")" && pwd)
mkdir -p -- "$1"
dest=$(cd -- "$1" && pwd)

stamp=$(cat "$here/$set"/*.lock "$here/fetch.sh" 2>/dev/null | cksum)
stamp_file=$dest/.stamp${2:+-$2}
up_to_date() { [ "$(cat "$stamp_file" 2>/dev/null)" = "$stamp" ]; }
if up_to_date; then exit 0; fi

# One at a time. The lock is a directory that holds its owner's pid, so that a
# lock left by a killed run is noticed and taken over.
lock=$dest/.lock
tmp=$dest/.tmp.$$
waited=0
until mkdir "$lock" 2>/dev/null; do
    owner=$(cat "$lock/pid" 2>/dev/null || true)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
        # Rename first: if it was somebody's fresh lock after all, put it back.
        if mv "$lock" "$lock.$$" 2>/dev/null; then
            if [ "$(cat "$lock.$$/pid" 2>/dev/null)" = "$owner" ]; then
                rm -rf "$lock.$$"
            else
                mv "$lock.$$" "$lock"
            fi
        fi
        continue
    fi
    waited=$((waited + 1))
    if [ "$waited" -gt 600 ]; then
        echo "fetch.sh: gave up waiting for $lock (remove it if no fetch.sh runs)" >&2
        exit 1
    fi
    sleep 1
done
trap 'rm -rf "$tmp" "$lock"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
echo $$ > "$lock/pid"
if up_to_date; then exit 0; fi

if [ "$set" = boost ]; then
    echo "fetch.sh: unpacking Boost's headers"
    rm -rf "$tmp" "$dest/boost"
    mkdir -p "$tmp/tree"
    # Root's downloads would be apt's own user's, who may not write here.
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download libboost1.74-dev >log 2>&1) || {
        cat "$tmp/log" >&2
        echo "fetch.sh: apt-get cannot download libboost1.74-dev" >&2
        exit 1
    }
    dpkg-deb --fsys-tarfile "$tmp"/libboost*.deb | tar -x -C "$tmp/tree" ./usr/include/boost
    mkdir "$dest/boost"
    mv "$tmp/tree/usr/include/boost" "$dest/boost/"
    echo "$stamp" > "$tmp/stamp"
    mv "$tmp/stamp" "$stamp_file"
    exit 0
fi

command -v cargo >/dev/null 2>&1 || { echo "fetch.sh: cargo is needed" >&2; exit 1; }
echo "fetch.sh: unpacking the sources of $names"
rm -rf "$tmp"
mkdir "$tmp"
# From $here, so that no other directory's .cargo/config.toml has a say.
if ! (cd "$here/$set" && cargo vendor --quiet --locked --versioned-dirs \
        --respect-source-config "$tmp/vendor" >"$tmp/log" 2>&1); then
    cat "$tmp/log" >&2
    echo "fetch.sh: cargo vendor failed" >&2
    exit 1
fi

# take NAME PACKAGE-AND-FOLDER: move one folder into place under its short name.
take() {
    for found in "$tmp/vendor/"$2; do
        [ -d "$found" ] || { echo "fetch.sh: no $2 in the packages" >&2; exit 1; }
        rm -rf "$dest/$1"
        mv "$found" "$dest/$1"
        return
    done
}
rm -f "$stamp_file"
if [ "$set" = rocksdb ]; then
    take rocksdb 'librocksdb-sys-*'
    echo "$stamp" > "$tmp/stamp"
    mv "$tmp/stamp" "$stamp_file"
    exit 0
fi
take lua 'lua-src-*/lua-5.4.*'
take zstd 'zstd-sys-*/zstd'
take leveldb 'leveldb-sys-*/deps/leveldb-*'
take snappy 'leveldb-sys-*/deps/snappy-*'
take harfbuzz 'harfbuzz-sys-*/harfbuzz'
# The one header that Snappy's configure step makes. It is made here, for a path
# into the build directory would get into debug information.
sed -e 's/${HAVE_[A-Z_]*_01}/1/' -e 's/${SNAPPY_MAJOR}/1/' \
    -e 's/${SNAPPY_MINOR}/1/' -e 's/${SNAPPY_PATCHLEVEL}/7/' \
    "$dest/snappy/snappy-stubs-public.h.in" > "$dest/snappy/snappy-stubs-public.h"
echo "$stamp" > "$tmp/stamp"
mv "$tmp/stamp" "$stamp_file"
