# For Gentoo. The archive that `make source` makes goes to /var/cache/distfiles; then, in this directory, `ebuild *.ebuild
# manifest`, and with the overlay in /etc/portage/repos.conf `emerge distcc-rs`.
EAPI=8

DESCRIPTION="Distributed C and C++ compiles, in the place of distcc"
# Where you publish it.
HOMEPAGE="https://distcc-rs.invalid/"
SRC_URI="${P}.tar.gz"

LICENSE="|| ( MIT Apache-2.0 )"
SLOT="0"
KEYWORDS="~amd64 ~arm ~arm64 ~riscv"
# No host has the archive. Its tests want more than a package's build has: make test.
RESTRICT="fetch test"

RDEPEND="!dev-util/distcc"
BDEPEND="|| ( >=dev-lang/rust-1.85 >=dev-lang/rust-bin-1.85 )"

# No user has to be made: distccd becomes distccd, distcc (stock's, if it is there) or nobody.
src_compile() {
	CARGO_HOME="${T}/cargo" cargo build --release --locked --offline || die
}

src_install() {
	DESTDIR="${D}" PREFIX="${EPREFIX}/usr" INIT=openrc sh cross/install.sh || die
	# Gentoo Prefix has its settings below it, too.
	if [[ -n ${EPREFIX} ]]; then
		mv "${D}/etc" "${ED}/etc" || die
	fi
	dodoc README.md CHANGELOG.md docs/differences.md docs/security.md
	# Where FEATURES="distcc" looks, and the server, too.
	keepdir /usr/lib/distcc/bin
}

pkg_postinst() {
	if [[ -z ${ROOT} ]]; then
		"${EROOT}/usr/bin/update-distcc-symlinks" --quiet "${EROOT}/usr/lib/distcc/bin" ||
			ewarn "no links in /usr/lib/distcc/bin"
	fi
	elog "After each new compiler: update-distcc-symlinks /usr/lib/distcc/bin"
	elog "Hosts stand in /etc/distcc/hosts, the server's options in /etc/conf.d/distccd."
}

pkg_prerm() {
	if [[ -z ${ROOT} && -z ${REPLACED_BY_VERSION} ]]; then
		"${EROOT}/usr/bin/update-distcc-symlinks" --quiet --remove "${EROOT}/usr/lib/distcc/bin"
	fi
}
