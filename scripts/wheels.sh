#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Gather compiled libraries from PyPI's wheels, for tests that read them; nothing of them is run.
#
#   scripts/wheels.sh x86_64|aarch64
#
# Prints the folder that has them, in $PYBPF_CACHE/wheels, kept for ever. Exit: 0, or 1 when they cannot be had.

set -eu -o pipefail
export LC_ALL=C
arch=$1 python=${PYTHON:-/usr/bin/python3}
wheels=(numpy==2.4.6 pyarrow==26.0.1 polars-runtime-32==2.1.0) # numpy brings OpenBLAS along
cache=${PYBPF_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/pybpf}/wheels
key=$(printf '%s\n' "${wheels[@]}" | sha256sum | cut -c1-10)
folder=$cache/$arch-$key

mkdir -p "$cache"
exec 9> "$cache/.lock"
flock 9
if [ ! -d "$folder" ]; then
	tmp=$cache/tmp.$arch
	rm -rf "$tmp"
	mkdir "$tmp"
	trap 'rm -rf "$tmp"' EXIT
	"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 --dest "$tmp" \
		--platform "manylinux_2_28_$arch" --platform "manylinux_2_27_$arch" --platform "manylinux_2_17_$arch" \
		"${wheels[@]}" >&2
	for wheel in "$tmp"/*.whl; do
		"$python" -m zipfile -e "$wheel" "$tmp"
		rm "$wheel"
	done
	find "$tmp" -type f ! -name '*.so' ! -name '*.so.*' -delete
	mv "$tmp" "$folder"
fi
echo "$folder"
