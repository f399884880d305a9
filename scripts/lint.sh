#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everything that looks at the sources without running them.
#
#   scripts/lint.sh [quick]
#
# quick: what needs no compiler. Exit: 0, or 1 with what was found.

set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
jobs=${JOBS:-$(nproc)} python=${PYTHON:-/usr/bin/python3} make=${MAKE:-make}
failed=0

part() { # part NAME COMMAND...
	local name=$1
	shift
	if ! "$@"; then
		echo "lint: $name has found something" >&2
		failed=1
	fi
}

files() { git ls-files -- "$@" 2> /dev/null || find bpf include scripts tests user -type f; }

shell_scripts() {
	local file
	while read -r file; do
		case $file in
		*.sh) echo "$file" ;;
		*) head -n 1 "$file" | grep -qE '^#!.*\b(ba|da)?sh$' && echo "$file" ;;
		esac
	done < <(files scripts tests .ci)
}

# SC2317 takes functions that are called by a name in a variable for dead. Scripts without a first line that names a
# shell are parts of others: their variables come from there, and so does -e.
check_shell() {
	local script whole=() parts=()
	while read -r script; do
		if head -n 1 "$script" | grep -q '^#!'; then whole+=("$script"); else parts+=("$script"); fi
	done < <(shell_scripts)
	shellcheck -x -e SC2317 "${whole[@]}" && { [ ${#parts[@]} -eq 0 ] || shellcheck -e SC2317,SC2034,SC2154,SC2164 "${parts[@]}"; }
}

check_python() {
	files '*.py' | grep '\.py$' | PYTHONPYCACHEPREFIX=build/lint/pycache xargs -r "$python" -W error -m py_compile
}

# Folders of their own, so that a change of compiler does not make build/ anew.
compile() { $make -s -j"$jobs" B="build/lint/$1" CC="$1" WERROR=1 test-bins; }

tidy() {
	local flags=(-std=gnu11 -D_GNU_SOURCE '-DPYBPF_VERSION="lint"' -Iinclude -Iuser -Itests/unit -I. -Ibuild/lint/clang)
	{ files user tests/unit tests/differential tests/fuzz | grep '\.c$'; } |
		xargs -r -n 4 -P "$jobs" sh -c 'clang-tidy --quiet "$@" 2> /dev/null' clang-tidy-4 "${flags[@]/#/--extra-arg=}"
}

part "the direction of includes" "$python" scripts/check-includes.py
part py_compile check_python
part shellcheck check_shell
if [ "${1:-}" != quick ]; then
	part "gcc -Werror" compile gcc
	part "clang -Werror" compile clang
	part clang-tidy tidy
fi
[ $failed -eq 0 ] && echo "lint: nothing found"
exit $failed
