#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `make check`: build, then every test, each stage with its time; at the end what passed and what failed.
#
#   scripts/check.sh [STAGE ...]     only these (see `stages` below)
#
# A stage that fails does not keep the later ones from running, except for the build. Logs: build/check/STAGE.log.
# Exit: 0 when all stages passed.

set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
export JOBS=${JOBS:-$(nproc)} PYTHON=${PYTHON:-/usr/bin/python3} MAKE=${MAKE:-make} LC_ALL=C.UTF-8
unset MAKEFLAGS MAKELEVEL MFLAGS

logs=build/check
stages=(deps interpreters build build-sanitize lint unit unit-sanitize differential e2e kernels)
rows=() passed=0 failed=0 skipped=0 bad=0 began=$SECONDS

make_() { "$MAKE" -s -j"$JOBS" "$@"; }

# With a time limit for each test: none may hang.
pytest_() {
	PYTHONDONTWRITEBYTECODE=1 "$PYTHON" -m pytest -q -p no:cacheprovider -rfEs --timeout=600 -n "$JOBS" "$@"
}

stage_deps() { scripts/deps.sh build test; }
stage_interpreters() { scripts/interpreters.sh -q; }
stage_build() { make_ test-bins; }
stage_build-sanitize() { make_ SANITIZE=1 test-bins; }
stage_lint() { scripts/lint.sh quick; }
stage_unit() { make_ unit; }
stage_unit-sanitize() { make_ SANITIZE=1 unit; }
stage_differential() { pytest_ tests/differential; }
stage_e2e() { mount_needed && pytest_ tests/e2e; }
stage_kernels() { pytest_ -n 0 tests/kernels; } # each kernel boots once, for all tests, and takes every CPU

# What systemd mounts and a container may lack.
mount_needed() {
	[ "$(id -u)" -eq 0 ] || return 0
	mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing ||
		echo "check: no tracefs" >&2
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || echo "check: no bpffs" >&2
}

# count LOG WORD: the sum of "N WORD" in the lines that sum up: pytest's last one, scripts/unit.sh's.
count() {
	grep -aE '^(=* ?[0-9]+ (passed|failed|skipped|errors?|xfailed)\b.* in [0-9.]+s|unit tests: )' "$1" |
		grep -aoE "[0-9]+ $2\b" | awk '{ n += $1 } END { print n + 0 }'
}

run() { # run STAGE
	local name=$1 start=$SECONDS log=$logs/$1.log result=passed p f s
	echo "== $name"
	"stage_$name" 2>&1 < /dev/null | tee "$log" || { result=FAILED; bad=1; }
	p=$(count "$log" passed) f=$(($(count "$log" failed) + $(count "$log" 'errors?'))) s=$(count "$log" skipped)
	[ $result = passed ] || [ "$f" -gt 0 ] || f=1
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	echo "== $name: $result after $((SECONDS - start)) s"
	rows+=("$(printf '%-16s %-7s %7d %7d %8d %6d s' "$name" "$result" "$p" "$f" "$s" $((SECONDS - start)))")
	[ $result = passed ]
}

summary() {
	printf '\n%-16s %-7s %7s %7s %8s %8s\n' stage result passed failed skipped time
	printf '%s\n' "${rows[@]}"
	echo "==== $passed passed, $failed failed, $skipped skipped in $((SECONDS - began)) s ===="
}

mkdir -p "$logs"
[ $# -eq 0 ] || stages=("$@")
trap 'summary; exit 130' INT TERM
for each in "${stages[@]}"; do
	run "$each" && continue
	case $each in deps | build) break ;; esac
done
summary
exit $bad
