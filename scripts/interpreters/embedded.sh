# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Programs of other names with CPython inside: the hosts of tests/hosts/, and Debian's uWSGI.

RECIPES+=("embed-3.11|embed-so-3.11 embed-thread-3.11 embed-a-3.11 embed-a-bare-3.11 late-3.11"
	"embed-3.13|embed-so-3.13 embed-thread-3.13 embed-a-3.13 embed-a-bare-3.13 late-3.13"
	"late-3.14|late-3.14" "uwsgi|uwsgi")

embedded_hosts=$top/tests/hosts
# CPU time that a late host spends before it loads Python; long enough to be sampled.
embedded_late_ms=200

recipe_embed_3_11() { embedded__have embed-3.11 embedded__debian; }
recipe_embed_3_13() { embedded__have embed-3.13 embedded__conda "$(embedded__result build-3.13)"; }
recipe_late_3_14() { embedded__have late-3.14 embedded__standalone "$(embedded__result uv-3.14)"; }
recipe_uwsgi() { embedded__have uwsgi embedded__uwsgi; }

# embedded__have NAME FUNCTION [ARG]: the key holds the hosts' sources too.
embedded__have() {
	local name=$1
	shift
	cache__make "$(cache__path "$name" "$*" "$(declare -f "$1" embedded__build)" \
		"$(cat "$embedded_hosts"/*.c)")" "$@"
}

# embedded__result NAME: the newest folder that a recipe made, nothing without one.
embedded__result() {
	find "$cache" -mindepth 2 -maxdepth 2 -path "$cache/$1-*/rows.tsv" -printf '%T@ %h\n' | sort -rn |
		head -n 1 | cut -d' ' -f2-
}

# embedded__build MINOR INCLUDE LIBDIR STATIC-LIBRARY SHARED-KINDS ENVIRONMENT: the linked hosts and the
# late one.
embedded__build() {
	local minor=$1 include=$2 libdir=$3 static=$4 shared=$5 environment=$6 compile library
	compile=(gcc -O2 -g -Wall -pthread -isystem "$include" "$embedded_hosts/embed.c")
	library=$(readlink -f "$libdir/libpython$minor.so")

	"${compile[@]}" -o embed-so -L"$libdir" -Wl,-rpath,"$libdir" "-lpython$minor"
	# Debian's archive is not made for position-independent executables.
	"${compile[@]}" -no-pie -o embed-a -rdynamic "$static" -lm -lz -lexpat -ldl -lutil
	# The hardest kind to find: no symbol at all, neither in .symtab nor in .dynsym. (So it loads no extension modules.)
	"${compile[@]}" -no-pie -o embed-a-bare -s "$static" -lm -lz -lexpat -ldl -lutil
	gcc -O2 -g -Wall -pthread -o late "$embedded_hosts/late.c" -ldl

	row "embed-so-$minor" "$shared",embedded - "${environment}@/embed-so"
	row "embed-thread-$minor" "$shared",embedded,thread - "${environment}@/embed-so -t"
	row "embed-a-$minor" static,embedded - "${environment}@/embed-a"
	row "embed-a-bare-$minor" static,stripped,embedded - "${environment}@/embed-a-bare"
	row "late-$minor" "$shared",embedded,late - "${environment}@/late $embedded_late_ms $library"
}

embedded__debian() {
	packages gcc libc6-dev libpython3.11-dev zlib1g-dev libexpat1-dev
	embedded__build 3.11 /usr/include/python3.11 "/usr/lib/$(gcc -print-multiarch)" \
		"$(find /usr/lib/python3.11 -name libpython3.11.a)" shared,stripped ""
}

embedded__conda() {
	local prefix=$1/opt/python
	[ -n "$1" ] || skip "needs build-3.13"
	packages gcc libc6-dev zlib1g-dev libexpat1-dev
	embedded__build 3.13 "$prefix/include/python3.13" "$prefix/lib" \
		"$(find "$prefix" -name libpython3.13.a)" shared "/usr/bin/env PYTHONHOME=$prefix "
}

embedded__standalone() {
	[ -n "$1" ] || skip "needs uv-3.14"
	packages gcc libc6-dev
	gcc -O2 -g -Wall -pthread -o late "$embedded_hosts/late.c" -ldl
	row late-3.14 shared,stripped,embedded,late - \
		"/usr/bin/env PYTHONHOME=$1/python @/late $embedded_late_ms $(readlink -f "$1/python/lib/libpython3.14.so")"
}

embedded__uwsgi() {
	packages uwsgi-core uwsgi-plugin-python3
	cat > run-in-uwsgi <<-'SH'
		#!/bin/sh
		# run-in-uwsgi SCRIPT [ARG...]: no argument may hold a space. Everything goes to standard output: uWSGI
		# makes one of both streams anyway.
		script=$1
		shift
		exec uwsgi --plugin python3 --enable-threads --disable-logging --pyargv "$*" --pyrun "$script" 2>&1
	SH
	chmod +x run-in-uwsgi
	row uwsgi shared,stripped,embedded,uwsgi - @/run-in-uwsgi
}
