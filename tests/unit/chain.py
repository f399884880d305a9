# SPDX-License-Identifier: Apache-2.0
"""Blocks in a chain of calls that it tells of itself: chain.py DEPTH. With DEPTH+ another thread calls and returns all the time.

Lines on standard output: `self PID THREAD HEXVERSION`, then one `frame CODE LASTI FIRSTLINE FLAGS NAME FILE TABLE` for each
frame, innermost first (CODE: its address; NAME: the qualname, or the name before 3.11; both as UTF-8 in hex; TABLE: the
line table, in hex, behind an x), then `ready`. That line begins a write which no pipe has room for: whoever reads it knows that the innermost frame blocks in it.
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
        texts = [t.encode("utf-8").hex() for t in (getattr(code, "co_qualname", code.co_name), code.co_filename)]
        texts.append("x" + (code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab).hex())
        lines.append("frame %d %d %d %d %s %s %s" % (id(code), frame.f_lasti, code.co_firstlineno, code.co_flags, *texts))
        frame = frame.f_back
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def leaf():
    tell(sys._getframe())
    try:
        os.write(1, READY)
    finally:
        os._exit(0)


class Held:
    def __init__(self, blocks):
        if blocks:
            self.method()

    def method(self):
        # C code that calls back: an entry frame
        sorted([1], key=lambda _: functools.reduce(self.named, [1, 2]))

    def named(self, _, __):
        # strings of one, two and four bytes a character; identifiers would want unicodedata, which not every host can load
        call = self.reduced
        for file in "ascii.py", "caf\u00e9.py", "\u65e5\u672c.py", "\U0001f40d.py":
            space = {"call": call}
            exec(compile("\n\ndef calls():\n    return call()\n", file, "exec"), space)
            call = space["calls"]
        return call()

    @staticmethod
    def reduced():
        # frames of generators lie in the heap, inside of frames of the data stack
        return sum(x for x in outer(3))


def outer(n):
    if n:
        yield from outer(n - 1)
    else:
        yield leaf()


def down(n):
    return down(n - 1) if n else Held(True)


def restless():
    def dive(n):
        return dive(n - 1) if n else 0
    def climb(n):
        return sorted([dive(n), 1], key=lambda x: climb(n - 1) if n else 0)
    while True:
        for n in range(4):
            climb(n)


for _ in range(50):  # so that the interpreter calls __init__ by its short cut
    Held(False)
sys.setrecursionlimit(20000)
if sys.argv[1].endswith("+"):
    threading.Thread(target=restless).start()
down(int(sys.argv[1].rstrip("+")))
