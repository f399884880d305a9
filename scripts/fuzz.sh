#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Run fuzzers: scripts/fuzz.sh SECONDS PROGRAM ...
# They begin with what tests/fuzz/corpus has. Corpora are kept in build-fuzz/corpus, inputs that fail in build-fuzz/found. Exit: 0, or 1 when one failed.

set -u
seconds=$1
shift
folder=build-fuzz
failed=0
for program in "$@"; do
	name=$(basename "$program")
	mkdir -p "$folder/corpus/$name" "$folder/found"
	seeds=()
	[ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
	if "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 \
		-artifact_prefix="$folder/found/$name-" "$folder/corpus/$name" "${seeds[@]}" > "$folder/$name.log" 2>&1; then
		echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/$name.log") inputs, none failed"
	else
		tail -n 40 "$folder/$name.log"
		echo "$name: FAILED; see $folder/$name.log and $folder/found"
		failed=1
	fi
done
exit $failed
