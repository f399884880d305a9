# SPDX-License-Identifier: Apache-2.0
"""Unwind tables have a bound: those that no process needs any more make room for others.

One process after the other loads a large library of its own, more of them than there is room for tables.
"""
import glob
import os
import re
import shutil

import harness

BLOCKS = 20  # of 16384 rows: a Python with its libraries takes some 8, a libcrypto 6
PROGRAMS = 6
PROGRAM = """
import ctypes, sys, time
digest = ctypes.CDLL(sys.argv[1]).SHA512
data, out = ctypes.create_string_buffer(1 << 14), ctypes.create_string_buffer(64)
def work():
    end = time.process_time() + float(sys.argv[2])
    while time.process_time() < end:
        for i in range(20):
            digest(data, len(data), out)
work()
"""


def test_others_make_room(any_python, record, tmp_path):
    found = sorted(glob.glob("/usr/lib/*/libcrypto.so.*") + glob.glob("/usr/lib64/libcrypto.so.*"))
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    copies = [tmp_path / ("own%d.so" % i) for i in range(PROGRAMS)]
    for copy in copies:
        shutil.copy(os.path.realpath(found[0]), copy)
        with open(copy, "ab") as f:
            f.write(os.urandom(16))
    each = "; ".join("%s %s %s 0.3" % (" ".join(any_python.command), script, copy) for copy in copies)
    ran = record("-n", "-s", "-r", 1000, "--json", "--verbose", command=["sh", "-c", each], env={"PYBPF_UNWIND_BLOCKS": str(BLOCKS)})
    assert ran.status == 0, ran
    of_copy, marked, taken = dict.fromkeys(range(PROGRAMS), 0), {}, 0
    for stack, count in ran.stacks:
        taken += count
        numbers = [int(m[1]) for m in map(re.compile(r".*\(own(\d+)\.so\)").fullmatch, stack) if m]
        if numbers:
            of_copy[numbers[0]] += count
        for label in stack:
            if "truncated" in label:
                marked[label] = marked.get(label, 0) + count
    full, dropped = map(int, re.search(r"(\d+) found no room, (\d+) were dropped", ran.stderr).groups())
    assert full and dropped, ran.stderr
    assert all(of_copy.values()), of_copy
    # without room most of each program's are
    assert sum(marked.values()) <= taken * 0.02, (taken, marked)
