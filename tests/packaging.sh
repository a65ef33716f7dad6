#!/bin/sh
# packaging.sh [debian|arch|others]...: builds the packages of cross/packaging and tries them as their users would. Without
# arguments all. Needs root, tests/setup.sh packaging, and a Debian mirror for the system that the package is installed in.
#
#   debian   dpkg-buildpackage, then in a fresh Debian with stock's distcc: replace it, serve, distribute, purge
#   arch     makepkg as an ordinary user, pacman into an empty root, serve and distribute there
#            (DEB=FILE takes a package that is built)
#   others   APKBUILD and Buildroot's files with stand-ins for abuild and Buildroot: what they would install
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "packaging.sh: needs root, for chroot" >&2; exit 1; }
[ $# -gt 0 ] || set -- debian arch others
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
packages=${CARGO_TARGET_DIR:-$PWD/target}/package
dir=$(mktemp -d "${TMPDIR:-/tmp}/distcc-packaging.XXXXXX")
chmod 755 "$dir"
server=
finish() {
    status=$?
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    rm -rf "$dir"
    [ $status -eq 0 ] || echo "packaging.sh: FAILED (exit $status)" >&2
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() { echo "packaging.sh: $*" >&2; exit 1; }
# has ROOT FILE...
has() {
    root=$1
    shift
    for file; do [ -e "$root$file" ] || [ -L "$root$file" ] || fail "$file is missing"; done
}

# distributes ROOT PORT: a client in ROOT compiles on the server at PORT, through a link before the real compiler, what the
# compiler alone makes.
distributes() {
    echo 'int f(int x) { return x / 3; }' >"$1/tmp/a.c"
    chroot "$1" /bin/sh -ec "cd /tmp && gcc -O2 -c a.c -o local.o
        export DISTCC_DIR=/tmp/state DISTCC_FALLBACK=0 DISTCC_HOSTS=127.0.0.1:$2 && mkdir -p /tmp/state
        PATH=$3:\$PATH gcc -O2 -c a.c -o remote.o && cmp local.o remote.o"
}

free_port() { perl -MIO::Socket -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'; }

# fresh_debian ROOT PACKAGE...
fresh_debian() {
    root=$1
    shift
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mmdebstrap --quiet --variant=minbase --include="$(echo "$*" | tr ' ' ',')" \
        "$suite" "$root"
}

debian() {
    deb=${DEB:-}
    if [ -z "$deb" ]; then
        sh cross/packaging/deb.sh "$packages" >"$dir/deb.log" 2>&1 || { tail -n 30 "$dir/deb.log"; fail "deb.sh"; }
        deb=$(tail -n 1 "$dir/deb.log")
    fi
    echo "package: $deb, $(wc -c <"$deb") bytes"
    root=$dir/debian
    fresh_debian "$root" gcc libc6-dev adduser distcc logrotate
    has "$root" /usr/bin/distcc /etc/init.d/distcc
    # As an administrator of stock's has it.
    port=$(free_port)
    printf 'STARTDISTCC="true"\nALLOWEDNETS="127.0.0.1"\nLISTENER="127.0.0.1"\nJOBS="3"\nDISTCC_ARGS="--port %s"\n' "$port" \
        >"$root/etc/default/distcc"
    cp "$deb" "$root/tmp/"
    echo "installing over $(chroot "$root" dpkg-query -W distcc)"
    chroot "$root" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "/tmp/${deb##*/}" >"$dir/install.log" 2>&1 ||
        { cat "$dir/install.log"; fail "apt-get install"; }
    [ "$(chroot "$root" dpkg-query -f '${db:Status-Abbrev}' -W distcc-rs)" = "ii " ] || fail "not installed"
    chroot "$root" dpkg-query -f '${db:Status-Abbrev}' -W distcc 2>/dev/null | grep -q '^ii' && fail "distcc stays"
    chroot "$root" dpkg --verify distcc-rs
    has "$root" /lib/systemd/system/distccd.service /lib/systemd/system/distcc.service /etc/init.d/distcc \
        /etc/logrotate.d/distcc /usr/share/man/man1/distccd.1.gz /usr/share/doc/distcc-rs/copyright
    for other in "$root"/etc/*/distcc.dpkg-*; do [ ! -e "$other" ] || fail "$other: stock's was not taken over"; done
    grep -q "port $port" "$root/etc/default/distcc" || fail "the administrator's settings are gone"
    grep -q '^distccd:' "$root/etc/passwd" || fail "no user distccd"
    for name in gcc cc gcc-"$(chroot "$root" gcc -dumpversion)"; do has "$root" "/usr/lib/distcc/$name"; done
    chroot "$root" logrotate --debug /etc/logrotate.d/distcc >/dev/null 2>"$dir/rotate.log" || { cat "$dir/rotate.log"; fail logrotate; }

    # As an init system would.
    chroot "$root" /etc/init.d/distcc start
    server=$(cat "$root/run/distccd/distccd.pid")
    chroot "$root" /etc/init.d/distcc status
    distributes "$root" "$port" /usr/lib/distcc
    [ "$(stat -c %U "/proc/$server" 2>/dev/null)" != root ] || fail "the server is root"

    # Compilers come and go.
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get remove -y -q gcc "gcc-$(chroot "$root" gcc -dumpversion)" >"$dir/remove.log" 2>&1
    [ ! -L "$root/usr/lib/distcc/gcc" ] || fail "a link to a compiler that has gone"

    chroot "$root" /etc/init.d/distcc stop
    server=
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get purge -y -q distcc-rs distcc >"$dir/purge.log" 2>&1
    # Where nobody has decided otherwise, nothing starts by itself.
    chroot "$root" dpkg -i "/tmp/${deb##*/}" >"$dir/again.log" 2>&1 || { cat "$dir/again.log"; fail "dpkg -i"; }
    for link in "$root"/etc/rc2.d/S*distcc* "$root"/etc/systemd/system/*.wants/distcc*; do
        [ ! -L "$link" ] || fail "the server would start by itself"
    done
    chroot "$root" dpkg --purge distcc-rs >"$dir/purge.log" 2>&1
    left=$(find "$root" -xdev -name '*distcc*' ! -path "$root/tmp/*" ! -path "$root/var/cache/*" ! -path "$root/var/log/*" ! -path "$root/var/lib/apt/*" ! -path "$root/run/*")
    [ -z "$left" ] || fail "left behind: $left"
    echo "debian: replaced stock's distcc, served, distributed, left nothing behind"
}

arch() {
    archive=$(sh cross/packaging/source.sh "$packages")
    build=$dir/makepkg
    mkdir -p "$build"
    cp cross/packaging/arch/PKGBUILD "$archive" "$build/"
    # makepkg will not be root, and rustup's toolchain may be where only root looks.
    chown -R nobody "$build"
    printf 'source /etc/makepkg.conf\nPKGEXT=.pkg.tar\nCHOST=x86_64-pc-linux-gnu\n' >"$dir/makepkg.conf"
    cargo=$(dirname "$(command -v /usr/bin/cargo || command -v cargo)")
    (cd "$build" && env HOME="$build" PATH="$cargo:/usr/bin:/bin" setpriv --reuid nobody --regid nogroup --clear-groups \
        makepkg --config "$dir/makepkg.conf" --nodeps >"$dir/makepkg.log" 2>&1) ||
        { tail -n 30 "$dir/makepkg.log"; fail makepkg; }
    package=$(echo "$build"/distcc-rs-"$version"-1-*.pkg.tar)
    cp "$package" "$packages/"
    echo "built: $packages/${package##*/}, $(wc -c <"$package") bytes"

    # A root of a compiler, and pacman's own database.
    root=$dir/arch
    fresh_debian "$root" gcc libc6-dev
    mkdir -p "$root/var/lib/pacman"
    pacman --root "$root" --dbpath "$root/var/lib/pacman" --noconfirm --noscriptlet -dd -U "$package" >"$dir/pacman.log" 2>&1 ||
        { cat "$dir/pacman.log"; fail pacman; }
    pacman --root "$root" --dbpath "$root/var/lib/pacman" -Qk distcc-rs
    has "$root" /usr/lib/distcc/bin/gcc /usr/lib/distcc/bin/x86_64-pc-linux-gnu-g++ /etc/conf.d/distccd \
        /usr/lib/systemd/system/distccd.service /usr/lib/sysusers.d/distccd.conf /usr/share/licenses/distcc-rs/LICENSE-MIT
    [ ! -e "$root/usr/bin/distcc.new" ] || fail "a temporary file"
    port=$(free_port)
    chroot "$root" distccd --daemon --no-detach --listen 127.0.0.1 --port "$port" --log-stderr 2>"$dir/server.log" &
    server=$!
    tries=0
    until grep -q 'daemon started' "$dir/server.log"; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { cat "$dir/server.log"; fail "no server"; }
        sleep 0.1
    done
    distributes "$root" "$port" /usr/lib/distcc/bin
    kill "$server"
    wait "$server"
    server=
    echo "arch: built by makepkg, installed by pacman, served, distributed"
}

others() {
    # A program's worth of bytes is enough for what only copies it.
    sh cross/packaging/source.sh "$packages" >/dev/null
    tar -C "$dir" -xf "$packages/distcc-rs-$version.tar.gz"
    tree=$dir/distcc-rs-$version
    mkdir -p "$tree/target/release" "$tree/target/mips-linux/release"
    printf '#!/bin/sh\n' | tee "$tree/target/release/distcc" >"$tree/target/mips-linux/release/distcc"

    # As abuild: sources the file, changes to the sources, calls the functions. By busybox's shell.
    mkdir -p "$dir/bin"
    printf '#!/bin/sh\necho "$@" >>"%s/cargo.log"\n' "$dir" >"$dir/bin/cargo"
    chmod 755 "$dir/bin/cargo"
    PATH="$dir/bin:$PATH" srcdir="$dir" pkgdir="$dir/alpine" busybox sh -ec "
        . cross/packaging/alpine/APKBUILD
        [ \"\$pkgver\" = $version ]
        cd $tree
        build
        package"
    grep -q 'build --release --locked --offline' "$dir/cargo.log"
    has "$dir/alpine" /usr/bin/distccd /etc/init.d/distccd /etc/conf.d/distccd /usr/lib/distcc /usr/share/man/man1/pump.1
    [ ! -e "$dir/alpine/usr/lib/systemd" ] || fail "systemd's files on Alpine"
    for script in cross/packaging/alpine/*install; do busybox sh -n "$script"; done

    # As Buildroot: reads the file and runs the commands of each step.
    for init in SYSTEMD BUSYBOX OPENRC; do
        target=$dir/buildroot-$init
        # The directory of a step's stamp is that of the sources.
        cat >"$dir/buildroot.mk" <<END
BR2_INIT_$init = y
BR2_EXTERNAL_DISTCC_RS_PATH = $tree/cross/packaging/buildroot
RUSTC_TARGET_NAME = mips-linux
TARGET_DIR = $target
include $tree/cross/packaging/buildroot/external.mk
$tree/.stamp_$init:
	[ "\$(DISTCC_RS_VERSION)" = $version ] && [ -d \$(DISTCC_RS_SITE)/vendor ]
	\$(DISTCC_RS_INSTALL_TARGET_CMDS)
END
        make -s -f "$dir/buildroot.mk" "$tree/.stamp_$init"
        has "$target" /usr/bin/distccd
    done
    has "$dir" /buildroot-SYSTEMD/usr/lib/systemd/system/distccd.service /buildroot-BUSYBOX/etc/init.d/S70distccd \
        /buildroot-OPENRC/etc/init.d/distccd
    echo "others: APKBUILD and Buildroot's files install what they should; neither was built by its own tools"
}

for part; do
    case $part in
        debian | arch | others) "$part" ;;
        *) echo "usage: packaging.sh [debian|arch|others]..." >&2; exit 2 ;;
    esac
done
