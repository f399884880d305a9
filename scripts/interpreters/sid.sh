# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The newest interpreters of Debian's unstable suite, in a root of their own.
#
# python3.X is stripped, linked at a fixed address, built with LTO and PGO (the evaluator's body is in a
# .cold part); 3.14 and 3.15 contain the JIT, which PYTHON_JIT=1 turns on. python3.Xd has Py_DEBUG
# and symbols. So has python3.11d, of the machine's own Debian.

RECIPES+=("sid|sid-3.13 sid-3.14 sid-3.15 sid-3.14-jit sid-3.15-jit sid-3.13-debug sid-3.14-debug \
sid-3.15-debug shared-3.14 shared-3.15"
	"debug-3.11|debian-3.11-debug")

sid_versions=(3.13 3.14 3.15)

recipe_sid() {
	cache__make "$(cache__path sid "$(declare -f sid__make sid__take sid__shared)" "${sid_versions[@]}")" sid__make
}

sid__make() {
	local mirror version apt_options

	[ "$(id -u)" -eq 0 ] || skip "not root: debootstrap and chroot need it"
	packages debootstrap gcc libc6-dev
	mirror=$(debian__mirror) || skip "apt knows no archive of Debian's"
	nice -n 19 debootstrap --variant=minbase \
		--include="$(printf 'python%s,' "${sid_versions[@]}" | sed 's/,$//')" sid root "$mirror"
	debian__apt "$PWD/apt" sid
	for version in "${sid_versions[@]}"; do
		sid__take "python$version-dbg" "./usr/bin/python${version}d"
		sid__take "libpython$version-dbg" "./usr/lib/python$version/_sysconfigdata*" \
			"./usr/lib/python$version/lib-dynload"
	done
	sid__shared 3.14
	sid__shared 3.15
	rm -rf apt root/var/cache/apt root/var/lib/apt/lists root/usr/share/{doc,man,locale} root/debootstrap
	sid__rows
}

# sid__take PACKAGE FILE...: only these of a package. To install one of the debug packages would bring
# hundreds of megabytes of Tcl, static libraries and symbols.
sid__take() {
	apt-get "${apt_options[@]}" download "$1"
	dpkg-deb --fsys-tarfile "$1"_*.deb | tar -x -C root --wildcards "${@:2}"
	rm "$1"_*.deb
}

# sid__shared VERSION: python3.X-shared, which has the interpreter in libpython3.X. (Debian's own have it in the executable.) What
# that library needs of a newer C library is there where it runs.
sid__shared() {
	sid__take "libpython$1" "./usr/lib/*/libpython$1.so.1*"
	echo 'int Py_BytesMain(int, char **); int main(int n, char **words) { return Py_BytesMain(n, words); }' |
		gcc -O2 -o "root/usr/bin/python$1-shared" -x c - -x none root/usr/lib/*/"libpython$1.so.1.0" -Wl,--allow-shlib-undefined
}

sid__rows() {
	local version
	for version in "${sid_versions[@]}"; do
		row "sid-$version" static,stripped @/root "/usr/bin/python$version"
		row "sid-$version-debug" static,debug @/root "/usr/bin/python${version}d"
		[ "$version" != 3.13 ] || continue
		row "sid-$version-jit" static,stripped,jit @/root "/usr/bin/env PYTHON_JIT=1 /usr/bin/python$version"
		row "shared-$version" shared,stripped @/root "/usr/bin/python$version-shared"
	done
}

recipe_debug_3_11() {
	cache__make "$(cache__path debug-3.11 "$(declare -f debug__make sid__take)")" debug__make
}

# The debug build, its modules, and links to the standard library that both share.
debug__make() {
	local lib=root/usr/lib/python3.11 file apt_options=(-q)
	packages python3.11
	mkdir root
	sid__take python3.11-dbg ./usr/bin/python3.11d
	sid__take libpython3.11-dbg "./usr/lib/python3.11/_sysconfigdata*" ./usr/lib/python3.11/lib-dynload
	for file in /usr/lib/python3.11/*; do
		[ -e "$lib/${file##*/}" ] || ln -s "$file" "$lib/"
	done
	row debian-3.11-debug static,debug - @/root/usr/bin/python3.11d
}
