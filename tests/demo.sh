#!/bin/sh
# demo.sh BINARY DIR: the main job on this machine alone. Starts a server on a free loopback port, builds a real C and a real C++ project
# through it with make -j, shows what the monitor sees meanwhile, compares every object with a local build, and stops the server.
set -eu

[ $# -eq 2 ] || { echo "usage: demo.sh BINARY DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
dir=$(cd "$2" && pwd)

. "$here/demo-server.sh"

rm -rf "$dir/local" "$dir/remote" "$dir/log"
lay_out distcc distccd distccmon-text
start_server
echo "A server listens on 127.0.0.1:$port and takes $jobs jobs at once."

now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{ printf "%.1f", $1 - $2 }'; }

DISTCC_LOG=$dir/log
DISTCC_HOSTS="127.0.0.1:$port/$jobs,lzo"
export DISTCC_LOG DISTCC_HOSTS

echo "Building Lua (C) and LevelDB with Snappy (C++): make -j$jobs CC='distcc gcc' CXX='distcc g++', DISTCC_HOSTS=$DISTCC_HOSTS"
begun=$(now)
build "$dir/remote" "distcc gcc" "distcc g++" check &
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
build "$dir/local" gcc g++ check
local_time=$(since "$begun")
compare "$dir/remote"
stop_server

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
