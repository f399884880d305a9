# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The cache of interpreters: its folder, its lock, how a result comes into it, and the manifest.
#
# A result is a folder NAME-KEY, KEY being a digest of whatever decides its content, with a file
# rows.tsv: the manifest's lines, in which @ at the start of a word stands for the folder.

cache=${PYBPF_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/pybpf}/interpreters
manifest=$cache/manifest.tsv
jobs=${PYBPF_JOBS:-$(nproc)}
quiet=0
tmp=
job=
RECIPES=()

say() { printf 'interpreters: %s\n' "$*"; }
note() { [ $quiet -eq 1 ] || say "$@"; }

# cache__open: make the folder, wait for whoever else is gathering, clear what a kill left.
cache__open() {
	mkdir -p "$cache/log" || return 1
	exec 9> "$cache/.lock" || return 1
	if ! flock -n 9; then
		say "waiting for another gathering"
		flock 9 || return 1
	fi
	find "$cache" -mindepth 1 -maxdepth 1 -name 'tmp.*' -exec rm -rf {} +
	: > "$cache/.machine.tsv"
	trap 'cache__end_job; cache__drop_tmp; exit 130' INT TERM HUP
	trap 'cache__drop_tmp' EXIT
}

cache__end_job() {
	[ -z "$job" ] || kill -TERM -- "-$job" 2> /dev/null
	job=
}

cache__drop_tmp() {
	# PYBPF_KEEP=1 leaves a failed result to look at, until the next gathering.
	[ -z "$tmp" ] || [ -n "${PYBPF_KEEP:-}" ] || rm -rf "$tmp"
	tmp=
}

# cache__path NAME WORD...: the folder of a result whose content the words decide.
cache__path() {
	local name=$1
	shift
	printf '%s/%s-%s\n' "$cache" "$name" "$(printf '%s\n' "$@" | sha256sum | cut -c1-10)"
}

# cache__make DIR FUNCTION [ARG...]: have DIR, by calling FUNCTION with $tmp as its empty folder.
# FUNCTION runs apart (its output goes to a log), calls row for each interpreter, and fails
# with `skip REASON` or a non-zero status. Every interpreter is run before DIR appears.
cache__make() {
	local dir=$1 name log status start=$SECONDS
	shift
	name=$(basename "$dir")
	log=$cache/log/$name.log
	[ ! -f "$dir/rows.tsv" ] || return 0

	say "making $name (log: $log)"
	rm -rf "$dir"
	tmp=$cache/tmp.$name
	mkdir "$tmp" || return 1
	# Not in a condition: there bash would ignore -e in everything that FUNCTION calls.
	# In the background, as bash attends to signals while it waits, but not while a command runs; as a process group, to be
	# ended as one.
	set -m
	(set -e; cd "$tmp"; "$@") > "$log" 2>&1 < /dev/null &
	job=$!
	set +m
	wait "$job" 2> /dev/null
	status=$?
	job=
	if [ $status -eq 0 ] && cache__verify "$tmp" >> "$log" 2>&1 && mv -T "$tmp" "$dir"; then
		tmp=
		say "made $name: $((SECONDS - start)) s, $(du -sh "$dir" | cut -f1)"
		return 0
	fi
	cache__drop_tmp
	say "not made: $name after $((SECONDS - start)) s: $(grep -v '^$' "$log" | tail -n 1)"
	return 1
}

# row ID KINDS ROOT COMMAND [NOTES]: announce an interpreter of the result being made.
row() { printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "${5:--}" >> rows.new; }

# machine_row ...: the same for one that lies outside the cache.
machine_row() { (cd "$cache" && row "$@" && cat rows.new >> .machine.tsv && rm rows.new); }

skip() {
	echo "$*" >&2
	return 1
}

# cache__verify DIR: run every interpreter that rows.new names; write rows.tsv with versions.
cache__verify() {
	local dir=$1
	[ -s "$dir/rows.new" ] || skip "no interpreter came of it" || return 1
	cache__run_rows "$dir" "$dir/rows.new" > "$dir/rows.tmp" || return 1
	rm "$dir/rows.new"
	mv "$dir/rows.tmp" "$dir/rows.tsv"
}

# cache__run_rows DIR ROWS: print manifest lines, @ not yet replaced; fail at the first
# interpreter that does not run or is not of its kinds.
cache__run_rows() {
	local dir=$1 id kinds root command notes version
	while IFS=$'\t' read -r id kinds root command notes; do
		version=$(interpreter__run "$(expand "$dir" "$root")" "$(expand "$dir" "$command")" "$kinds") ||
			skip "$id: ${version:-does not run}" || return 1
		printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$id" "$version" "$command" "$kinds" "$root" "$notes"
	done < "$2"
}

