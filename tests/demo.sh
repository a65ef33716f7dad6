#!/bin/sh
# demo.sh BINARY DIR: the main job on this machine alone. Starts a server on a free loopback port, builds a real C and a real C++ project
# through it with make -j, shows what the monitor sees meanwhile, compares every object with a local build, and stops the server.
set -eu

[ $# -eq 2 ] || { echo "usage: demo.sh BINARY DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
dir=$(cd "$2" && pwd)
jobs=$(($(getconf _NPROCESSORS_ONLN) + 2))

rm -rf "$dir/bin" "$dir/local" "$dir/remote" "$dir/state" "$dir/log" "$dir/server.log"
mkdir -p "$dir/bin" "$dir/state"
: >"$dir/server.log"
ln -s "$binary" "$dir/bin/distcc"
ln -s "$binary" "$dir/bin/distccd"
ln -s "$binary" "$dir/bin/distccmon-text"
# The names of compilers that the server allows, and a masquerade directory, are the same thing: links to distcc.
mkdir -p "$dir/bin/compilers"
for name in gcc g++; do ln -s "$binary" "$dir/bin/compilers/$name"; done

server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
}
trap finish EXIT
trap 'exit 130' INT TERM

sh "$here/projects/fetch.sh" "$dir/sources"

"$dir/bin/distccd" --daemon --no-detach --listen 127.0.0.1 --port 0 --jobs "$jobs" \
    --masquerade-dir "$dir/bin/compilers" --log-stderr --log-level info 2>"$dir/server.log" &
server=$!
port=
while [ -z "$port" ]; do
    kill -0 "$server" 2>/dev/null || { cat "$dir/server.log" >&2; exit 1; }
    port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$dir/server.log")
    [ -n "$port" ] || sleep 0.1
done
echo "A server listens on 127.0.0.1:$port and takes $jobs jobs at once."

# build OUT CC CXX: both projects.
build() {
    mkdir -p "$1"
    make -s -j"$jobs" -f "$here/projects/lua.mk" SRC="$dir/sources/lua" OUT="$1/lua" CC="$2" OPT=-O2 check
    make -s -j"$jobs" -f "$here/projects/leveldb.mk" SRC="$dir/sources/leveldb" OUT="$1/leveldb" CXX="$3" OPT=-O2 check
}

now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{ printf "%.1f", $1 - $2 }'; }

unset MAKEFLAGS MAKELEVEL || :
DISTCC_DIR=$dir/state
DISTCC_LOG=$dir/log
DISTCC_HOSTS="127.0.0.1:$port/$jobs,lzo"
export DISTCC_DIR DISTCC_LOG DISTCC_HOSTS
PATH=$dir/bin:$PATH

echo "Building Lua (C) and LevelDB with Snappy (C++): make -j$jobs CC='distcc gcc' CXX='distcc g++', DISTCC_HOSTS=$DISTCC_HOSTS"
begun=$(now)
build "$dir/remote" "distcc gcc" "distcc g++" &
building=$!
shown=0
while kill -0 "$building" 2>/dev/null; do
    sleep 0.4
    view=$(distccmon-text)
    if [ "$shown" -lt 4 ] && [ -n "$view" ]; then
        echo "distccmon-text shows:"
        echo "$view"
        shown=$((shown + 1))
        sleep 1
    fi
done
wait "$building" || { echo "The build through distcc failed; see $dir/log and $dir/server.log" >&2; exit 1; }
remote_time=$(since "$begun")

echo "Building the same locally, to compare."
begun=$(now)
build "$dir/local" gcc g++
local_time=$(since "$begun")

same=0
different=
for object in "$dir"/local/*/*.o; do
    other=$dir/remote/${object#"$dir/local/"}
    if cmp -s "$object" "$other"; then same=$((same + 1)); else different="$different ${object##*/}"; fi
done

kill "$server"
wait "$server" || { echo "The server did not end well; see $dir/server.log" >&2; exit 1; }
server=

remote=$(grep -c ' COMPILE_OK ' "$dir/server.log")
here_jobs=$(grep -c 'compiling locally:' "$dir/log" || :)
bytes=$(awk '/ bytes from .* compiled on / { sum += $2 } END { printf "%.1f", sum / 1048576 }' "$dir/log")
left=$(find "$dir/state/state" -type f | wc -l)

echo
echo "objects:          $same equal to the local compiler's, $(echo "$different" | wc -w) different$different"
echo "compiled:         $remote by the server, $here_jobs commands here (links)"
echo "source sent:      $bytes MB before compression"
echo "time:             $remote_time s through distcc, $local_time s locally (one machine does both halves here)"
[ -z "$different" ] || exit 1
[ "$remote" -eq "$same" ] || { echo "not every object was compiled by the server" >&2; exit 1; }
[ "$left" -eq 0 ] || { echo "states of jobs are left over in $dir/state/state" >&2; exit 1; }
[ "$shown" -gt 0 ] || { echo "the monitor saw nothing" >&2; exit 1; }
