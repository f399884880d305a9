#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Turns scripts or style sheets into a C string: embed.sh NAME FILE... > HEADER
#
# Indentation, empty lines and lines that are only a comment are left out, so the text must not rely on
# them: no string over several lines, every comment on lines of its own that begin with // or /* or *.
set -eu

if [ $# -lt 2 ]; then
	echo "usage: embed.sh NAME FILE..." >&2
	exit 2
fi
name=$1
shift
if LC_ALL=C grep -n -e ']]>' -e '</' -- "$@" >&2; then
	echo "embed.sh: this ends the CDATA section or an element of the page that holds it" >&2
	exit 1
fi

printf '/* Made from %s by scripts/embed.sh. */\n' "$*"
printf 'static const char %s[] =\n' "$name"
sed -e 's/^[[:blank:]]*//' -e 's/[[:blank:]]*$//' \
	-e '/^$/d' -e '/^\/\//d' -e '/^\/\*/d' -e '/^\*/d' \
	-e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/^/\t"/' -e 's/$/\\n"/' "$@"
printf '\t"";\n'
