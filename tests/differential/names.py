# SPDX-License-Identifier: Apache-2.0
"""Run by the interpreter under test: computes in functions, methods and modules of every kind of name.

usage: names.py OUTPUT

Writes to OUTPUT repr() of [(what, name, file, line), ...]: the frame that each was in for SPIN_S of CPU time ROUNDS times, name being
the qualified one from 3.11 on. Works from 3.6 to 3.15, with built-in modules only.
"""
import sys
import time
import types

SPIN_S, ROUNDS = 0.0015, 3
QUALIFIED = hasattr(types.CodeType, "co_qualname")


class Str(str):
    """An instance keeps its characters apart from itself, as no plain string does since 3.12."""


STRINGS = {
    "ascii": "plain",
    "latin-1": "caf\xe9_\xff",
    "ucs-2": "\u51fd\u6570_\u0436",
    "ucs-4": "\U0001d523\U0001d52c_\U0001f600",
    "one of each": "a\xe9\u51fd\U0001f600",
    "last of each": "\x7f\xff\uffff\U0010ffff",
    "long": "L" * 2047 + "!",
    "longer than the kernel reads": "M" * 2048 + "!",
    "long latin-1": "\xe9" * 3000,
    "long ucs-2": "\u0436" * 3000,
    "long ucs-4": "\U0001f600" * 3000,
    "longer than 64 KiB": "N" * 70000,
    "ucs-4, longer than 64 KiB": "\U0001f600" * 20000,
    "lone surrogates": "\udc80x\ud800",
    "pair of surrogates": "\ud83d\ude00",
    "control characters": "\x01\x1b[31m\r\x7f\x80\x9f",
    "nul": "a\0b",
    "line separators": "a\nb\tc\u2028d\u2029e\x85",
    "semicolons": ";a;b;;",
    "backslashes": "\\a\\\\n\\;\\x41",
    "like a frame": "f (file.py:7) 12",
    "like a marker": "[truncated: frame_bad]",
    "markup": "<a href='x'>&amp;\"%s%n",
    "spaces": "  a  b  ",
    "empty": "",
    "subclass, ascii": Str("sub"),
    "subclass, latin-1": Str("s\xfcb"),
    "subclass, ucs-2": Str("s\u0436b"),
    "subclass, ucs-4": Str("s\U0001f600b"),
    "subclass, long": Str("S" * 5000),
}


def legacy(text):
    """A string as PyUnicode_FromUnicode(NULL, n) makes it, up to 3.11."""
    import ctypes
    import warnings
    warnings.simplefilter("ignore")
    new = ctypes.pythonapi.PyUnicode_FromUnicode
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_ssize_t]
    characters = ctypes.pythonapi.PyUnicode_AsUnicode
    characters.restype, characters.argtypes = ctypes.c_void_p, [ctypes.py_object]
    wide = ctypes.create_unicode_buffer(text)
    made = new(None, len(text))
    ctypes.memmove(characters(made), wide, 4 * len(text))
    return made


if sys.version_info < (3, 12):
    try:
        for kind, text in [("ascii", "legacy"), ("latin-1", "l\xe9gacy"), ("ucs-2", "l\u0436gacy"),
                           ("ucs-4", "l\U0001f600gacy"), ("long", "G" * 5000)]:
            STRINGS["legacy, " + kind] = legacy(text)
    except ImportError:
        pass


def renamed(code, name, qualname, file):
    """The same code under other names."""
    if QUALIFIED:
        return code.replace(co_name=name, co_qualname=qualname, co_filename=file)
    if hasattr(code, "replace"):
        return code.replace(co_name=name, co_filename=file)
    return types.CodeType(code.co_argcount, code.co_kwonlyargcount, code.co_nlocals, code.co_stacksize, code.co_flags,
                          code.co_code, code.co_consts, code.co_names, code.co_varnames, file, name,
                          code.co_firstlineno, code.co_lnotab, code.co_freevars, code.co_cellvars)


def function(name, qualname, file):
    code = compile("\ndef f(n):\n    while n: n -= 1\n", "<made>", "exec")
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)][0]
    return types.FunctionType(renamed(inner, name, qualname, file), {}), 3


def module(name, file):
    """Its code as a function: exec() takes only exact strings in some versions' audit hooks."""
    code = compile("\n\nwhile n[0]: n[0] -= 1\n", "<made>", "exec")
    made = types.ModuleType(name)
    made.__file__ = file
    code = renamed(code, "<module>", "<module>", file)

    def run(n):
        made.n = [n]
        exec(code, made.__dict__)
    return run, 3


def subjects():
    """(what, function, name, file, line)"""
    for kind in sorted(STRINGS):
        text = STRINGS[kind]
        call, line = function(text, text, "names.py")
        yield "function, " + kind, call, text, "names.py", line
        if QUALIFIED:
            qualname = text + ".method"
            call, line = function("method", type(text)(qualname), "names.py")
            yield "class, " + kind, call, qualname, "names.py", line
        call, line = function("f", "f", text)
        yield "file, " + kind, call, "f", text, line
        call, line = module(text, text)
        yield "module, " + kind, call, "<module>", text, line


def spin(call, n):
    """Calls it for SPIN_S; the n that this takes."""
    while True:
        start = time.process_time()
        call(n)
        took = time.process_time() - start
        if took >= SPIN_S:
            return max(int(n * SPIN_S * 1.5 / took), 1000)
        n *= 2


def main():
    # All of them are there until the end, for what a profiler has to read a little later.
    made, n = list(subjects()), 1000
    for _ in range(ROUNDS):
        for _, call, _, _, _ in made:
            n = spin(call, n)
    with open(sys.argv[1], "w", encoding="ascii") as f:
        f.write(ascii([(what, str(name), str(file), line) for what, _, name, file, line in made]))


if __name__ == "__main__":
    main()
