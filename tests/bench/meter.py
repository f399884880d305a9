# SPDX-License-Identifier: Apache-2.0
"""A running `pybpf record`, and what its timer program has cost so far.

The kernel counts runs and ns of each BPF program (/proc/PID/fdinfo of the program's descriptor). How many of the runs
took a sample is in the memory that the program shares with user space: struct cpu_shared of include/pybpf/abi.h, at
the start of each CPU's part of the map with the largest elements that can be mapped.
"""
import collections
import ctypes
import json
import mmap
import os
import platform
import signal
import struct
import subprocess
import tempfile
import time

PERF_EVENT_PROGRAM, ARRAY_MAP, MMAPABLE = 7, 2, 0x400  # include/uapi/linux/bpf.h
MAP_GET_FD_BY_ID = 14
SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]

Cost = collections.namedtuple("Cost", "ns runs taken")
Cost.__sub__ = lambda a, b: Cost(*(x - y for x, y in zip(a, b)))


def fdinfo(pid):
    """(descriptor, its fields) of each that is a BPF program or map."""
    folder = f"/proc/{pid}/fdinfo"
    for fd in sorted(os.listdir(folder), key=int):
        try:
            with open(os.path.join(folder, fd)) as f:
                lines = [line.split(":", 1) for line in f if ":" in line]
        except OSError:
            continue
        fields = {key: value.strip() for key, value in lines}
        if "map_id" in fields or "run_cnt" in fields:
            yield fd, fields


def map_by_id(ident):
    attr = ctypes.create_string_buffer(struct.pack("I", ident), 128)
    fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_BPF, MAP_GET_FD_BY_ID, attr, 128)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "opening a BPF map")
    return fd


class Recorder:
    """pybpf record, which says what it costs while it runs; its end is a profile in `self.output`."""

    def __init__(self, pybpf, *args):
        self.folder = tempfile.TemporaryDirectory(prefix="pybpf-bench-")
        self.output = os.path.join(self.folder.name, "out.raw")
        self.shared = None
        self.started = time.monotonic()
        self.process = subprocess.Popen([pybpf, "record", "-o", self.output, "--json", "--quiet", *args],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def find(self):
        """Whether the timer program is loaded and its memory mapped."""
        program, best = None, None
        try:
            for fd, fields in fdinfo(self.process.pid):
                if fields.get("prog_type") == str(PERF_EVENT_PROGRAM) and "run_cnt" in fields:
                    program = fd
                elif fields.get("map_type") == str(ARRAY_MAP) and int(fields["map_flags"], 16) == MMAPABLE:
                    if not best or int(fields["value_size"]) > int(best["value_size"]):
                        best = fields
        except FileNotFoundError:
            return False
        if not program or not best:
            return False
        self.program = f"/proc/{self.process.pid}/fdinfo/{program}"
        self.stride = (int(best["value_size"]) + 7) & ~7
        self.cpus = int(best["max_entries"])
        length = -(-self.stride * self.cpus // mmap.PAGESIZE) * mmap.PAGESIZE
        fd = map_by_id(int(best["map_id"]))
        self.shared = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(fd)
        return True

    def taken(self):
        """Samples so far; struct cpu_shared: head, taken."""
        return sum(struct.unpack_from("Q", self.shared, self.stride * cpu + 8)[0] for cpu in range(self.cpus))

    def wait_loaded(self, timeout=60):
        """Waits until the programs run, which with many targets takes its time."""
        end = time.monotonic() + timeout
        while not self.find() or not self.cost().runs:
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.process.communicate()[1] or "pybpf does not start")
            time.sleep(0.02)

    def first_sample(self, timeout=20):
        """Waits for it; seconds since the start."""
        while time.monotonic() - self.started < timeout:
            if self.process.poll() is not None:
                raise RuntimeError(self.process.communicate()[1] or "pybpf has ended")
            if (self.shared or self.find()) and self.taken():
                return time.monotonic() - self.started
            time.sleep(0.001)
        raise RuntimeError("no sample came")

    def cost(self):
        with open(self.program) as f:
            fields = dict(line.split(":", 1) for line in f if ":" in line)
        return Cost(int(fields["run_time_ns"]), int(fields["run_cnt"]), self.taken())

    def cpu_ns(self):
        """CPU time of the program so far, ns."""
        with open(f"/proc/{self.process.pid}/schedstat") as f:
            return int(f.read().split()[0])

    def end(self):
        """Ends the recording. The object that it prints with --json; None when there was no sample."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        if self.shared:
            self.shared.close()
        self.folder.cleanup()
        if self.process.returncode not in (0, 3):
            raise RuntimeError(err)
        return json.loads(out) if out else None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if not self.process.stdout.closed:
            self.end()
