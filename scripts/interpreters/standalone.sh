# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Standalone builds, the kind that uv installs: Clang, LTO, PGO, BOLT, stripped, one big static file.
# They come inside a module for Go programs that embed Python, unpacked by the module itself.

RECIPES+=("uv-3.14|uv-3.14 uv-3.14-jit" "uv-3.11|uv-3.11" "uv-3.10|uv-3.10")

standalone_module=github.com/kluctl/go-embed-python

recipe_uv_3_14() { standalone__have 3.14 v0.0.0-3.14.6-20260610-1 static,stripped,tailcall; }
recipe_uv_3_11() { standalone__have 3.11 v0.0.0-3.11.11-20241219-1 shared; }
recipe_uv_3_10() { standalone__have 3.10 v0.0.0-3.10.16-20241219-1 shared; }

# standalone__have MINOR MODULE-VERSION KINDS
standalone__have() { cache__make "$(cache__path "uv-$1" "$2")" standalone__make "$@"; }

standalone__make() {
	local minor=$1 version=$2 kinds=standalone,$3
	command -v go > /dev/null || packages golang-go
	mkdir go
	cat > go/main.go <<-GO
		package main

		import (
			"os"

			"$standalone_module/python"
		)

		func main() {
			if _, err := python.NewEmbeddedPythonWithTmpDir(os.Args[1], false); err != nil {
				panic(err)
			}
		}
	GO
	export GOMODCACHE=$PWD/go/mod GOCACHE=$PWD/go/cache GOFLAGS=-modcacherw GOTOOLCHAIN=local
	(
		cd go
		go mod init pybpf.test/unpack
		go get "$standalone_module/python@$version"
		nice -n 19 go run -p "$jobs" . "$OLDPWD/python"
	)
	rm -rf go
	row "uv-$minor" "$kinds" - "@/python/bin/python$minor"
	[ "$minor" = 3.10 ] || [ "$minor" = 3.11 ] ||
		row "uv-$minor-jit" "$kinds,jit" - "/usr/bin/env PYTHON_JIT=1 @/python/bin/python$minor"
}
