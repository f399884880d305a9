#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Run unit tests (programs of cmocka) and count: scripts/unit.sh PROGRAM ...
# What a program prints is shown when it fails. Exit: 0, or 1 when any test failed.

set -u
export LC_ALL=C ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

passed=0 failed=0 skipped=0

count() { # count TEXT WORD: the number in `[  WORD  ] N test(s)`
	local n
	n=$(sed -n "s/^\[ *$2 *\] [^0-9]*\([0-9][0-9]*\) test(s).*/\1/p" <<< "$1" | head -n 1)
	echo "${n:-0}"
}

for program in "$@"; do
	text=$(timeout -s KILL 300 "$program" 2>&1 < /dev/null)
	status=$?
	good=$(count "$text" PASSED) bad=$(count "$text" FAILED) not=$(count "$text" SKIPPED)
	# one that crashed, or never counted, has failed whatever it says
	[ $status -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
	[ $((good + bad + not)) -gt 0 ] || bad=1
	if [ "$bad" -gt 0 ]; then
		printf '%s\n%s: status %s\n' "$text" "$program" $status
	fi
	passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + not))
done
echo "unit tests: $passed passed, $failed failed, $skipped skipped in $# programs"
[ $failed -eq 0 ]
