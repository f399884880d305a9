# SPDX-License-Identifier: Apache-2.0
"""Frames of the kernel by their right names, those of BPF programs among them."""
import os

import harness
import pytest

# Sends to itself, through a filter that takes nearly all of the time: a classic one, or a program with a name.
FILTERED = """
import ctypes, os, socket, struct
bpf = ctypes.CDLL(None, use_errno=True).syscall
def classic():
    code = [(0x04, 0, 0, 1)] * 2000 + [(0x06, 0, 0, 0xffff)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *word) for word in code))
    return 26, struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)), text # SO_ATTACH_FILTER
def named():
    # r0 = 1; r2 = 100; do { r0 += 1; ... } while (r2 -= 1); exit
    code = [(0xb7, 0, 0, 1), (0xb7, 2, 0, 100)] + [(0x07, 0, 0, 1)] * 1000 + [(0x07, 2, 0, -1), (0x55, 2, -1002, 0), (0x95, 0, 0, 0)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("BBhi", *word) for word in code))
    licence = ctypes.create_string_buffer(b"Dual BSD/GPL")
    load = struct.pack("IIQQIIQII16s", 1, len(code), ctypes.addressof(text), ctypes.addressof(licence), 0, 0, 0, 0, 0, b"weigh")
    fd = bpf(%(bpf)d, 5, ctypes.create_string_buffer(load), len(load)) # BPF_PROG_LOAD of a BPF_PROG_TYPE_SOCKET_FILTER
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return 50, struct.pack("i", fd), text # SO_ATTACH_BPF
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.bind(("127.0.0.1", 0))
number, option, kept = globals()[_sys.argv[1]]()
link.setsockopt(socket.SOL_SOCKET, number, option)
where = link.getsockname()
ready()
while True:
    link.sendto(b"x", where)
    link.recv(9)
"""
BPF = {"x86_64": 321, "aarch64": 280}


@pytest.mark.parametrize("kind, wanted", [("classic", "bpf_prog [bpf]_[k]"), ("named", "_weigh [bpf]_[k]")])
@pytest.mark.skipif(os.uname().machine not in BPF, reason="the number of bpf(2) is not known")
def test_bpf_programs(kind, wanted, any_python, target, tmp_path):
    """/proc/kallsyms has no classic filter: its time is not that of the program that happens to lie before it."""
    with open("/proc/sys/net/core/bpf_jit_enable") as f:
        if f.read().strip() == "0":
            pytest.skip("BPF programs are interpreted here")
    program = target(any_python, FILTERED % {"bpf": BPF[os.uname().machine]}, kind)
    with harness.Recording("-p", program.pid, "-r", 1000, "--kernel", output=tmp_path / "out.raw") as recording:
        recording.sampling()
        harness.wait_busy(program.pid, 0.5)
        result = recording.stop()
    assert result.status == 0, result
    leaves = {}
    for stack, n in result.stacks:
        if " [bpf]_[k]" in stack[-1]:
            leaves[stack[-1]] = leaves.get(stack[-1], 0) + n
    there = sum(n for name, n in leaves.items() if name.endswith(wanted))
    assert there > 50 and there >= 0.9 * sum(leaves.values()), leaves
