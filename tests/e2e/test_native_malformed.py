# SPDX-License-Identifier: Apache-2.0
"""Libraries whose unwind information is malformed: they are refused, which is counted, and the rest is whole.

Copies of a library are loaded into one process, each damaged in its own way; what .eh_frame says is of no concern to the program
itself. Every sample has its Python frames, and a native stack through a copy is either marked or true.
"""
import os
import random
import re
import shutil
import struct

import harness

PROGRAM = """
import ctypes, sys
BUFFER = ctypes.create_string_buffer(1 << 14)
FUNCTIONS = [ctypes.CDLL(path).crc32 for path in sys.argv[1:]]
for f in FUNCTIONS:
    f.restype = ctypes.c_ulong
def work():
    for f in FUNCTIONS:
        for i in range(20):
            f(0, BUFFER, len(BUFFER))
def main():
    while True:
        work()
ready()
main()
"""


def sections(data):
    """{name: (offset of its header, offset, size)} of a 64-bit ELF file."""
    at, = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3a)
    heads = [struct.unpack_from("<IIQQQQ", data, at + i * size) for i in range(count)]
    strings = heads[names][4]
    return {bytes(data[strings + h[0]:data.index(b"\0", strings + h[0])]).decode(): (at + i * size, h[4], h[5])
            for i, h in enumerate(heads)}


def entries(data, start, size):
    """(offset, length, is a CIE) of each."""
    at = start
    while at < start + size:
        length, kind = struct.unpack_from("<II", data, at)
        if not length:
            break
        yield at, length, not kind
        at += 4 + length


def damage(data, kind):
    """In place."""
    head, start, size = sections(data)[".eh_frame"]
    cie = next(at for at, _, is_cie in entries(data, start, size) if is_cie)
    fdes = [at for at, _, is_cie in entries(data, start, size) if not is_cie]
    encoding = data.index(b"\0", cie + 9) + 1 + 4  # behind "zR", alignments, return address column and a length
    if kind == "version":
        data[cie + 8] = 0x7f
    elif kind == "augmentation":
        data[cie + 9] = ord("q")
    elif kind == "encoding":
        data[encoding] = 0x6c
    elif kind == "indirect":
        data[encoding] = 0x9b
    elif kind == "length":
        struct.pack_into("<I", data, fdes[0], 0xfffffff0)
    elif kind == "long":
        struct.pack_into("<IQ", data, fdes[0], 0xffffffff, 1 << 62)
    elif kind == "orphan":
        struct.pack_into("<I", data, fdes[len(fdes) // 2] + 4, 0x7ffffff0)
    elif kind == "overlap":
        for at in fdes:
            struct.pack_into("<I", data, at + 12, 0x7fffffff)
    elif kind == "instructions":
        for at in fdes:
            data[at + 17] = 0x3f
    elif kind == "truncated":
        struct.pack_into("<Q", data, head + 32, size - 7)
    elif kind == "outside":
        struct.pack_into("<QQ", data, head + 24, len(data) - 8, size)
    elif kind == "huge":
        struct.pack_into("<Q", data, head + 32, 1 << 60)
    elif kind == "noise":
        data[start:start + size] = random.Random(6).randbytes(size)
    else:
        assert kind == "none"


REFUSED = ["version", "augmentation", "encoding", "length", "long", "orphan", "instructions", "truncated", "outside",
           "huge"]
KINDS = ["none", "overlap", "noise", "indirect", *REFUSED]  # noise and pointers to nowhere may look like anything


def test_refused_and_counted(any_python, target, record, tmp_path):
    copies = []
    for kind in KINDS:
        copies.append(tmp_path / ("bad_%s.so" % kind))
        shutil.copy(harness.zlib(), copies[-1])
        with open(copies[-1], "r+b") as f:
            data = bytearray(f.read())
            damage(data, kind)
            f.seek(0)
            f.write(data)
    program = target(any_python, PROGRAM, *copies)
    ran = record("-n", "-p", program.pid, "-r", 2000, "-d", 2, "--json", "--verbose")
    assert ran.status == 0, ran
    whole, marked = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for stack, count in ran.stacks:
        names = harness.names(stack)
        assert "<module>" in names and "main" in names, stack
        kind = next((match[1] for match in map(re.compile(r".*\(bad_(\w+)\.so\)").fullmatch, stack) if match), None)
        if not kind:
            continue
        assert "work" in names, stack
        if any("truncated" in label for label in stack):
            marked[kind] += count
            if kind in REFUSED:
                assert "[truncated: native_refused]" in stack, stack
        else:
            whole[kind] += count
            # what called the function, between it and Python
            between = stack[names.index("work") + 1:]
            assert any("_ctypes" in label or "libffi" in label for label in between), stack
    counts = {kind: (whole[kind], marked[kind]) for kind in KINDS}
    assert all(whole[kind] + marked[kind] for kind in KINDS), counts
    for kind in "none", "overlap":
        assert not marked[kind], counts
    for kind in REFUSED:
        assert not whole[kind], counts
    truncated = ran.accounts["truncated"]
    assert truncated["native_refused"] >= sum(marked[kind] for kind in REFUSED), (truncated, counts)
    assert int(re.search(r"(\d+) malformed ones", ran.stderr)[1]) >= 5, ran.stderr
