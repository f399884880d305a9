# SPDX-License-Identifier: Apache-2.0
"""What -n costs, and what --json says of it."""
import json
import os
import subprocess

import harness
import pytest

SPIN = """
import random, time
def work():
    return sorted((random.random() for _ in range(2000)), key=lambda x: -x)
ready()
while True:
    work()
"""
PROCESSES = 10
MOST_RSS = 100 << 20


def test_memory(target, tmp_path):
    """Of many processes of several interpreters: pybpf's own, its children's included, and the kernel's, which is told."""
    pythons = [p for p in harness.interpreters.select((3, 7), (3, 15)) if not p.root][-5:]
    if not pythons:
        pytest.skip("no interpreter that pybpf reads")
    running = [target(pythons[i % len(pythons)], SPIN) for i in range(PROCESSES)]
    words = [harness.PYBPF, "record", "-n", "--quiet", "-p", ",".join(str(each.pid) for each in running), "-r", "200", "-d", "3",
             "-o", str(tmp_path / "out.raw"), "--json=" + str(tmp_path / "accounts")]
    _, status, usage = os.wait4(os.posix_spawn(words[0], words, os.environ), 0)
    assert status == 0
    assert usage.ru_maxrss * 1024 <= MOST_RSS
    accounts = json.loads((tmp_path / "accounts").read_text())
    native = accounts["native"]
    assert accounts["processes"] == PROCESSES and accounts["samples"]["lost"] == 0, accounts
    assert native["tables"] >= len(pythons) and native["rows"] > 10000 * len(pythons), native
    assert 0 < native["table_bytes"] < native["map_bytes"] < 1 << 30, native
    assert native["without_table"] == {"no_information": 0, "malformed": 0, "no_room": 0}, native


LOADED = """
import ctypes
spin = ctypes.PyDLL(_sys.argv[1]).spin
def work():
    spin(200000)
ready()
while True:
    work()
"""


def damage(path):
    """The first entry of .eh_frame is longer than the section."""
    told = subprocess.check_output(["readelf", "-SW", str(path)], text=True)
    words = next(line.split("]", 1)[1].split() for line in told.splitlines() if " .eh_frame " in line)
    with open(path, "r+b") as f:
        f.seek(int(words[3], 16))
        f.write(b"\xf0\xff\xff\x7f")


def test_malformed_information_is_refused(any_python, target, record, tmp_path):
    """The process is profiled without the frames behind it, and the reason is counted."""
    library = tmp_path / "spin.so"
    source = tmp_path / "spin.c"
    source.write_text("long spin(long n) { long s = 0; while (n--) { s += n; __asm__ volatile(\"\" : \"+r\"(s)); } return s; }\n")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-fomit-frame-pointer", "-o", str(library), str(source)], check=True)
    damage(library)
    process = target(any_python, LOADED, library)
    ran = record("-n", "-p", process.pid, "-r", 1000, "-d", 2, "--json")
    assert ran.status == 0, ran
    assert ran.accounts["native"]["without_table"]["malformed"] == 1, ran
    within = [(stack, count) for stack, count in ran.stacks if "spin (spin.so)" in stack]
    assert sum(count for _, count in within) > ran.samples / 2, ran.stacks[:3]
    for stack, _ in within:
        assert "work" in harness.names(stack) and any("[truncated: native_" in label for label in stack), stack


def test_without_native_frames_there_is_no_such_account(any_python, target, record):
    ran = record("-p", target(any_python, SPIN).pid, "-r", 100, "-d", 0.5, "--json")
    assert ran.status == 0 and "native" not in ran.accounts, ran
