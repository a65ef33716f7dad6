#!/usr/bin/env bash
# demo-pump.sh BINARY DIR: pump mode beside plain mode on this machine alone. Builds a real C and a real C++ project through a server of our
# own, once with preprocessing here and once with an include server, compares every object with a local build, and shows what was
# sent and what this machine spent on it. bash, because it can ask the server for its statistics.
set -euo pipefail

[ $# -eq 2 ] || { echo "usage: demo-pump.sh BINARY DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
dir=$(cd "$2" && pwd)

. "$here/demo-server.sh"

rm -rf "$dir/local" "$dir/plain" "$dir/pump"
lay_out distcc distccd pump lsdistcc

# received: bytes that the server has got from clients.
received() {
    exec 3<>"/dev/tcp/127.0.0.1/$stats_port"
    printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
    sed -n 's/^distccd_received_bytes_total //p' <&3
    exec 3<&-
}

# through OUT OPTIONS: the objects of both projects by the server, which is named with these options; sets bytes, compiled and seconds, those
# of make and everything that it started.
through() {
    start_server --stats --stats-port 0
    jobs_port=$port
    listening "stats server listening on"
    stats_port=$port
    DISTCC_HOSTS="127.0.0.1:$jobs_port/$jobs$2"
    DISTCC_LOG=$dir/$1.log
    export DISTCC_HOSTS DISTCC_LOG
    rm -f "$DISTCC_LOG"
    echo "Building Lua (C) and LevelDB with Snappy (C++): make -j$jobs CC='distcc gcc' CXX='distcc g++', DISTCC_HOSTS=$DISTCC_HOSTS"
    [ "$1" != pump ] || eval "$(INCLUDE_SERVER_ARGS=-t pump --startup)"
    seconds=$( (build "$dir/$1" "distcc gcc" "distcc g++" objects >&2; times) | cpu)
    [ "$1" != pump ] || pump --shutdown | tee "$dir/include_server.log"
    bytes=$(received)
    stop_server
    compiled=$(grep -c ' COMPILE_OK ' "$dir/server.log")
}

# cpu: the processor time of a shell's children, from the second line of what `times` says.
cpu() {
    awk 'NR == 2 { gsub(/[ms]/, " "); split($0, t, " "); printf "%.2f", t[1] * 60 + t[2] + t[3] * 60 + t[4] }'
}

through plain ,lzo
plain_bytes=$bytes plain_compiled=$compiled plain_seconds=$seconds
through pump ,cpp,lzo
entries=$(awk '/ bytes in .* files and links/ { sum += $5 } END { print sum }' "$dir/pump.log")
here_jobs=$(grep -c ' locally: ' "$dir/pump.log" || :)
server_seconds=$(sed -n 's/.*took \([0-9.]*\) s of a processor.*/\1/p' "$dir/include_server.log")

echo "Building the same locally, to compare."
build "$dir/local" gcc g++ check
compare "$dir/plain"
plain_same=$same
plain_different=$different
compare "$dir/pump"

awk -v jobs="$compiled" -v plain_jobs="$plain_compiled" -v plain_bytes="$plain_bytes" -v bytes="$bytes" -v entries="$entries" \
    -v plain_seconds="$plain_seconds" -v seconds="$seconds" -v server="$server_seconds" 'BEGIN {
    row = "%-26s %12s %12s\n"
    printf "\n" row, "", "plain, lzo", "pump"
    printf row, "compiled by the server", plain_jobs, jobs
    printf row, "files and links sent", plain_jobs, entries
    printf row, "bytes sent, compressed", sprintf("%.1f MB", plain_bytes / 1e6), sprintf("%.1f MB", bytes / 1e6)
    printf row, "CPU time of make and clients", plain_seconds " s", seconds " s"
    printf row, "  and of the include server", "", server " s"
}'
echo "objects equal to the local compiler's: $plain_same in plain mode, $same in pump mode"
[ -z "$plain_different$different" ] || { echo "different: $plain_different $different" >&2; exit 1; }
[ "$compiled" -eq "$same" ] || { echo "not every object was compiled by the server in pump mode" >&2; exit 1; }
[ "$here_jobs" -eq 0 ] || { echo "$here_jobs sources were preprocessed here; see $dir/pump.log" >&2; exit 1; }
