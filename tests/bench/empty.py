# SPDX-License-Identifier: Apache-2.0
"""A program that does nothing on a perf timer of every CPU: what no program can cost less than, as the kernel measures it."""
import ctypes
import fcntl
import os
import struct

from meter import PERF_EVENT_PROGRAM, SYS_BPF
from slowdown import Timer

PROG_LOAD, ENABLE_STATS = 5, 32  # include/uapi/linux/bpf.h
SET_BPF = 0x40042408             # include/uapi/linux/perf_event.h
MOV_R0_0, EXIT = struct.pack("<BBhi", 0xb7, 0, 0, 0), struct.pack("<BBhi", 0x95, 0, 0, 0)


def bpf(command, attr):
    fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_BPF, command, ctypes.create_string_buffer(attr, 128), 128)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return fd


class Empty:
    def __init__(self, cpus, rate):
        code = ctypes.create_string_buffer(MOV_R0_0 + EXIT)
        name = ctypes.create_string_buffer(b"GPL")
        self.stats = bpf(ENABLE_STATS, struct.pack("<I", 0))
        self.program = bpf(PROG_LOAD, struct.pack("<IIQQ", PERF_EVENT_PROGRAM, 2, ctypes.addressof(code), ctypes.addressof(name)))
        self.timers = [Timer(cpu, rate) for cpu in cpus]
        for timer in self.timers:
            fcntl.ioctl(timer.fd, SET_BPF, self.program)

    def cost(self):
        """(ns, runs) so far."""
        with open("/proc/self/fdinfo/%d" % self.program) as f:
            fields = dict(line.split(":", 1) for line in f if ":" in line)
        return int(fields["run_time_ns"]), int(fields["run_cnt"])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for timer in self.timers:
            os.close(timer.fd)
        os.close(self.program)
        os.close(self.stats)
