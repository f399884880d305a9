# SPDX-License-Identifier: Apache-2.0
"""Programs to be profiled. They are stopped and continued by their maker, so that one of many runs at a time. Some are
of real-time priority: while one runs, nothing else does on its CPU."""
import os
import signal
import subprocess

# A stack of `depth` frames from <module> on, whose innermost one is at work. Functions by turns, as in real programs,
# with a few arguments and variables each.
DEEP = """
import sys
sys.setrecursionlimit(10000)

def spin(a, b, c):
    n = 0
    while True:
        n = (n + a) & 0xffff
        c = n ^ b

def one(depth, a, b):
    x, y = a + 1, b
    return three(depth - 1, x, y) if depth > 1 else spin(x, y, a)

def two(depth, a, b):
    x, y, z = a, b + 1, depth
    return one(z - 1, x, y) if z > 1 else spin(x, y, a)

def three(depth, a, b):
    p = [a]
    return two(depth - 1, p[0], b) if depth > 1 else spin(a, b, p[0])

depth = int(sys.argv[1]) - 2
print("up", flush=True)
three(depth, 1, 2) if depth > 0 else spin(1, 2, 3)
"""


def outrank():
    """This process can run while targets do."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(2))


class Target:
    """A command that says a line when it is up, and is stopped then. alone: nothing else runs on its CPU while it does;
    its maker has to be outrank()ing it to stop it."""

    def __init__(self, command, cpu=None, env=None, alone=False):
        def settle():
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            if alone:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, preexec_fn=settle)
        self.says = self.process.stdout.readline()
        if not self.says:
            raise RuntimeError("a target has ended: " + " ".join(command))
        self.pid = self.process.pid
        self.stop()

    def stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def go(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def cpu_ns(self):
        with open(f"/proc/{self.pid}/schedstat") as f:
            return int(f.read().split()[0])

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Targets(list):
    """Ends them all."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for target in self:
            target.end()
