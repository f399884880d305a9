# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Interpreters built here from Debian's source package of Python 3.13: those that no registry
# has ready made. The newest source that can be downloaded is taken.

RECIPES+=("build-3.13t|build-3.13t" "build-3.13|conda-3.13" "musl-3.13|musl-3.13 musl-3.13-root")

source_common=(--without-ensurepip --disable-test-modules)

recipe_build_3_13t() { source__have build-3.13t source__free_threaded; }
recipe_build_3_13() { source__have build-3.13 source__conda; }
recipe_musl_3_13() { source__have musl-3.13 source__musl; }

# The functions' own text is part of the key: other options, another result.
source__have() {
	cache__make "$(cache__path "$1" "$(declare -f "$2" source__build)" "${source_common[@]}")" "$2"
}

# source__unpack: python's source in ./src. Downloaded once, kept beside the results.
source__unpack() {
	local tar apt_options version
	tar=$(find "$cache" -mindepth 2 -maxdepth 2 -path '*/source-3.13/*.orig.tar.xz' | sort -V | tail -n 1)
	if [ -z "$tar" ]; then
		debian__apt "$PWD/apt" sid trixie
		mkdir download
		for version in $(apt-cache "${apt_options[@]}" --only-source showsrc python3.13 |
			awk '$1 == "Version:" { print $2 }' | sort -rVu); do
			(cd download && apt-get "${apt_options[@]}" source --download-only "python3.13=$version") && break
			rm -rf download/*
		done
		tar=$(find download -name '*.orig.tar.xz' | grep .) || skip "no source of Python 3.13 to be had"
		mkdir -p "$cache/source-3.13"
		mv "$tar" "$cache/source-3.13/"
		tar=$cache/source-3.13/${tar##*/}
		rm -rf apt download
	fi
	mkdir src
	tar -xf "$tar" -C src --strip-components=1
}

# source__build PREFIX DESTDIR OPTION...: configure, make and install; the environment has the compiler.
source__build() {
	local prefix=$1 dest=$2
	shift 2
	packages gcc make pkg-config zlib1g-dev libffi-dev
	source__unpack
	mkdir build
	(
		cd build
		nice -n 19 ../src/configure -q --prefix="$prefix" "${source_common[@]}" "$@"
		nice -n 19 make -s -j"$jobs"
		# libpython.a comes with libainstall. PYTHON_FOR_BUILD only compiles bytecode here, thrice; the interpreter does so when it imports.
		nice -n 19 make -s altbininstall libinstall libainstall sharedinstall inclinstall \
			DESTDIR="$dest" PYTHON_FOR_BUILD=:
	)
	rm -rf src build
}

source__free_threaded() {
	source__build /opt/python "$PWD" --disable-gil
	row build-3.13t static,free-threaded - @/opt/python/bin/python3.13t
}

# What conda installs: a prefix of its own, found by a run path relative to the executable.
source__conda() {
	# shellcheck disable=SC2016
	LDFLAGS='-Wl,-rpath,\$$ORIGIN/../lib' source__build /opt/python "$PWD" --enable-shared
	row conda-3.13 shared,conda - @/opt/python/bin/python3.13
}

# The musl interpreter, and the same in a root that holds nothing but its loader and its prefix.
source__musl() {
	local headers=/usr/include/x86_64-linux-gnu
	[ "$(uname -m)" = x86_64 ] || skip "only for x86-64"
	packages musl musl-dev musl-tools linux-libc-dev gcc make
	mkdir headers
	ln -s /usr/include/linux /usr/include/asm-generic $headers/asm headers/
	cat > cc <<-CC
		#!/bin/sh
		[ "\$1" != --print-multiarch ] || exec echo x86_64-linux-musl
		exec musl-gcc -idirafter $PWD/headers "\$@"
	CC
	chmod +x cc
	CC=$PWD/cc PKG_CONFIG_LIBDIR=/nonexistent source__build /opt/python "$PWD/root" --build=x86_64-pc-linux-musl
	mkdir -p root/{lib,proc,dev,tmp}
	cp -L /lib/ld-musl-x86_64.so.1 root/lib/
	rm -rf cc headers
	row musl-3.13 static,musl - @/root/opt/python/bin/python3.13
	row musl-3.13-root static,musl @/root /opt/python/bin/python3.13
}
