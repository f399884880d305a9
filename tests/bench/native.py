# SPDX-License-Identifier: Apache-2.0
"""Unwind tables of the binaries that a Python with extensions maps: how long each takes, and how large it is."""
import glob
import os
import subprocess


def libraries(interpreters):
    """The interpreters themselves or their libpython, and what else is large and common."""
    found = []
    for p in interpreters:
        real = os.path.realpath(p.path)
        found += glob.glob(os.path.join(os.path.dirname(os.path.dirname(real)), "lib", "libpython3.*.so.1.0")) or [real]
    for pattern in "libc.so.6", "libstdc++.so.6", "libcrypto.so.3":
        found += glob.glob("/usr/lib/*-linux-gnu/" + pattern)[:1]
    return list(dict.fromkeys(os.path.realpath(path) for path in found))


def tables(program, paths, rounds):
    """[(path, ms, rows, bytes)]."""
    done = subprocess.run([program, str(rounds), *paths], stdout=subprocess.PIPE, text=True)
    rows = []
    for line in done.stdout.splitlines():
        us, count, size, path = line.split(None, 3)
        rows.append((path, int(us) / 1000, int(count), int(size)))
    return rows
