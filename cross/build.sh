#!/bin/sh
# build.sh MACHINE: the static binary for a kind of machine (a file MACHINE.conf here), as target/dist/MACHINE/distcc.
#
# Two ways. With Debian's Rust and zig (cross/setup.sh) the standard library is built along, as small as it gets; that
# is what releases are made of. Where that is not installed but rustup has the target, plain cargo does it, with
# rust-lld as the linker and a file that is larger. TOOLCHAIN=debian or TOOLCHAIN=rustup insists on one.
#
# The same sources give the same bytes, wherever they and cargo's directory lie.
set -eu
cd "$(dirname "$0")/.."

machine=${1-}
[ -n "$machine" ] && [ -r "cross/$machine.conf" ] || {
    echo "usage: build.sh MACHINE; the machines: $(cd cross && echo *.conf | sed 's/\.conf//g')" >&2
    exit 2
}
target=
flags=
small=
profile=
most=
. "./cross/$machine.conf"

directory=${CARGO_TARGET_DIR:-target}/dist
# Of each machine its own, so that several can be built at once.
build=$directory/build/$machine
cargo_home=${CARGO_HOME:-$HOME/.cargo}
has_target() { ls "$(rustc --print target-libdir --target "$target" 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1; }

toolchain=${TOOLCHAIN:-}
if [ -z "$toolchain" ]; then
    if sh cross/setup.sh --check >/dev/null 2>&1; then
        toolchain=debian
    elif has_target; then
        toolchain=rustup
    else
        echo "build.sh: no Rust for $target. Either: rustup target add $target" >&2
        echo "or, as releases are built, on Debian: sh cross/setup.sh" >&2
        exit 1
    fi
fi

# Small before fast, but for the codec (Cargo.toml); nobody unwinds.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=z CARGO_PROFILE_RELEASE_PANIC=abort
# Paths of the building machine would stand in the messages of panics.
flags="$flags --remap-path-prefix=$PWD=. --remap-path-prefix=$cargo_home=cargo"
case $toolchain in
    debian)
        venv=$(sh cross/setup.sh --check)
        # In $profile are brackets.
        set -f
        # Debian's rustc has no start-up objects of musl; zig brings its own. Tables for unwinding are a tenth of the
        # file, and so are the texts of panics: sys/start.rs says what stands in for them. No line of the log tells its place in the source.
        # Its musl is 1.2, in which all times have 64 bits; the crate libc, the library's older copy of which knows only the variable, is for 1.1.
        env PATH="$venv/bin:/usr/bin:/bin" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1 \
            CARGO_ZIGBUILD_PYTHON_PATH="$venv/bin/python" CARGO_PROFILE_RELEASE_PANIC=immediate-abort \
            RUSTFLAGS="$flags -C link-self-contained=no -C force-unwind-tables=no -Zlocation-detail=none --cfg silent_panics --cfg libc_unstable_musl_v1_2 $small" \
            cargo-zigbuild zigbuild -Zpanic-immediate-abort -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size \
            $profile --release --locked --target "$target" --target-dir "$build"
        ;;
    rustup)
        linker=CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')_LINKER
        env "$linker=rust-lld" RUSTFLAGS="$flags" \
            cargo build --release --locked --target "$target" --target-dir "$build"
        ;;
    *)
        echo "build.sh: TOOLCHAIN is \"$toolchain\"; it must be debian or rustup" >&2
        exit 2
        ;;
esac

# What releases are made of is held to a size; rustup's library is what it is.
[ "$toolchain" = debian ] || most=0
most=${MOST_BYTES:-${most:-786432}}
mkdir -p "$directory/$machine"
binary=$directory/$machine/distcc
cp "$build/$target/release/distcc" "$binary"
bytes=$(wc -c <"$binary")
printf '%-8s %7d bytes  %s (%s)\n' "$machine" "$bytes" "$binary" "$toolchain"
if [ "$most" -gt 0 ] && [ "$bytes" -gt "$most" ]; then
    echo "build.sh: $binary is larger than $most bytes (MOST_BYTES)" >&2
    exit 1
fi
