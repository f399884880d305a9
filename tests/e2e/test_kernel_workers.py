# SPDX-License-Identifier: Apache-2.0
"""Threads that the kernel makes in a process, as io_uring's: they run none of its code, though they look like the thread that asked."""
import pytest

import harness

# One thread asks for reads (IORING_OP_READ of zeros, IOSQE_ASYNC) and waits for each; a thread of the kernel does the work.
PROGRAM = """
import ctypes, mmap, os, struct, sys
SETUP, ENTER, SIZE = 425, 426, 16 << 20
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
params = ctypes.create_string_buffer(120)
fd = libc.syscall(SETUP, 4, params)
if fd < 0:
    say("none", os.strerror(ctypes.get_errno()))
    sys.exit()
entries, = struct.unpack_from("I", params, 0)
_, tail, mask, _, _, _, array = struct.unpack_from("7I", params, 40)
seen, done = struct.unpack_from("2I", params, 80)
ring = mmap.mmap(fd, array + 4 * entries + 4096)
sqes = mmap.mmap(fd, 64 * entries, offset=0x10000000)
memory = mmap.mmap(-1, SIZE)
into = ctypes.addressof(ctypes.c_char.from_buffer(memory))
zeros = os.open("/dev/zero", os.O_RDONLY)
def wait():
    assert libc.syscall(ENTER, fd, 1, 1, 1, None, 0) == 1
def ask():
    at, = struct.unpack_from("I", ring, tail)
    slot = at & struct.unpack_from("I", ring, mask)[0]
    sqes[64 * slot:64 * slot + 64] = struct.pack("BBHiQQIIQ24x", 22, 1 << 4, 0, zeros, 0, into, SIZE, 0, 0)
    struct.pack_into("I", ring, array + 4 * slot, slot)
    struct.pack_into("I", ring, tail, at + 1)
    wait()
    struct.pack_into("I", ring, seen, struct.unpack_from("I", ring, done)[0])
say("ready")
while True: ask()
"""


@pytest.mark.parametrize("more", [[], ["-n", "--kernel"]], ids=["python", "native"])
def test_io_uring(any_python, record, tmp_path, more):
    with harness.Target(any_python, PROGRAM, folder=tmp_path) as program:
        said = program.hear()
        if said.startswith("none"):
            pytest.skip("no io_uring: " + said)
        assert said == "ready"
        ran = record("-p", program.pid, "-t", "-r", 500, "-d", 2, *more)
    assert ran.status == 0, ran
    stacks = [harness.without_process(stack) for stack, _ in ran.stacks]
    workers = [stack for stack in stacks if ": iou-wrk-" in stack[0]]
    assert workers, stacks  # until 5.11 they are processes of their own
    for stack in workers:
        if more:
            assert stack[1:] and not any(map(harness.is_marker, stack)), stack
            assert all(harness.frame(label).file is None for label in stack), stack
        else:
            assert stack[1:] == ["[no Python frame]"], stack
