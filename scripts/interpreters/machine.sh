# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Interpreters that the machine has by itself: pyenv's versions, Debian's python3 and pypy3.

RECIPES+=("machine|debian-3.11 debian-pypy3")

recipe_machine() {
	local log=$cache/log/machine.log
	[ -x /usr/bin/python3 ] && [ -x /usr/bin/pypy3 ] && /usr/bin/python3 -c "import greenlet" 2> /dev/null && return 0
	packages python3 python3-greenlet pypy3 > "$log" 2>&1 || say "not installed: python3, pypy3: $(tail -n 1 "$log")"
}

machine__pyenv_versions() {
	local versions=${PYENV_ROOT:-$HOME/.pyenv}/versions
	[ -d "$versions" ] || versions=$(pyenv root 2> /dev/null)/versions
	[ ! -d "$versions" ] || echo "$versions"
}

# machine__programs: the files that machine__rows looks at.
machine__programs() {
	find /usr/bin/python3 /usr/bin/pypy3 /usr/bin/python2.7 2> /dev/null
	find "$(machine__pyenv_versions)"/*/bin/python 2> /dev/null | sort
}

# machine__rows: rows of what is there now; versions are proven when they are run.
machine__rows() {
	local name
	[ ! -x /usr/bin/python3 ] || machine_row "debian-$(machine__minor /usr/bin/python3)" \
		"$(machine__linkage /usr/bin/python3)" - "$(readlink -f /usr/bin/python3)"
	for name in pypy3 python2.7; do
		[ ! -x "/usr/bin/$name" ] || machine_row "debian-$name" unsupported - "$(readlink -f "/usr/bin/$name")"
	done
	machine__pyenv_rows
}

machine__minor() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# machine__linkage FILE: shared or static, and whether that file is stripped.
machine__linkage() {
	local lib
	lib=$(ldd "$1" | awk '$1 ~ /^libpython/ { print $3 }')
	if [ -n "$lib" ]; then
		printf shared
	else
		printf static
	fi
	readelf -SW "${lib:-$1}" | grep -q ' \.symtab ' || printf ',stripped'
}

# The newest patch version of each minor version is pyenv-X.Y, others are pyenv-X.Y.Z.
machine__pyenv_rows() {
	local versions version id seen=' ' python kinds
	versions=$(machine__pyenv_versions)
	[ -n "$versions" ] || return 0
	while read -r version; do
		python=$versions/$version/bin/python
		[ -x "$python" ] || continue
		case $version in
		2.* | 3.[0-5].*) kinds=unsupported ;;
		[3-9].*t) kinds=free-threaded,$(machine__linkage "$python") ;;
		[3-9].*) kinds=$(machine__linkage "$python") ;;
		*) kinds=unsupported ;;
		esac
		id=pyenv-$(sed -E 's/^([0-9]+\.[0-9]+)\.[0-9a-z]*[0-9](t?)$/\1\2/' <<< "$version")
		case $seen in *" $id "*) id=pyenv-$version ;; esac
		seen+="$id "
		machine_row "$id" "$kinds" - "$(readlink -f "$python")"
	done < <(find "$versions" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort -rV)
}
