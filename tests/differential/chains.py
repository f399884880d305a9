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
    n = 16
    while True:
        start = time.process_time()
        spin(n)
        took = time.process_time() - start
        if took > SPIN_S / 8:
            break
        n *= 2
    n = int(n * SPIN_S / took)
    return lambda: spin(n)


# ---- ways to call. {f} is the function to be made, {c} the one that it calls.

WAYS = ["""
def {f}():
    return {c}()
""", """
def {f}():
    x = (1,
         {c}(
         ),
         2)
    return x
""", """
{f} = lambda: (
    {c}()
)
""", """
class {f}_class(object):
    def method(self, *args, **more):
        if not args:
            return {c}()
    @classmethod
    def by_class(cls): return cls().method()
    @staticmethod
    def by_static():
        return {f}_class.by_class()
    @property
    def prop(self):
        return self.by_static()
def {f}():
    return {f}_class().prop
""", """
class {f}_special(object):
    def __call__(self):
        return {c}()
    def __getattr__(self, name):
        return self()
    def __add__(self, other):
        return self.missing
    def __lt__(self, other):
        self + other
        return False
    def __getitem__(self, i):
        return self < self
    def __len__(self):
        self[0]
        return 1
    def __repr__(self):
        return len(self) and "x"
def {f}():
    return "%r" % {f}_special()
""", """
class {f}_init(object):
    def __new__(cls, *args):
        self = object.__new__(cls)
        return self
    def __init__(self, *args):
        {c}()
def {f}():
    {f}_init(1,
             2)
""", """
class {f}_meta(type):
    def __call__(cls):
        return {c}()
{f} = {f}_meta("{f}", (), {{}})
""", """
class {f}_del(object):
    def __del__(self):
        {c}()
def {f}():
    x = {f}_del()
    del x
    return 1
""", """
def {f}():
    class Body(object):
        value = 1; other = {c}()
    return Body
""", """
def {f}():
    def generator():
        yield 1
        yield {c}()
    for x in generator():
        pass
""", """
def {f}_inner():
    yield {c}()
def {f}_outer():
    yield from {f}_inner()
def {f}():
    return list({f}_outer())
""", """
def {f}():
    return [[
        {c}() for _ in (1,)] for _ in "x"]
""", """
def {f}():
    return {{1: 2 for _ in (1,) if not {c}()}}, {{3 for _ in ()}}
""", """
def {f}():
    return next({c}()
                for _ in iter((1, 2)))
""", """
def {f}():
    return sorted((1,), key=lambda x: ({c}(),
                                       0)[1])
""", """
def {f}():
    return list(map(lambda _: {c}(), (1,)))
""", """
def {f}():
    return list(filter(lambda _: {c}(), (1,)))
""", """
def {f}():
    return functools.reduce(
        lambda a, b: {c}(),
        (1, 2))
""", """
def {f}():
    return re.sub("x", lambda match: str({c}()), "x")
""", """
def {f}():
    return functools.partial({c})()
""", """
@functools.lru_cache(maxsize=0)
def {f}(): return {c}()
""", """
@functools.singledispatch
def {f}_dispatch(x):
    return None
@{f}_dispatch.register(int)
def {f}_int(x):
    return {c}()
def {f}():
    return {f}_dispatch(1)
""", """
def {f}_decorate(function):
    @functools.wraps(function)
    def wrapper(*args, **more):
        return function(*args,
                        **more)
    return wrapper
@{f}_decorate
@{f}_decorate
def {f}():
    return {c}()
""", """
async def {f}_inner():
    return {c}()
async def {f}_outer():
    x = [await {f}_inner()]
    return x
def {f}():
    try:
        {f}_outer().send(None)
    except StopIteration:
        pass
""", """
class {f}_manager(object):
    async def __aenter__(self):
        return self
    async def __aexit__(self, *args):
        {c}()
async def {f}_generator():
    yield 1
    async with {f}_manager():
        yield 2
async def {f}_main():
    async for x in {f}_generator():
        pass
def {f}():
    try:
        {f}_main().send(None)
    except StopIteration:
        pass
""", """
class {f}_awaitable(object):
    def __await__(self):
        {c}()
        return iter(())
async def {f}_main():
    await {f}_awaitable()
def {f}():
    try:
        {f}_main().send(None)
    except StopIteration:
        pass
""", """
def {f}():
    exec("x = 1\\n\\n{c}()")
""", """
def {f}():
    return eval(compile("(\\n{c}()\\n)", "<made by {f}>", "eval"))
""", """
def {f}():
    try:
        raise ValueError(1)
    except ValueError as error:
        return {c}()
""", """
def {f}():
    try:
        try:
            raise ValueError(1)
        finally:
            {c}()
    except ValueError:
        pass
""", """
class {f}_context(object):
    def __enter__(self):
        return self
    def __exit__(self, *args):
        {c}()
        return True
def {f}():
    with {f}_context() as a, {f}_context.__new__({f}_context):
        raise KeyError(
            a)
""", """
def {f}(depth=3):
    for i in range(2):
        while True:
            break
        if i == 1 and depth == 0:
            return {c}() if i else None
    return {f}(depth - 1)
""", """
def {f}():
    a = 1
    def one():
        nonlocal a
        def two(b=1, *, c=2):
            nonlocal a
            a += b + c
            return {c}(*(), **{{}})
        return two()
    return one()
""", """
class {f}_named(object):
    def __set_name__(self, owner, name):
        {c}()
def {f}():
    return type("Made", (object,), {{"x": {f}_named()}})
""", """
class {f}_item(object):
    def __hash__(self):
        return 1
    def __eq__(self, other):
        {c}()
        return True
def {f}():
    return {{{f}_item(): 1}}[{f}_item()]
""", """
class {f}_iterator(object):
    def __iter__(self):
        return self
    def __next__(self):
        {c}()
        raise StopIteration
def {f}():
    a, *b = 1, *{f}_iterator()
""", """
class {f}_format(object):
    def __format__(self, spec):
        {c}()
        return spec
def {f}():
    return f"{{{f}_format():x}}"
""", """
class {f}_seen(object):
    pass
def {f}():
    x = {f}_seen()
    r = weakref.ref(x, lambda r: {c}())
    del x
    return r
""", """
def {f}():
    thread = threading.Thread(target={c})
    thread.start()
    thread.join()
""", """
def {f}():
    sys.modules.pop("{f}_module", None)
    {f}_import()
def {f}_import():
    import {f}_module
"""]
DEEP = """
def {f}(depth={depth}):
    if depth:
        return {f}(depth - 1)
    return {c}()
"""
IMPORTED = """# imported
import chains_{number}
chains_{number}.{c}()
"""


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