# expand DIR WORDS: WORDS with each leading @ replaced by DIR.
expand() {
	local word out=
	for word in $2; do
		case $word in @*) word=$1${word#@} ;; esac
		out+="${out:+ }$word"
	done
	printf '%s\n' "$out"
}

# interpreter__run ROOT COMMAND KINDS: print the version; prove the kinds by running.
interpreter__run() {
	local root=$1 kinds=$3 words
	read -r -a words <<< "$2"
	[ "$root" = - ] || words=("$parts/enter" "$root" "${words[@]}")
	timeout 60 "${words[@]}" "$parts/verify.py" "$kinds" < /dev/null |
		tail -n 1 | grep -x '[0-9][0-9.]*[a-z0-9+]*'
}

# cache__key: what the manifest is made of: results, the machine's interpreters, these scripts.
cache__key() {
	{
		find "$cache" -mindepth 2 -maxdepth 2 -name rows.tsv -printf '%p %T@\n' | sort
		machine__programs | xargs -r -d '\n' stat -L -c '%n %Y %Z %s'
		cat "$here/interpreters.sh" "$parts"/*
	} | sha256sum
}

# cache__is_current: is the manifest made of what is there now? What nothing has changed since need not be run again.
cache__is_current() { [ -f "$manifest" ] && [ "$(cat "$cache/manifest.key" 2> /dev/null)" = "$(cache__key)" ]; }

# cache__write_manifest: verify what the machine has, add what the cache has.
cache__write_manifest() {
	local rows dir new=$cache/.manifest.new
	machine__rows
	cache__run_present "$cache" "$cache/.machine.tsv" > "$new"
	# Newest first: of two results with one identifier (other options, another key) that one counts.
	while read -r rows; do
		dir=$(dirname "$rows")
		awk -F'\t' -v OFS='\t' 'NR == FNR { seen[$1]; next } !($1 in seen) { print $1, $4, $5, $3, $6 }' \
			"$new" "$rows" > "$cache/.rows"
		cache__run_present "$dir" "$cache/.rows" >> "$new"
	done < <(find "$cache" -mindepth 2 -maxdepth 2 -name rows.tsv -printf '%T@ %p\n' | sort -rn | cut -d' ' -f2-)
	rm -f "$cache/.rows" "$cache/.machine.tsv"
	sort -u -o "$new" "$new" && mv "$new" "$manifest" && cache__key > "$cache/manifest.key"
}

cache__show_manifest() {
	awk -F'\t' '{ printf "  %-20s %-10s %-28s %s\n", $1, $2, $4, $6 }' "$manifest"
}

# cache__run_present DIR ROWS: manifest lines of those that run; the others are named.
cache__run_present() {
	local dir=$1 id kinds root command notes version
	while IFS=$'\t' read -r id kinds root command notes; do
		root=$(expand "$dir" "$root")
		command=$(expand "$dir" "$command")
		if version=$(interpreter__run "$root" "$command" "$kinds"); then
			printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$id" "$version" "$command" "$kinds" "$root" "$notes"
		else
			say "does not run any more: $id ($command)" >&2
		fi
	done < "$2"
}

# ---- Debian's packages

# packages NAME...: have them installed, or say which are missing.
packages() {
	local missing=() name
	for name in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$name" 2> /dev/null | grep -qx installed ||
			missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get > /dev/null || skip "no apt-get for: ${missing[*]}" || return 1
	[ "$(id -u)" -eq 0 ] || skip "not root: cannot install ${missing[*]}" || return 1
	DEBIAN_FRONTEND=noninteractive nice apt-get -q -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends "${missing[@]}" && return 0
	apt-get -q -o DPkg::Lock::Timeout=300 update || true
	DEBIAN_FRONTEND=noninteractive nice apt-get -q -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends "${missing[@]}"
}

# debian__mirror: the address of Debian's archive, as this machine's apt knows it.
debian__mirror() {
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2> /dev/null |
		awk -F'|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }' | grep .
}

# debian__apt FOLDER SUITE...: an apt of its own that knows these suites' packages and sources;
# leaves its options in the array apt_options. Touches nothing of the machine's apt.
debian__apt() {
	local folder=$1 mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg suite
	shift
	mirror=$(debian__mirror) || skip "apt knows no archive of Debian's" || return 1
	[ -f $keyring ] || skip "no keyring of Debian's archive" || return 1
	mkdir -p "$folder"/{lists/partial,cache/archives/partial}
	for suite in "$@"; do
		printf '%s [signed-by=%s] %s %s main\n' deb $keyring "$mirror" "$suite"
		printf '%s [signed-by=%s] %s %s main\n' deb-src $keyring "$mirror" "$suite"
	done > "$folder/sources.list"
	apt_options=(-q -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root
		-o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
		-o Acquire::Languages=none)
	apt-get "${apt_options[@]}" update
}
