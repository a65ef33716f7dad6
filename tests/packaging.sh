#!/bin/sh
# packaging.sh [debian|arch|gentoo|openrc|others]...: builds the packages of cross/packaging and tries them as their users would. Without
# arguments all. Needs root, tests/setup.sh packaging, and a Debian mirror for the system that the package is installed in.
#
#   debian   dpkg-buildpackage, then in a fresh Debian with stock's distcc: replace it, serve, distribute, purge
#   arch     makepkg as an ordinary user, pacman into an empty root, serve and distribute there
#            (DEB=FILE takes a package that is built)
#   gentoo   Portage, from the package index of Python, as a Gentoo Prefix: the ebuild is built and merged, and FEATURES=distcc
#            distributes another package
#   openrc   install.sh into a fresh Debian with OpenRC, whose tools start, reload and stop the server
#   others   APKBUILD and Buildroot's files with stand-ins for abuild and Buildroot: what they would install
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "packaging.sh: needs root, for chroot" >&2; exit 1; }
[ $# -gt 0 ] || set -- debian arch gentoo openrc others
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
packages=${CARGO_TARGET_DIR:-$PWD/target}/package
dir=$(mktemp -d "${TMPDIR:-/tmp}/distcc-packaging.XXXXXX")
chmod 755 "$dir"
server=
mounted=
# What is tried of some packages is how they are built, not how fast the program is.
quick="CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16"
finish() {
    status=$?
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    for at in $mounted; do umount "$at"; done
    rm -rf --one-file-system "$dir"
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

# serve PORT COMMAND...: starts the server, which stop ends.
serve() {
    port=$1
    shift
    : >"$dir/server.log"
    "$@" --daemon --no-detach --listen 127.0.0.1 --port "$port" --log-stderr 2>"$dir/server.log" &
    server=$!
    tries=0
    until grep -q 'daemon started' "$dir/server.log"; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { cat "$dir/server.log"; fail "no server"; }
        sleep 0.1
    done
}
stop() {
    kill "$server"
    wait "$server"
    server=
}

# chroot_apt ROOT LOG WORD...: apt-get in ROOT.
chroot_apt() {
    root=$1
    log=$dir/$2
    shift 2
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" >"$log" 2>&1 || { cat "$log"; fail "apt-get $*"; }
}

# fresh_debian ROOT [PACKAGE...]: a system with a compiler and these packages.
fresh_debian() {
    root=$1
    shift
    if [ ! -e "$dir/base.tar" ]; then
        suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
        mmdebstrap --quiet --variant=minbase --skip=cleanup/apt/lists --include=gcc,libc6-dev "$suite" "$dir/base.tar"
    fi
    mkdir "$root"
    tar -C "$root" -xf "$dir/base.tar"
    [ $# -eq 0 ] || chroot_apt "$root" fresh.log install --no-install-recommends "$@"
}

# toolchain: puts cargo and rustc into $rust, by which every user finds them. rustup's own look below HOME, and the toolchain
# may be where only root looks.
rust=$dir/rust/bin
toolchain() {
    [ ! -d "$rust" ] || return 0
    mkdir -p "$dir/rust"
    mount --bind "$(rustc --print sysroot)" "$dir/rust"
    mounted="$mounted $dir/rust"
}

debian() {
    deb=${DEB:-}
    if [ -z "$deb" ]; then
        sh cross/packaging/deb.sh "$packages" >"$dir/deb.log" 2>&1 || { tail -n 30 "$dir/deb.log"; fail "deb.sh"; }
        deb=$(tail -n 1 "$dir/deb.log")
    fi
    echo "package: $deb, $(wc -c <"$deb") bytes"
    root=$dir/debian
    fresh_debian "$root" adduser distcc logrotate
    has "$root" /usr/bin/distcc /etc/init.d/distcc
    # As an administrator of stock's has it.
    port=$(free_port)
    printf 'STARTDISTCC="true"\nALLOWEDNETS="127.0.0.1"\nLISTENER="127.0.0.1"\nJOBS="3"\nDISTCC_ARGS="--port %s"\n' "$port" \
        >"$root/etc/default/distcc"
    cp "$deb" "$root/tmp/"
    echo "installing over $(chroot "$root" dpkg-query -W distcc)"
    chroot_apt "$root" install.log install --no-install-recommends "/tmp/${deb##*/}"
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
    chroot_apt "$root" remove.log remove gcc "gcc-$(chroot "$root" gcc -dumpversion)"
    [ ! -L "$root/usr/lib/distcc/gcc" ] || fail "a link to a compiler that has gone"

    chroot "$root" /etc/init.d/distcc stop
    server=
    chroot_apt "$root" purge.log purge distcc-rs distcc
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
    # makepkg will not be root.
    chown -R nobody "$build"
    printf 'source /etc/makepkg.conf\nPKGEXT=.pkg.tar\nCHOST=x86_64-pc-linux-gnu\n' >"$dir/makepkg.conf"
    toolchain
    # shellcheck disable=SC2086
    (cd "$build" && env $quick HOME="$build" PATH="$rust:/usr/bin:/bin" setpriv --reuid nobody --regid nogroup --clear-groups \
        makepkg --config "$dir/makepkg.conf" --nodeps >"$dir/makepkg.log" 2>&1) ||
        { tail -n 30 "$dir/makepkg.log"; fail makepkg; }
    package=$(echo "$build"/distcc-rs-"$version"-1-*.pkg.tar)
    cp "$package" "$packages/"
    echo "built: $packages/${package##*/}, $(wc -c <"$package") bytes"

    # A root of a compiler, and pacman's own database.
    root=$dir/arch
    fresh_debian "$root"
    mkdir -p "$root/var/lib/pacman"
    pacman --root "$root" --dbpath "$root/var/lib/pacman" --noconfirm --noscriptlet -dd -U "$package" >"$dir/pacman.log" 2>&1 ||
        { cat "$dir/pacman.log"; fail pacman; }
    pacman --root "$root" --dbpath "$root/var/lib/pacman" -Qk distcc-rs
    has "$root" /usr/lib/distcc/bin/gcc /usr/lib/distcc/bin/x86_64-pc-linux-gnu-g++ /etc/conf.d/distccd \
        /usr/lib/systemd/system/distccd.service /usr/lib/sysusers.d/distccd.conf /usr/share/licenses/distcc-rs/LICENSE-MIT
    [ ! -e "$root/usr/bin/distcc.new" ] || fail "a temporary file"
    port=$(free_port)
    serve "$port" chroot "$root" distccd
    distributes "$root" "$port" /usr/lib/distcc/bin
    stop
    echo "arch: built by makepkg, installed by pacman, served, distributed"
}

# What is no matter of a package here: its own tree of packages, users and name spaces.
portage_prefix() {
    python3 -m venv "$prefix"
    "$prefix/bin/pip" install -q --disable-pip-version-check portage==3.0.83
    config=$prefix/etc/portage
    tree=$dir/tree
    mkdir -p "$config" "$tree/profiles/any" "$tree/metadata" "$dir/distfiles" "$dir/portage" "$dir/tools"
    # Portage runs GNU's tools by these names.
    for tool in tar find sed xargs; do ln -s "$(command -v $tool)" "$dir/tools/g$tool"; done
    echo gentoo >"$tree/profiles/repo_name"
    echo amd64 >"$tree/profiles/arch.list"
    echo dev-util >"$tree/profiles/categories"
    echo 8 | tee "$tree/profiles/eapi" >"$tree/profiles/any/eapi"
    printf 'masters =\nthin-manifests = true\n' >"$tree/metadata/layout.conf"
    printf 'ARCH="amd64"\nACCEPT_KEYWORDS="~amd64"\nCHOST="x86_64-pc-linux-gnu"\n' >"$tree/profiles/any/make.defaults"
    ln -s "$tree/profiles/any" "$config/make.profile"
    printf '[DEFAULT]\nmain-repo = gentoo\n[gentoo]\nlocation = %s\n[distcc-rs]\nlocation = %s\n' "$tree" "$overlay" \
        >"$config/repos.conf"
    off=
    for feature in sandbox usersandbox userpriv userfetch network-sandbox pid-sandbox ipc-sandbox mount-sandbox; do
        off="$off -$feature"
    done
    printf '%s="%s"\n' DISTDIR "$dir/distfiles" PORTAGE_TMPDIR "$dir/portage" FEATURES "$off" >"$config/make.conf"
}

gentoo() {
    archive=$(sh cross/packaging/source.sh "$packages")
    prefix=$dir/prefix
    overlay=$dir/overlay
    cp -R cross/packaging/gentoo "$overlay"
    portage_prefix
    cp "$archive" "$dir/distfiles/"
    toolchain
    ebuild() {
        # shellcheck disable=SC2086
        (cd "$overlay/dev-util/$1" && package=$1-$2 && shift 2 &&
            env $quick PATH="$dir/tools:$rust:$PATH" PORTAGE_USERNAME=root PORTAGE_GRPNAME=root DISTCC_HOSTS="127.0.0.1:$port/4" DISTCC_FALLBACK=0 \
                "$prefix/bin/ebuild" "$package.ebuild" manifest clean "$@" >"$dir/ebuild.log" 2>&1) ||
            { tail -n 40 "$dir/ebuild.log"; fail "ebuild $1"; }
    }
    port=$(free_port)
    ebuild distcc-rs "$version" merge
    has "$prefix" /usr/bin/distccd /etc/init.d/distccd /etc/conf.d/distccd /usr/lib/distcc/bin/gcc /usr/lib/distcc/bin/g++ \
        /usr/share/man/man1/distcc.1.bz2 /usr/share/doc/distcc-rs-"$version"/security.md.bz2

    mkdir -p "$overlay/dev-util/hello/files"
    cat >"$overlay/dev-util/hello/hello-1.ebuild" <<'END'
EAPI=8
DESCRIPTION="Eight units for FEATURES=distcc"
HOMEPAGE="https://distcc-rs.invalid/"
LICENSE="MIT"
SLOT="0"
KEYWORDS="~amd64"
S=${WORKDIR}
src_compile() {
	for i in 1 2 3 4 5 6 7 8; do echo "int f$i(int x) { return x / $i; }" >$i.c; done
	make -j8 CC=gcc 1.o 2.o 3.o 4.o 5.o 6.o 7.o 8.o || die
}
END
    echo 'FEATURES="${FEATURES} distcc"' >>"$prefix/etc/portage/make.conf"
    serve "$port" "$prefix/usr/bin/distccd" --masquerade-dir "$prefix/usr/lib/distcc/bin"
    ebuild hello 1 compile
    [ "$(grep -c COMPILE_OK "$dir/server.log")" -eq 8 ] || { cat "$dir/ebuild.log" "$dir/server.log"; fail "FEATURES=distcc"; }
    stop
    sed -i 's/ distcc"$/"/' "$prefix/etc/portage/make.conf"
    ebuild distcc-rs "$version" unmerge
    for file in usr/bin/distcc usr/lib/distcc/bin/gcc; do
        [ ! -e "$prefix/$file" ] && [ ! -L "$prefix/$file" ] || fail "left behind: $file"
    done
    echo "gentoo: built and merged by Portage, in the manner of Gentoo Prefix; FEATURES=distcc distributed; unmerged"
}

openrc() {
    root=$dir/openrc
    fresh_debian "$root" openrc
    cargo build --release --locked
    DESTDIR=$root PREFIX=/usr INIT=openrc sh cross/install.sh
    port=$(free_port)
    echo "DISTCC_ARGS=\"--listen 127.0.0.1 --port $port --allow-compiler gcc --log-file /tmp/distccd.log\"" >"$root/etc/conf.d/distccd"
    # As if it had started the machine. Its dependencies, a network among them, are the machine's.
    mkdir -p "$root/links"
    for state in daemons exclusive failed inactive options scheduled started starting stopping tmp wasinactive; do
        mkdir -p "$root/run/openrc/$state"
    done
    touch "$root/run/openrc/softlevel"
    chroot "$root" mount -t proc proc /proc
    mounted="$mounted $root/proc"
    service() { chroot "$root" rc-service --nodeps distccd "$@"; }
    service start
    server=$(cat "$root/run/distccd.pid")
    service status
    ln -s /usr/bin/distcc "$root/links/gcc"
    distributes "$root" "$port" /links
    mv "$root/tmp/distccd.log" "$root/tmp/distccd.log.1"
    service reload
    distributes "$root" "$port" /links
    grep -q COMPILE_OK "$root/tmp/distccd.log" || fail "reload did not open the log again"
    service stop
    server=
    if service status; then fail "it still runs"; fi
    chroot "$root" rc-update add distccd default
    echo "openrc: started, reloaded and stopped by OpenRC, served"
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
        debian | arch | gentoo | openrc | others) ;;
        *) echo "usage: packaging.sh [debian|arch|gentoo|openrc|others]..." >&2; exit 2 ;;
    esac
    started=$(date +%s)
    "$part"
    echo "--- $part: $(($(date +%s) - started)) s"
done
