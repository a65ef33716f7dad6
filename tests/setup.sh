#!/bin/sh
# setup.sh [GROUP...]: make sure that this machine has what the project needs.
#
#   build   cargo and rustc, a C compiler, make
#   test    build, and compilers of C++ and Objective-C, clang, the stock distcc,
#           strace, file, ccache, busybox, OpenSSH, dropbear and Avahi (no server of theirs is started)
#   demo    build, and a C++ compiler
#   extra   clang, another gcc, cross compilers, qemu, cmake, ninja, meson, autotools, makepkg, zsh, fish and
#           logrotate, valgrind, and compilers of an ARM board unpacked below target: for the tests that skip
#           themselves without them
#   boards  cross compilers for the boards that CI has no binaries of
#   packaging build, and what tests/packaging.sh builds packages with
#
# Without arguments: build. What is there already is left alone, and when all is
# there nothing is run. What is missing is installed where that is possible
# without a question (apt-get, as root or with a sudo that asks nothing);
# otherwise the commands to run are printed and the exit status is 1. Rust itself
# is never installed. Stock distcc only serves to test against: no daemon is
# started.
set -eu

rust_min=1.85

usage() {
    echo "usage: setup.sh [build|test|demo|extra|boards|packaging]..." >&2
    exit 2
}

[ $# -gt 0 ] || set -- build
want=
for group in "$@"; do
    case $group in
        build) want="$want rust gcc make" ;;
        test) want="$want rust gcc make g++ objc objc++ clang distcc distccd strace file ccache busybox ssh sshd dropbear dbclient ip dbus-daemon avahi-daemon avahi-browse" ;;
        demo) want="$want rust gcc make g++" ;;
        extra) want="$want clang gcc-11 arm-linux-gnueabihf-gcc cmake ninja"
            want="$want meson autoconf automake makepkg bsdtar fakeroot zsh fish logrotate valgrind"
            want="$want arm-linux-gnueabihf-g++ aarch64-linux-gnu-gcc aarch64-linux-gnu-g++ qemu-arm-static" ;;
        boards) want="$want arm-linux-gnueabi-gcc riscv64-linux-gnu-gcc" ;;
        packaging) want="$want rust gcc make git dh dpkg-buildpackage mmdebstrap makepkg pacman bsdtar fakeroot busybox perl venv" ;;
        *) usage ;;
    esac
done

has() { command -v "$1" >/dev/null 2>&1; }

# The stock programs, not ones of the same names that this project installed.
has_stock() {
    for dir in /usr/bin /usr/sbin; do
        [ -x "$dir/$1" ] && return 0
    done
    return 1
}

# A program that gcc runs and nobody else.
has_part() { has gcc && [ -x "$(gcc -print-prog-name="$1")" ]; }

