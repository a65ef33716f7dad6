#!/bin/sh
# static.sh: one static file for this kind of machine, with the toolchain that is here: musl's target if rustup has it, else glibc's.
set -eu
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
musl=$(echo "$host" | sed 's/-gnu/-musl/')
if ls "$(rustc --print target-libdir --target "$musl" 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1; then
    target=$musl
    cargo build --release --locked --target "$target"
else
    target=$host
    RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" cargo build --release --locked --target "$target"
fi
file=target/$target/release/distcc
if ldd "$file" 2>/dev/null | grep -q '=>'; then
    echo "$file is not static" >&2
    exit 1
fi
echo "$file: $(wc -c <"$file") bytes, static"
