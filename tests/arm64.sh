#!/bin/sh
# arm64.sh DIR: put the compilers of a 64-bit ARM board into DIR, to be run under qemu-aarch64-static.
#
# They are Debian's, of the versions that this machine has, unpacked and not installed: nothing outside DIR is
# changed, and no right is needed. What gcc runs is replaced by scripts that run it under qemu: the kernel does
# not know these programs. With all there nothing is done.
set -eu

[ $# -eq 1 ] || { echo "usage: arm64.sh DIR" >&2; exit 2; }
[ -e "$1/complete" ] && exit 0
rm -rf "$1"
mkdir -p "$1/apt/lists/partial" "$1/apt/archives/partial" "$1/apt/state" "$1/root/proc"
dir=$(cd "$1" && pwd)
gcc=$(gcc -dumpversion)
clang=$(clang -dumpversion)
gcc=${gcc%%.*} clang=${clang%%.*}

: >"$dir/apt/status"
cat >"$dir/apt/apt.conf" <<EOF
Dir::State "$dir/apt/state";
Dir::State::lists "$dir/apt/lists";
Dir::State::status "$dir/apt/status";
Dir::Cache "$dir/apt";
Dir::Cache::archives "$dir/apt/archives";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Acquire::Retries "3";
EOF
export APT_CONFIG="$dir/apt/apt.conf"
echo "arm64.sh: unpacking gcc-$gcc and clang-$clang for arm64 into $1"
for step in update "install -y --download-only --no-install-recommends gcc-$gcc clang-$clang"; do
    # shellcheck disable=SC2086
    apt-get -q $step >"$dir/apt/log" 2>&1 || { cat "$dir/apt/log" >&2; exit 1; }
done
for package in "$dir"/apt/archives/*.deb; do
    # Headers are not needed; the debug runtimes are large.
    case ${package##*/} in libc6-dev_* | lib*san* | perl* | libperl* | linux-libc-dev* | libssl* | libobjc* | libstdc++-*-dev*) continue ;; esac
    dpkg-deb -x "$package" "$dir/root"
done
rm -rf "$dir/apt" "$dir/root/usr/share"

parts=usr/lib/gcc/aarch64-linux-gnu/$gcc
for program in "$parts/cc1" usr/bin/aarch64-linux-gnu-as; do
    mv "$dir/root/$program" "$dir/root/$program.real"
    printf '#!/bin/sh\nexec qemu-aarch64-static -L %s %s "$@"\n' "$dir/root" "$dir/root/$program.real" >"$dir/root/$program"
    chmod 755 "$dir/root/$program"
done
ln -s ../../../../bin/aarch64-linux-gnu-as "$dir/root/$parts/as"
ln -s "root/usr/bin/aarch64-linux-gnu-gcc-$gcc" "$dir/gcc"
ln -s "root/usr/lib/llvm-$clang/bin/clang" "$dir/clang"
: >"$dir/complete"
