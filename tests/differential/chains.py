# SPDX-License-Identifier: Apache-2.0
"""Run by the interpreter under test: computes at the end of many different call chains, and says where it was.

usage: chains.py OUTPUT SEED SECONDS

Generates code at random: chains of functions that call each other in every way that Python knows. At the
end of each stands a spin: a function that stays on one line for some milliseconds. Right before that, it notes its
own sys._getframe() chain and the time, so that at any moment a sampler can be held to what it says. After SECONDS of
CPU time it writes to OUTPUT repr() of
    {"chains": [[(name, file, line), ...root first], ...], "spins": [(start, end, chain, thread), ...],
     "made": {file: [(name, [line, ...]), ...]}}
times in seconds of the real-time clock; thread is its kernel's id; name is the qualified one from 3.11 on. "made" lists what was generated.

Works from 3.6 to 3.15, with built-in modules only: some hosts cannot load others.
"""
import functools
import os
import re
import sys
import threading
import time
import types
import weakref

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # not every host does so
sys.dont_write_bytecode = True
from chain_ways import DEEP, IMPORTED, WAYS  # noqa: E402

SPIN_S = 0.008
CHAINS = 150
STEPS = (1, 2, 4, 8, 16, 32)
QUALIFIED = hasattr(types.CodeType, "co_qualname")


class Random:
    """The same numbers in every version; random needs an extension module."""

    def __init__(self, seed):
        self.state = seed * 2654435761 + 1

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        return (self.state >> 33) % n

    def choice(self, of):
        return of[self.below(len(of))]


# ---- what is published

chains, spins, known = [], [], {}


def name_of(code):
    return code.co_qualname if QUALIFIED else code.co_name


def publish(frame, line):
    """Notes the chain that ends in this frame, once it is at this line; its number."""
    chain = [(name_of(frame.f_code), frame.f_code.co_filename, line)]
    frame = frame.f_back
    while frame:
        chain.append((name_of(frame.f_code), frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    chain = tuple(reversed(chain))
    number = known.setdefault(chain, len(known))
    if number == len(chains):
        chains.append(chain)
    return number


def thread_id():
    return int(os.path.basename(os.readlink("/proc/thread-self")))  # 3.6 has no function for it


# ---- spins. Each stays on its third line; how often is measured before.

def spin_python(n):
    chain, start = publish(sys._getframe(), spin_python.__code__.co_firstlineno + 2), time.time()
    while n: n -= 1  # noqa: E701
    spins.append((start, time.time(), chain, thread_id()))


def spin_in_c(n):
    chain, start = publish(sys._getframe(), spin_in_c.__code__.co_firstlineno + 2), time.time()
    sum(range(n))
    spins.append((start, time.time(), chain, thread_id()))


def spin_without_gil(n, read=os.read, zeros=os.open("/dev/zero", os.O_RDONLY)):
    chain, start = publish(sys._getframe(), spin_without_gil.__code__.co_firstlineno + 2), time.time()
    while n: n -= len(read(zeros, 65536)) >> 16  # noqa: E701
    spins.append((start, time.time(), chain, thread_id()))


def spin_hash(n, data=bytes(1 << 16)):
    chain, start = publish(sys._getframe(), spin_hash.__code__.co_firstlineno + 2), time.time()
    while n: n -= 1; digest(data)  # noqa: E701,E702
    spins.append((start, time.time(), chain, thread_id()))


SPINS = [spin_python, spin_python, spin_in_c, spin_without_gil]
try:
    from hashlib import sha256 as digest  # gives the GIL up for as much data as that
    SPINS.append(spin_hash)
except ImportError:
    pass


def calibrated(spin):
    """A function without arguments that spins for SPIN_S, give or take."""
    def took():
        start = time.process_time()
        spin(n)
        return time.process_time() - start
    n = 16
    while took() <= SPIN_S / 8:
        n *= 2
    n = int(n * SPIN_S / min(took() for _ in range(3)))  # the least: a reading may have more in it
    return lambda: spin(n)


def make_chain(random, number, spin, folder):
    """A module with one chain; its first function."""
    steps = random.choice(STEPS)
    ways = [random.choice(WAYS) for _ in range(steps)]
    ways[0] = WAYS[number % len(WAYS)]
    if number % 10 == 3:
        ways.append(DEEP)
    text = ["import functools, re, sys, threading, weakref\n"]
    for i, way in enumerate(ways):
        # Names differ between chains, so that no two chains look alike by chance.
        here, callee = ("c%d_f%d" % (number, k) for k in (i, i + 1))
        text.append("# " + "\n#" * random.below(4) + "\n" * (random.below(300) if random.below(8) == 0 else 1))
        text.append(way.format(f=here, c="spin" if i == len(ways) - 1 else callee,
                               depth=random.choice((50, 200, 700))))
        if "_module" in way:
            with open(os.path.join(folder, here + "_module.py"), "w") as f:
                f.write(IMPORTED.format(number=number, c="spin" if i == len(ways) - 1 else callee))
    name = "chains_%d" % number
    path = os.path.join(folder, name + ".py")
    text = "".join(text)
    with open(path, "w") as f:
        f.write(text)
    module = types.ModuleType(name)
    module.spin = spin
    sys.modules[name] = module
    code = compile(text, path, "exec")
    exec(code, module.__dict__)
    return getattr(module, "c%d_f0" % number), path, code


def lines_of(code):
    """[(name, lines), ...] of a code object and all inside it."""
    if hasattr(code, "co_lines"):
        lines = {line for _, _, line in code.co_lines() if line}
    else:
        import dis  # needs an extension module from 3.10 on
        lines = {line for _, line in dis.findlinestarts(code)}
    found = [(name_of(code), sorted(lines | {code.co_firstlineno}))]
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found += lines_of(const)
    return found


def run(entries, random, seconds):
    end = time.process_time() + seconds
    while True:
        for i in range(len(entries) - 1, 0, -1):
            j = random.below(i + 1)
            entries[i], entries[j] = entries[j], entries[i]
        for entry in entries:
            entry()
            if time.process_time() > end:
                return


def main():
    output, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    folder = output + ".code"
    os.mkdir(folder)
    sys.path.insert(0, folder)
    sys.setrecursionlimit(5000)
    # Some libcs give threads little room.
    threading.stack_size(16 << 20)
    random = Random(seed)
    spinning = [calibrated(spin) for spin in SPINS]
    del spins[:]
    entries, made = [], {}
    for number in range(CHAINS):
        entry, path, code = make_chain(random, number, random.choice(spinning), folder)
        entries.append(entry)
        made[path] = code
    run(entries, random, seconds)
    with open(output, "w", encoding="utf-8") as f:
        f.write(repr({"chains": chains, "spins": spins,
                      "made": {path: lines_of(code) for path, code in made.items()}}))


if __name__ == "__main__":
    main()