# rust_ok: rustc is there and new enough.
rust_ok() {
    has cargo && has rustc || return 1
    version=$(rustc -V 2>/dev/null) || return 1
    version=${version#rustc }
    major=${version%%.*}
    minor=${version#*.}
    minor=${minor%%.*}
    case $major$minor in '' | *[!0-9]*) return 1 ;; esac
    [ "$major" -gt "${rust_min%.*}" ] ||
        { [ "$major" -eq "${rust_min%.*}" ] && [ "$minor" -ge "${rust_min#*.}" ]; }
}

# missing: sets $need to the Debian packages that are lacking, and $lack to the
# commands.
missing() {
    need=
    lack=
    for tool in $want; do
        case $tool in
            rust) continue ;;
            distcc | distccd | sshd | dropbear | ip | avahi-daemon | logrotate) has_stock "$tool" && continue ;;
            objc) has_part cc1obj && continue ;;
            objc++) has_part cc1objplus && continue ;;
            venv) python3 -c 'import ensurepip' 2>/dev/null && continue ;;
            *) has "$tool" && continue ;;
        esac
        package=$tool
        # gcc alone would leave out the C library's headers.
        case $tool in gcc) package="gcc libc6-dev" ;; distccd) package=distcc ;;
            objc | objc++) package=g$tool ;;
            qemu-*) package=qemu-user-static ;;
            *-linux-gnueabihf-g*) package="${tool##*-}-arm-linux-gnueabihf libc6-dev-armhf-cross" ;;
            *-linux-gnueabi-g*) package="${tool##*-}-arm-linux-gnueabi libc6-dev-armel-cross" ;;
            aarch64-linux-gnu-g*) package="${tool##*-}-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
            riscv64-linux-gnu-g*) package="${tool##*-}-riscv64-linux-gnu libc6-dev-riscv64-cross" ;; ninja) package=ninja-build ;;
            ssh) package=openssh-client ;; sshd) package=openssh-server ;;
            dropbear | dbclient) package=dropbear-bin ;; ip) package=iproute2 ;; dbus-daemon) package=dbus ;;
            avahi-browse) package=avahi-utils ;; bsdtar) package=libarchive-tools ;;
            dh) package=debhelper ;; dpkg-buildpackage) package=dpkg-dev ;; pacman) package=pacman-package-manager ;;
            venv) package=python3-venv ;; esac
        lack="$lack $tool"
        case " $need " in *" $package "*) ;; *) need="$need $package" ;; esac
    done
    need=${need# }
    lack=${lack# }
}

case " $want " in
    *" rust "*)
        if ! rust_ok; then
            {
                echo "setup.sh: Rust $rust_min or newer is needed (cargo and rustc on the PATH)."
                if has rustc; then echo "Found: $(rustc -V 2>&1 | head -n 1)"; fi
                if has rustup; then
                    echo "Run: rustup update stable"
                else
                    echo "Install it with rustup or from your system's packages."
                fi
            } >&2
            exit 1
        fi
        ;;
esac

# What stands in the project's directory and not in the system's.
finish() {
    case " $want " in *" qemu-arm-static "*) ;; *) exit 0 ;; esac
    has apt-get && has dpkg-deb || exit 0
    sh "${0%/*}/arm64.sh" "${0%/*}/../target/arm64"
    exit 0
}

missing
[ -n "$need" ] || finish

# $need is split into words on purpose from here on.
if ! has apt-get; then
    {
        echo "setup.sh: missing: $lack"
        echo "Install them with your system's package manager. Usual package names:"
        echo "  Fedora:  gcc gcc-c++ make distcc distcc-server strace file ccache busybox openssh dropbear clang"
        echo "  Arch:    gcc make distcc strace file ccache busybox openssh dropbear clang"
        echo "  openSUSE: gcc gcc-c++ make distcc distcc-server strace file ccache busybox clang"
        echo "  Alpine:  gcc g++ musl-dev make distcc strace file ccache busybox clang"
    } >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif has sudo && sudo -n true 2>/dev/null; then
    as_root=sudo
else
    {
        echo "setup.sh: missing: $lack. Run:"
        echo "  sudo apt-get update && sudo apt-get install --no-install-recommends $need"
    } >&2
    exit 1
fi

# All that needs root. Services stay off: while a policy-rc.d says 101, package
# scripts start none. One that is there already (as in containers) is kept.
install_script='
set -u
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
ours=
clean() {
    rm -f "$log"
    if [ -n "$ours" ]; then rm -f "$policy"; fi
}
trap clean EXIT
trap "exit 130" HUP INT TERM
if [ ! -e "$policy" ]; then
    ours=1
    printf "#!/bin/sh\nexit 101\n" >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt() {
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" \
        >"$log" 2>&1 </dev/null
}
# With lists that are recent enough no update is needed.
if apt install --no-install-recommends "$@"; then exit 0; fi
if apt update && apt install --no-install-recommends "$@"; then exit 0; fi
cat "$log" >&2
exit 1
'

echo "setup.sh: installing $need"
# shellcheck disable=SC2086
if ! $as_root sh -c "$install_script" setup.sh $need; then
    echo "setup.sh: could not install $need" >&2
    exit 1
fi
missing
if [ -n "$need" ]; then
    echo "setup.sh: still missing after installing: $lack" >&2
    exit 1
fi
finish
