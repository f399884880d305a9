#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Gather the interpreters that the tests run against, and say what was had.
#
#   scripts/interpreters.sh [-l] [-q] [-n] [RECIPE|ID ...]
#     -l  list recipes and the identifiers each one makes
#     -n  gather nothing: verify what is cached, rewrite the manifest, check the list
#     -q  print only what is new or missing
#
# Results live in $PYBPF_CACHE/interpreters (see common.sh) and are kept for ever; remove a
# folder there to have it made again. Each result is made in a folder named tmp.*, run, and only
# then renamed, so one that is there is whole. manifest.tsv has one line an interpreter:
#   id, version, command, kinds (comma-separated), root (a chroot folder or -), notes
# A command runs a script as `COMMAND SCRIPT ARGS...`; one with a root is run by
# `scripts/interpreters/enter ROOT COMMAND SCRIPT ARGS...`.
# Exit: 0; 1 when CI is set and an interpreter of tests/interpreters.list is missing.

set -u -o pipefail
export LC_ALL=C
# Of a make that has called this: CPython's own needs the built-in rules, which that one has switched off.
unset MAKEFLAGS MAKELEVEL MFLAGS

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
parts=$here/interpreters

# shellcheck source=scripts/interpreters/common.sh
. "$parts/common.sh"
for part in machine sid standalone source embedded frozen; do
	# shellcheck source=/dev/null
	. "$parts/$part.sh"
done

list_recipes() {
	local name ids
	while IFS='|' read -r name ids; do
		printf '%-14s %s\n' "$name" "$ids"
	done < <(printf '%s\n' "${RECIPES[@]}")
}

# Say which recipes make the names given, in the order of RECIPES; all of them without a name.
wanted_recipes() {
	local line name ids want
	for line in "${RECIPES[@]}"; do
		name=${line%%|*}
		ids=${line#*|}
		if [ $# -eq 0 ]; then
			echo "$name"
			continue
		fi
		for want in "$@"; do
			case " $name $ids " in
			*" $want "*) echo "$name"; break ;;
			esac
		done
	done
}

# Compare the manifest with the required list; print what is missing.
check_required() {
	local id kinds rest have lacking=0 known=0
	while read -r id kinds rest; do
		case $id in '' | \#*) continue ;; esac
		known=$((known + 1))
		have=$(awk -F'\t' -v id="$id" '$1 == id { print $4 }' "$manifest")
		if [ -z "$have" ]; then
			say "missing: $id ($kinds)"
			lacking=$((lacking + 1))
		elif [ "$have" != "$kinds" ]; then
			say "wrong kind: $id is $have, should be $kinds"
			lacking=$((lacking + 1))
		fi
	done < "$top/tests/interpreters.list"
	say "$((known - lacking)) of $known required interpreters are there; manifest: $manifest"
	[ "$lacking" -eq 0 ] || [ -z "${CI:-}" ]
}

main() {
	local opt gather=1 recipe
	while getopts lnq opt; do
		case $opt in
		l) list_recipes; return 0 ;;
		n) gather=0 ;;
		q) quiet=1 ;;
		*) sed -n '3,18s/^# \{0,1\}//p' "$0" >&2; return 2 ;;
		esac
	done
	shift $((OPTIND - 1))

	cache__open || return 1
	if [ $gather -eq 1 ]; then
		for recipe in $(wanted_recipes "$@"); do
			"recipe_${recipe//[-.]/_}"
		done
	fi
	[ $gather -eq 1 ] && cache__is_current || cache__write_manifest || return 1
	[ $quiet -eq 1 ] || cache__show_manifest
	check_required
}

main "$@"
