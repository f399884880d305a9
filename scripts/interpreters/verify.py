# SPDX-License-Identifier: Apache-2.0
"""Print the running interpreter's version, having checked that it is of the kinds named.

Runs on every version from 2.7, and where no module but the built-in ones can be loaded. Kinds that only
the file can tell (stripped, shared ...) are checked here too, by reading the ELF section names of
/proc/self/exe or of libpython.
"""
import os
import sys


def sections(path):
    """Names of an ELF file's sections."""
    def number(data, at, size):
        return int.from_bytes(data[at:at + size], "little")

    with open(path, "rb") as f:
        head = f.read(64)
        if head[:4] != b"\x7fELF":
            return set()
        size, count, names = (number(head, at, 2) for at in (0x3A, 0x3C, 0x3E))
        f.seek(number(head, 0x28, 8))
        table = f.read(size * count)
        f.seek(number(table, names * size + 0x18, 8))
        text = f.read(number(table, names * size + 0x20, 8))
    found = set()
    for i in range(count):
        at = number(table, i * size, 4)
        found.add(text[at:text.index(b"\0", at)].decode())
    return found


def libpython():
    """The shared object that holds the interpreter, None when the executable does."""
    with open("/proc/self/maps") as f:
        for line in f:
            path = line.rstrip("\n").split(" ", 5)[-1].strip()
            if os.path.basename(path).startswith("libpython"):
                return path
    return None


def config(name):
    """A variable of the build, None where the build's record was not installed."""
    try:
        import sysconfig
        return sysconfig.get_config_var(name)
    except ImportError:
        return None


def is_kind(kind):
    is_cpython = getattr(getattr(sys, "implementation", None), "name", "") == "cpython"
    if kind == "unsupported":
        return not is_cpython or sys.version_info < (3, 6)
    if not is_cpython or sys.version_info < (3, 6):
        return False
    if kind == "shared":
        return libpython() is not None
    if kind == "static":
        return libpython() is None
    if kind == "standalone":
        return "Clang" in sys.version
    if kind == "stripped":
        return ".symtab" not in sections(libpython() or "/proc/self/exe")
    if kind == "free-threaded":
        return not sys._is_gil_enabled()
    if kind == "debug":
        return hasattr(sys, "gettotalrefcount")
    if kind == "tailcall":
        return "tail-call" in (config("CONFIG_ARGS") or "") or config("_Py_TAIL_CALL_INTERP")
    if kind == "jit":
        return sys._jit.is_enabled()
    if kind == "nopie":
        with open("/proc/self/exe", "rb") as f:
            return f.read(18)[16:] == b"\2\0"
    if kind == "musl":
        with open("/proc/self/maps") as f:
            return "musl" in f.read()
    if kind == "embedded":
        return b"python" not in os.path.basename(os.readlink(b"/proc/self/exe"))
    if kind == "pyinstaller":
        return getattr(sys, "frozen", False)
    return kind in ("late", "conda", "thread", "uwsgi")


def main():
    kinds = sys.argv[1].split(",")
    for kind in kinds:
        if not is_kind(kind):
            sys.exit("not %s: %s" % (kind, sys.version))
    if "t" in getattr(sys, "abiflags", "") and "free-threaded" not in kinds:
        sys.exit("free-threaded, and not said to be")
    print(sys.version.split()[0])


main()
