# SPDX-License-Identifier: Apache-2.0
"""Blocks in a chain of calls that it tells of itself: chain.py DEPTH.

Lines on standard output: `self PID THREAD HEXVERSION`, then one `frame CODE LASTI FIRSTLINE FLAGS NAME` for each frame,
innermost first (CODE: its address; NAME: the qualname, or the name before 3.11, as UTF-8 in hex), then `ready`. That
line begins a write which no pipe has room for: whoever reads it knows that the innermost frame blocks in it.
"""
import functools
import os
import sys
import threading

READY = b"ready\n" + bytes(4 << 20)

def tell(frame):
    lines = ["self %d %d %d" % (os.getpid(), threading.get_ident(), sys.hexversion)]
    while frame:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name).encode("utf-8").hex()
        lines.append("frame %d %d %d %d %s" % (id(code), frame.f_lasti, code.co_firstlineno, code.co_flags, name))
        frame = frame.f_back
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def leaf():
    tell(sys._getframe())
    os.write(1, READY)


class Held:
    def __init__(self, blocks):
        if blocks:
            self.méthode_日本()

    def méthode_日本(self):
        # C code that calls back: an entry frame
        sorted([1], key=lambda _: functools.reduce(self.reduced, [1, 2]))

    @staticmethod
    def reduced(_, __):
        # frames of generators lie in the heap, inside of frames of the data stack
        return sum(x for x in outer(3))


def outer(n):
    if n:
        yield from outer(n - 1)
    else:
        yield leaf()


def down(n):
    return down(n - 1) if n else Held(True)


for _ in range(50):  # so that the interpreter calls __init__ by its short cut
    Held(False)
sys.setrecursionlimit(20000)
down(int(sys.argv[1]))
