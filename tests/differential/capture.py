# SPDX-License-Identifier: Apache-2.0
"""Reads raw captures (user/store/capture.h has the format) independently of pybpf's own reader."""
import collections
import zlib

Frame = collections.namedtuple("Frame", "kind name file short_file module line end_line column end_column first_line")
Process = collections.namedtuple("Process", "pid ns_pid ppid uid start_time comm cmdline exe container container_name "
                                            "version")
Thread = collections.namedtuple("Thread", "process tid ns_tid name")
# time: ns since the start. stack: frames, root first.
Sample = collections.namedtuple("Sample", "time thread stack cpu outcome kind count weight")

KNOWN = 1, 2, 4, 5, 6, 7, 8, 9, 10
PYTHON, NATIVE, KERNEL, MARKER = range(4)


class Payload:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    def numbers(self, n):
        return [self.number() for _ in range(n)]

    def string(self):
        n = self.number()
        self.at += n
        return self.data[self.at - n:self.at]


class Capture:
    """start_ns: real time at which it began."""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        assert data[:8] == b"PYBPFCAP" and data[8:12] == b"\1\0\0\0", data[:12]
        self.strings, self.frames, self.stacks = [""], [], [()]
        self.processes, self.threads, self.samples, self.outcomes = [], [], [], []
        self.ended, at = False, 12
        while at < len(data):
            size = int.from_bytes(data[at + 1:at + 5], "little")
            block = data[at:at + 5 + size]
            assert zlib.crc32(block) == int.from_bytes(data[at + 5 + size:at + 9 + size], "little")
            at += 9 + size
            payload = Payload(block[5:])
            self._block(block[0], payload)
            assert payload.at == size or block[0] not in KNOWN, "block %d is not as this reader knows it" % block[0]
        assert self.ended, "the capture is not whole"

    def _block(self, kind, p):
        if kind == 1:
            self.version, self.host, self.kernel, self.machine, self.command = (p.string().decode() for _ in range(5))
            self.start_ns, self.duration_ns, self.rate_hz, self.cpus, self.ordered = p.numbers(5)
        elif kind == 2:
            self.outcomes = [p.string().decode() for _ in range(p.number())]
        elif kind == 4:
            self.strings += [p.string().decode("utf-8", "surrogatepass") for _ in range(p.number())]
        elif kind == 5:
            for _ in range(p.number()):
                f = p.numbers(10)
                self.frames.append(Frame(f[0], *(self.strings[i] for i in f[1:5]), *f[5:]))
        elif kind == 6:
            for _ in range(p.number()):
                parent, frame = p.numbers(2)
                self.stacks.append(self.stacks[parent] + (self.frames[frame],))
        elif kind == 7:
            for _ in range(p.number()):
                f = p.numbers(11)
                self.processes.append(Process(*f[:5], *(self.strings[i] for i in f[5:])))
        elif kind == 8:
            for _ in range(p.number()):
                process, tid, ns_tid, name = p.numbers(4)
                self.threads.append(Thread(self.processes[process], tid, ns_tid, self.strings[name]))
        elif kind == 9:
            self._samples(p)
        elif kind == 10:
            self.ended = True

    def _samples(self, p):
        time = 0
        for _ in range(p.number()):
            passed, thread, stack, cpu, outcome, kind, count, weight = p.numbers(8)
            time += passed >> 1 ^ -(passed & 1)
            self.samples.append(Sample(time, self.threads[thread], self.stacks[stack], cpu, self.outcomes[outcome],
                                       kind, count, weight))
