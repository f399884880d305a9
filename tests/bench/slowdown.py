# SPDX-License-Identifier: Apache-2.0
"""How much slower a program becomes while it is profiled.

It does the same piece of work over and over and says how long each took; stretches with and without a profiler take
turns. The piece's time is the thread's CPU time, which interrupts count to, so that other processes hardly matter;
where the kernel keeps the time of interrupts apart, it is wall time.
"""
import ctypes
import glob
import gzip
import os
import platform
import statistics
import struct
import threading
import time

from targets import Target, outrank

SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}[platform.machine()]

# Some 10 ms of Python a piece, 20 frames deep.
WORK = """
import sys, time
clock = getattr(time, sys.argv[1])

def piece(words):
    counts = {}
    for i in range(60):
        for word in words:
            counts[word] = counts.get(word, 0) + len(word) * i
    return sum(sorted(counts.values()))

def run(depth, words):
    if depth > 1:
        return run(depth - 1, words)
    while True:
        start = clock()
        piece(words)
        print(clock() - start, flush=True)

words = ["word%d" % (i * 7919 % 1000) for i in range(1500)]
print("up", flush=True)
run(18, words)
"""


def clock():
    names = glob.glob("/proc/config.gz") + glob.glob("/boot/config-" + platform.release())
    for name in names:
        with (gzip.open if name.endswith(".gz") else open)(name, "rt") as f:
            return "perf_counter" if "CONFIG_IRQ_TIME_ACCOUNTING=y\n" in f else "thread_time"
    return "perf_counter"


class Worker:
    """The program, and the times of its pieces as they come."""

    def __init__(self, python, cpu):
        self.target = Target([*python, "-c", WORK, clock()], cpu, alone=True)
        self.times = []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.target.process.stdout:
            self.times.append(float(line))

    def stretch(self, seconds):
        """Median time of a piece, from now on for so long; it is stopped afterwards, for others to have the CPU."""
        self.target.go()
        time.sleep(seconds / 10)
        first = len(self.times) + 1
        time.sleep(seconds)
        last = len(self.times)
        self.target.stop()
        return statistics.median(self.times[first:last] or [seconds])  # none: it hardly got to run

    def end(self):
        self.target.process.kill()
        self.target.process.wait()
        self.thread.join()


def measure(python, cpu, profilers, rounds, seconds=0.5):
    """profilers: {name: function of a pid that starts one and returns a context, once it is at work}. {name: slowdown,
    0.01 for 1 %}, the median of `rounds`."""
    ratios = {name: [] for name in profilers}
    worker = Worker(python, cpu)
    outrank()
    try:
        for _ in range(rounds):
            for name, start in profilers.items():
                before = worker.stretch(seconds)
                worker.target.go()
                with start(worker.target.pid):
                    during = worker.stretch(seconds)
                after = worker.stretch(seconds)
                ratios[name].append(during / ((before + after) / 2) - 1)
    finally:
        worker.end()
    return {name: statistics.median(values) for name, values in ratios.items()}


class Timer:
    """The interrupts alone: perf's clock on one CPU at the ticks of pybpf (1.06 for each sample), no program behind."""

    def __init__(self, cpu, rate):
        # PERF_TYPE_SOFTWARE, size, PERF_COUNT_SW_CPU_CLOCK, period, ..., exclude_idle
        attr = struct.pack("<IIQQQQQ", 1, 64, 0, int(1e9 / rate / 1.0618), 0, 0, 1 << 7)
        self.fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_PERF_EVENT_OPEN, attr.ljust(64, b"\0"), -1, cpu, -1, 8)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)
