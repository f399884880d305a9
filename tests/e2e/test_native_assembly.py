# SPDX-License-Identifier: Apache-2.0
"""Stacks through hand-written assembly (tests/hosts/bare.c) are whole, with and without call frame information."""
import collections
import os
import platform
import subprocess

import harness
import pytest

SAMPLES = 2000
FUNCTIONS = {"bare_leaf", "bare_moves", "bare_aligned", "indexed", "untold"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64's code is followed")
def test_whole(tmp_path, record):
    path = tmp_path / "bare"
    source = os.path.join(harness.TESTS, "hosts", "bare.c")
    subprocess.run(["gcc", "-O2", "-fomit-frame-pointer", "-o", str(path), source], check=True)
    run = subprocess.Popen([str(path)], stdout=subprocess.PIPE)
    try:
        assert run.stdout.readline() == b"ready\n"
        ran = record("-n", "-p", run.pid, "-r", 2000, "-d", SAMPLES / 1000)
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
    assert ran.status == 0, ran
    seen, marked, judged = collections.Counter(), collections.Counter(), 0
    for stack, count in ran.stacks:
        judged += count
        cut = next((label for label in stack if "truncated" in label), None)
        if cut:
            marked[cut, stack[-1]] += count
            continue
        names = [label.split(" ")[0] for label in stack if not label.startswith("[")]
        assert names[0] == "_start" and "main" in names, stack
        behind = names[names.index("main") + 1:]
        assert len(behind) <= 1 and FUNCTIONS.issuperset(behind), stack
        seen.update({name: count for name in behind})
    assert set(seen) == FUNCTIONS and min(seen.values()) > judged / 50, seen
    assert sum(marked.values()) <= 0.001 * judged, marked
