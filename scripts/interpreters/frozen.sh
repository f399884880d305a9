# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Bundles that PyInstaller makes: the interpreter and all modules in one folder, or in one file that
# unpacks itself and runs on in a child process.

RECIPES+=("pyinstaller|pyinstaller-folder pyinstaller-file")

frozen_pyinstaller=pyinstaller==6.22.3

recipe_pyinstaller() {
	cache__make "$(cache__path pyinstaller "$frozen_pyinstaller" "$(declare -f frozen__make)")" frozen__make
}

frozen__make() {
	local python=/usr/bin/python3
	packages python3 python3-pip libpython3.11 binutils
	nice -n 19 $python -m pip install -q --no-cache-dir --target tools "$frozen_pyinstaller"
	cat > bundle.py <<-'PY'
		import runpy
		import sys

		del sys.argv[0]
		runpy.run_path(sys.argv[0], run_name="__main__")
	PY
	# Scripts come later and may import anything of the standard library.
	$python - > modules <<-'PY'
		import importlib.util
		import sys

		LEFT_OUT = {"antigravity", "distutils", "ensurepip", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo"}
		for name in sorted(sys.stdlib_module_names - LEFT_OUT):
		    if not name.startswith("_test") and importlib.util.find_spec(name):
		        print("--hidden-import=" + name)
	PY
	export PYTHONPATH=$PWD/tools PYINSTALLER_CONFIG_DIR=$PWD/config
	for kind in onedir onefile; do
		# shellcheck disable=SC2046
		nice -n 19 $python -m PyInstaller --$kind --name bundle-$kind --log-level=WARN --exclude-module=setuptools \
			--exclude-module=pkg_resources $(cat modules) bundle.py
	done
	rm -rf tools config build modules bundle.py ./*.spec
	row pyinstaller-folder shared,stripped,embedded,pyinstaller - @/dist/bundle-onedir/bundle-onedir
	row pyinstaller-file shared,stripped,embedded,pyinstaller - @/dist/bundle-onefile "runs in a child process"
}
