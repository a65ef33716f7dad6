# What the demos share; to be sourced with `here` (this directory), `binary` and `dir` (absolute) set. Programs' names in
# $dir/bin, a server on a free loopback port, and the two projects.

jobs=$(($(getconf _NPROCESSORS_ONLN) + 2))
server=

finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
}
trap finish EXIT
trap 'exit 130' INT TERM

# lay_out NAME...: the binary under these names, and the names of compilers that the server allows, which are also links to it.
lay_out() {
    rm -rf "$dir/bin" "$dir/state"
    mkdir -p "$dir/bin/compilers" "$dir/state"
    for name in "$@"; do ln -s "$binary" "$dir/bin/$name"; done
    for name in gcc g++; do ln -s "$binary" "$dir/bin/compilers/$name"; done
    sh "$here/projects/fetch.sh" "$dir/sources"
    unset MAKEFLAGS MAKELEVEL || :
    DISTCC_DIR=$dir/state
    export DISTCC_DIR
    PATH=$dir/bin:$PATH
}

# listening TEXT: waits for the port that a line of the server's log ends with.
listening() {
    port=
    while [ -z "$port" ]; do
        kill -0 "$server" 2>/dev/null || { cat "$dir/server.log" >&2; exit 1; }
        port=$(sed -n "s/.*$1.*:\\([0-9]*\\)\$/\\1/p" "$dir/server.log")
        [ -n "$port" ] || sleep 0.1
    done
}

# start_server OPTION...: sets port. It stays the user it is started by: root's own files are often closed to others.
start_server() {
    : >"$dir/server.log"
    [ "$(id -u)" -ne 0 ] || set -- --user root "$@"
    "$dir/bin/distccd" --daemon --no-detach --listen 127.0.0.1 --port 0 --jobs "$jobs" \
        --masquerade-dir "$dir/bin/compilers" --log-stderr --log-level info "$@" 2>"$dir/server.log" &
    server=$!
    listening "\] listening on"
}

stop_server() {
    kill "$server"
    wait "$server" || { echo "The server did not end well; see $dir/server.log" >&2; exit 1; }
    server=
}

# build OUT CC CXX TARGET: both projects.
build() {
    mkdir -p "$1"
    make -s -j"$jobs" -f "$here/projects/lua.mk" SRC="$dir/sources/lua" OUT="$1/lua" CC="$2" OPT=-O2 "$4"
    make -s -j"$jobs" -f "$here/projects/leveldb.mk" SRC="$dir/sources/leveldb" OUT="$1/leveldb" CXX="$3" OPT=-O2 "$4"
}

# compare OUT: its objects with those of $dir/local; sets same and different.
compare() {
    same=0
    different=
    for object in "$dir"/local/*/*.o; do
        if cmp -s "$object" "$1/${object#"$dir/local/"}"; then
            same=$((same + 1))
        else
            different="$different ${object##*/}"
        fi
    done
}
