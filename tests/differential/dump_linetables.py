# SPDX-License-Identifier: Apache-2.0
"""Run by the interpreter under test: what it says itself about the lines of its standard library.

usage: dump_linetables.py [-N] [PACKAGE...]     (default: the whole standard library; -N: one file of N)

Compiles every .py file of the library (never reads a .pyc) and some sources made to be odd, and writes to
standard output, for each code object, one marshal.dumps((...), 2) of

    (file and name, table, co_firstlineno, bytes of instructions, lines, positions)

lines: [(start, end, line or None)] out of co_lines(), or [(start, line)] out of dis.findlinestarts() where
there is no co_lines(); positions: list(co_positions()) or None. The last value is (files, code objects), so
that the reader knows that it has got everything. No dependencies; works from 3.6 to 3.15.
"""
import dis
import marshal
import os
import sys
import types
import warnings

NOT_STANDARD = {"site-packages", "dist-packages", "__pycache__"}


def odd_sources():
    """Steps and columns that no sane program has: each form of each table, at its limits."""
    call = "f(" + ",\n".join("a%d" % i for i in range(40)) + ")"
    yield "jumps", "x = 1\n" + "".join("\n" * n + "y = %d\n" % n for n in
                                       (1, 2, 3, 126, 127, 128, 129, 254, 255, 256, 257, 1000, 70000))
    yield "backwards", "f(" + "\n" * 300 + "a,\n" + "\n" * 130 + "b(c,\n" + "\n" * 128 + "d))\nx = (" + call + ")\n"
    yield "columns", "".join("x%s = %s1 + y%s\n" % ("_" * n, " " * n, "z" * (2 * n)) for n in
                             (0, 6, 7, 8, 14, 15, 16, 63, 64, 70, 78, 79, 80, 120, 126, 127, 128, 255, 256, 4095,
                              4096, 4097, 70000))
    yield "utf8", "d = {}\nx = ('\u00e9\u20ac\U0001f600' * 3 + d['\u00fc'] + \\\n   d['\u4e2d' * 9])\n"
    yield "long code", "def f(a):\n" + "".join(" a = a + %d + g(a)\n" % i for i in range(3000)) + " return a\n"
    yield "one long line", "x = [" + ",".join("f(%d)" % i for i in range(3000)) + "]\n"
    yield "no lines", """
def outer(a, b):
    try:
        with a as c, b as d:
            yield [c + e for e in d if e]
    except (ValueError, TypeError) as error:
        while error:
            try:
                yield lambda: (a, b, error)
            finally:
                error = None
            continue
    finally:
        del a
async def agen(a):
    async with a as b:
        async for c in b:
            yield c
    return
class C(object):
    x: int = 1
    def m(self): return __class__
"""


def library():
    """Its folder. sysconfig need not know that a bundle was moved, and Debian's debug builds lack its data."""
    return os.path.dirname(os.__file__)


def std_files(dirs):
    for top in dirs:
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(f for f in folders if f not in NOT_STANDARD)
            for name in sorted(names):
                if name.endswith(".py"):
                    yield os.path.join(folder, name)


def dump(name, code, dumps, write):
    """Writes code and, recursively, every code object in it; how many."""
    table = code.co_linetable if hasattr(code, "co_linetable") else code.co_lnotab
    if hasattr(code, "co_lines"):
        lines = list(code.co_lines())
    else:
        lines = list(dis.findlinestarts(code))
    positions = list(code.co_positions()) if hasattr(code, "co_positions") else None
    label = "%s: %s" % (name, code.co_name)
    write(dumps((label.encode("utf-8", "replace"), table, code.co_firstlineno, len(code.co_code), lines,
                 positions), 2))
    count = 1
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            count += dump(name, const, dumps, write)
    return count


def main():
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(20000)
    dumps, write = marshal.dumps, sys.stdout.buffer.write
    files = count = 0
    for name, source in odd_sources():
        code = compile(source, name, "exec", dont_inherit=True)
        count += dump(name, code, dumps, write)
        if hasattr(code, "replace") and "long" not in name:
            for first in (0, 1, 2**31 - 100000):
                count += dump(name + " from %d" % first, code.replace(co_firstlineno=first), dumps, write)
        files += 1
    packages = sys.argv[1:]
    step = -int(packages.pop(0)) if packages and packages[0].startswith("-") else 1
    paths = list(std_files(os.path.join(library(), package) for package in packages or [""]))
    # Each version takes others.
    for path in paths[sys.version_info[1] % step::step]:
        with open(path, "rb") as f:
            source = f.read()
        try:
            code = compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # there on purpose: test data of parsers
        count += dump(path, code, dumps, write)
        files += 1
    write(dumps((files, count), 2))


main()
