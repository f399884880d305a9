# SPDX-License-Identifier: Apache-2.0
"""Unwind tables of the binaries that a Python with extensions maps: how long each takes, and how large it is."""
import glob
import json
import os
import subprocess


def libraries(interpreters):
    """The interpreters themselves or their libpython, and what else is large and common."""
    found = []
    for p in interpreters:
        real = os.path.realpath((p.root or "") + p.path)
        found += glob.glob(os.path.join(os.path.dirname(os.path.dirname(real)), "lib", "libpython3.*.so.1.0")) or [real]
    for pattern in "libc.so.6", "libstdc++.so.6", "libcrypto.so.3":
        found += glob.glob("/usr/lib/*-linux-gnu/" + pattern)[:1]
    return list(dict.fromkeys(os.path.realpath(path) for path in found))


def tables(program, paths):
    """What tests/bench/unwind_tables.c prints of each."""
    done = subprocess.run([program, "-j", *paths], stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
