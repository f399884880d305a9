#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Gather modules from PyPI whose C, C++, Cython and Rust calls back into Python, for an interpreter to import.
#
#   scripts/modules.sh 3.MINOR [ABI]
#
# ABI: cp313t and the like for a free-threaded build. Prints the folder, for PYTHONPATH, in $PYBPF_CACHE/wheels; it is
# kept for ever.
# Each is the newest that has a wheel for the version; one that has none is named on standard error.
# Exit: 0, or 1 when not a single one can be had.

set -eu -o pipefail
export LC_ALL=C
version=$1 abi=${2:-} python=${PYTHON:-/usr/bin/python3}
modules=(numpy greenlet gevent cytoolz lxml iminuit uvloop pydantic-core)
needed=(zope.interface zope.event toolz packaging typing-extensions)
cache=${PYBPF_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/pybpf}/wheels
key=$(printf '%s\n' "${modules[@]}" "${needed[@]}" | sha256sum | cut -c1-10)
folder=$cache/modules-$version${abi:+-$abi}-$key

mkdir -p "$cache"
exec 9> "$cache/.lock-modules-$version$abi"
flock 9
if [ ! -d "$folder" ]; then
	tmp=$cache/tmp.modules-$version$abi
	rm -rf "$tmp"
	mkdir "$tmp"
	trap 'rm -rf "$tmp"' EXIT
	options=(--python-version "$version")
	[ -z "$abi" ] || options+=(--implementation cp --abi "$abi" --abi none)
	for glibc in _2_28 _2_27 _2_24 _2_17 2014 _2_12 2010 _2_5 1; do
		options+=(--platform "manylinux${glibc}_$(uname -m)")
	done
	had=0
	for module in "${modules[@]}" "${needed[@]}"; do
		if "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$tmp" \
			"${options[@]}" "$module" > /dev/null 2>&1; then
			had=1
		else
			echo "modules: no $module for $version${abi:+ ($abi)}" >&2
		fi
	done
	[ $had -eq 1 ] || exit 1
	for wheel in "$tmp"/*.whl; do
		"$python" -m zipfile -e "$wheel" "$tmp"
		rm "$wheel"
	done
	find "$tmp" -type f \( -name '*.pyx' -o -name '*.c' -o -name '*.h' -o -name '*.a' \) -delete
	find "$tmp" -type d -name tests -prune -exec rm -rf {} +
	mv "$tmp" "$folder"
	trap - EXIT
fi
echo "$folder"
