#!/bin/sh
# install.sh: puts distcc in place: the program and its names, manual pages, units and scripts for init systems, completion
# for shells. It starts nothing and enables nothing; settings that are there already stay. Runs in the source tree after a
# build, and in an unpacked archive; needs no more than busybox.
#
#   PREFIX    /usr/local by default
#   DESTDIR   put in front of every path, for packages
#   BINARY    the program; by default ./distcc of an archive, or the release build
#   INIT      openrc or sysv: also the script /etc/init.d/distccd; found out where DESTDIR is empty
#
# install.sh --names prints the program's other names.
set -eu

names="distccd distccmon-text lsdistcc pump distcc-pump include_server update-distcc-symlinks"
case ${1-} in
    '') ;;
    --names) echo "$names"; exit ;;
    *) echo "usage: [PREFIX=DIR] [DESTDIR=DIR] install.sh [--names]" >&2; exit 2 ;;
esac

here=$(dirname "$0")
[ -d "$here/docs" ] || here=$here/..
: "${PREFIX:=/usr/local}" "${DESTDIR:=}" "${INIT:=}"
if [ -z "${BINARY:-}" ]; then
    BINARY=$here/distcc
    [ -f "$BINARY" ] || BINARY=${CARGO_TARGET_DIR:-$here/target}/release/distcc
fi
[ -f "$BINARY" ] || { echo "install.sh: there is no program $BINARY; build it first: make build" >&2; exit 1; }
if [ -z "$INIT" ] && [ -z "$DESTDIR" ] && [ ! -d /run/systemd/system ]; then
    if [ -x /sbin/openrc-run ]; then INIT=openrc; elif [ -d /etc/init.d ]; then INIT=sysv; fi
fi

# put MODE FILE DIRECTORY [NAME]: a file, with the paths of this installation.
put() {
    to=$DESTDIR$3/${4:-${2##*/}}
    mkdir -p "$DESTDIR$3"
    sed "s|/usr/bin/|$PREFIX/bin/|g" "$here/docs/$2" >"$to.new"
    chmod "$1" "$to.new"
    mv -f "$to.new" "$to"
}
# settings FILE DIRECTORY NAME: as put, but what is there stays.
settings() {
    if [ ! -e "$DESTDIR$2/$3" ]; then put 644 "$@"; fi
}

mkdir -p "$DESTDIR$PREFIX/bin"
# Under another name first: a program that runs cannot be overwritten.
cp "$BINARY" "$DESTDIR$PREFIX/bin/distcc.new"
chmod 755 "$DESTDIR$PREFIX/bin/distcc.new"
mv -f "$DESTDIR$PREFIX/bin/distcc.new" "$DESTDIR$PREFIX/bin/distcc"
for name in $names; do
    ln -sf distcc "$DESTDIR$PREFIX/bin/$name"
done
for page in "$here"/docs/man/*.1; do
    put 644 "man/${page##*/}" "$PREFIX/share/man/man1"
done
put 644 systemd/distccd.service "$PREFIX/lib/systemd/system"
put 644 systemd/distccd.socket "$PREFIX/lib/systemd/system"
put 644 systemd/sysusers.conf "$PREFIX/lib/sysusers.d" distccd.conf
put 644 systemd/tmpfiles.conf "$PREFIX/lib/tmpfiles.d" distccd.conf
settings conf/distccd.conf /etc/conf.d distccd
settings conf/logrotate.conf /etc/logrotate.d distccd
case $INIT in
    '' | systemd) ;;
    openrc) put 755 openrc/distccd /etc/init.d ;;
    sysv) put 755 sysv/distccd /etc/init.d ;;
    *) echo "install.sh: INIT is \"$INIT\"; it must be openrc or sysv" >&2; exit 2 ;;
esac
put 644 completion/bash "$PREFIX/share/bash-completion/completions" distccd
for name in distcc lsdistcc distccmon-text update-distcc-symlinks; do
    ln -sf distccd "$DESTDIR$PREFIX/share/bash-completion/completions/$name"
done
put 644 completion/zsh "$PREFIX/share/zsh/site-functions" _distcc
put 644 completion/fish "$PREFIX/share/fish/vendor_completions.d" distcc.fish
put 644 completion/fish-tools "$PREFIX/share/fish/vendor_completions.d" distccd.fish
for name in lsdistcc distccmon-text update-distcc-symlinks; do
    ln -sf distccd.fish "$DESTDIR$PREFIX/share/fish/vendor_completions.d/$name.fish"
done
