#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Install the packages that building and testing need, from Debian's or Ubuntu's archive, where they are missing.
#
#   scripts/deps.sh build|test|bench ...
#
# Nothing is run when all is there. In the lists `a|b` is the first of the two that the archive has (one that is
# installed will do), and `a?` is left out where the archive does not have it.
# Exit: 0; 1 when something is missing that cannot be installed.

set -u -o pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

BUILD='gcc libc6-dev make clang llvm bpftool|linux-tools-generic libbpf-dev libelf-dev libdw-dev zlib1g-dev
	libzstd-dev liblzma-dev libiberty-dev libjansson-dev pkg-config python3'
TEST='libcmocka-dev python3-pytest python3-pytest-xdist python3-pytest-timeout clang-tidy clang-format
	libclang-rt-dev? shellcheck libxml2-utils mandoc bash zsh fish chromium?
	qemu-system-x86 debootstrap busybox-static debian-archive-keyring binutils xz-utils zstd runc'
BENCH='python3-venv python3-pip'

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2> /dev/null | grep -qx installed; }
available() { apt-cache policy "$1" 2> /dev/null | grep -q '^  Candidate: [^(]'; }
die() {
	echo "deps: $*" >&2
	exit 1
}

# The words of a list that name nothing installed.
missing_of() {
	local word name
	for word in $1; do
		for name in $(tr '|' ' ' <<< "${word%\?}"); do
			installed "$name" && continue 2
		done
		echo "$word"
	done
}

# A name that apt can install for each word.
choose() {
	local word name
	for word in "$@"; do
		for name in $(tr '|' ' ' <<< "${word%\?}"); do
			available "$name" && echo "$name" && continue 2
		done
		case $word in
		*\?) ;;
		*) echo "${word%%|*}" ;; # apt will say that there is none
		esac
	done
}

main() {
	local words='' group missing names
	for group in "$@"; do
		case $group in
		build) words+=" $BUILD" ;;
		test) words+=" $TEST" ;;
		bench) words+=" $BENCH" ;;
		*) die "no such group: $group" ;;
		esac
	done
	command -v dpkg-query > /dev/null || {
		echo "deps: neither Debian nor Ubuntu; have what these packages hold: $(xargs <<< "$words")" >&2
		return 0
	}
	mapfile -t missing < <(missing_of "$words")
	[ ${#missing[@]} -gt 0 ] || return 0
	mapfile -t names < <(choose "${missing[@]}")
	if [ ${#names[@]} -eq 0 ]; then
		return 0
	fi
	[ "$(id -u)" -eq 0 ] || die "not root, and missing: run 'apt-get install ${names[*]}' as root"
	apt-get -q -o DPkg::Lock::Timeout=300 update > /dev/null || echo "deps: the package lists may be old" >&2
	mapfile -t names < <(choose "${missing[@]}")
	[ ${#names[@]} -gt 0 ] || return 0
	echo "deps: installing ${names[*]}"
	apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${names[@]}" > /dev/null ||
		die "could not install ${names[*]}"
}

main "$@"
