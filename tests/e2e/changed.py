# SPDX-License-Identifier: Apache-2.0
"""Interpreters whose files say wrong things of themselves: copies that are changed in some bytes, and run."""
import os
import shutil
import struct
import subprocess

import pytest
from harness import interpreters

# Of struct _Py_DebugOffsets in 8-byte words: Include/internal/pycore_runtime.h in 3.13, pycore_debug_offsets.h after it.
WORDS = {13: 73, 14: 95, 15: 111}


def readelf(option, path):
    return subprocess.run(["readelf", option, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
                          text=True).stdout.splitlines()


class Original:
    """An interpreter, and the file that holds it."""

    def __init__(self, interpreter):
        self.interpreter = interpreter
        self.root = interpreter.root or ""
        self.minor = interpreter.version[1]
        self.shared = "shared" in interpreter.kinds
        self.path = self._library() if self.shared else os.path.realpath(self.root + interpreter.path)
        self.name = os.path.basename(self.path)

    def _library(self):
        said = subprocess.run(["ldd", self.interpreter.path], stdout=subprocess.PIPE, check=True, text=True).stdout
        for line in said.splitlines():
            if line.split()[0].startswith("libpython"):
                # by the name that the loader looks for
                self.soname = line.split()[0]
                return os.path.realpath(line.split()[2])
        raise LookupError("libpython")

    def table(self):
        """(its offset in the file, the bytes of the table of offsets). It begins .PyRuntime, with the cookie."""
        for line in readelf("-SW", self.path):
            words = line.replace("[ ", "[").split()
            if len(words) > 4 and words[1] == ".PyRuntime":
                at = int(words[4], 16)
                with open(self.path, "rb") as f:
                    f.seek(at)
                    table = f.read(8 * WORDS[self.minor])
                assert table.startswith(b"xdebugpy")
                return at, table
        raise LookupError(".PyRuntime")

    def version(self):
        """Where in the file Py_Version is (3.11+)."""
        address = next(int(line.split()[1], 16) for line in readelf("--dyn-syms", self.path)
                       if line.split()[-1:] == ["Py_Version"])
        for line in readelf("-lW", self.path):
            words = line.split()
            if words[:1] == ["LOAD"]:
                offset, start, size = (int(words[i], 16) for i in (1, 2, 4))
                if start <= address < start + size:
                    return address - start + offset
        raise LookupError("Py_Version")

    def build_id(self):
        """Where in the file its build id is, None without one."""
        for line in readelf("-SW", self.path):
            words = line.replace("[ ", "[").split()
            if len(words) > 4 and words[1] == ".note.gnu.build-id":
                return int(words[4], 16) + 16
        return None

    def changed(self, folder, changes):
        """A copy with {offset: bytes} written over it, in a folder of its own: the words that run a script with it. It has a build id
        of its own, too, as nothing else tells a copy from the original that says the same in its first KB."""
        folder.mkdir()
        copy = folder / (self.soname if self.shared else self.name)
        shutil.copyfile(self.path, copy)
        copy.chmod(0o755)
        at = self.build_id()
        with open(copy, "r+b") as f:
            for at, new in [(at, os.urandom(8))] * bool(at) + list(changes.items()):
                f.seek(at)
                f.write(new)
        if self.shared:
            return ["/usr/bin/env", "LD_LIBRARY_PATH=%s" % folder] + self.interpreter.command
        home = os.path.dirname(os.path.dirname(self.interpreter.path))
        words = ["/usr/bin/env", "PYTHONHOME=%s" % home, str(copy)]
        return [interpreters.ENTER, self.root] + words if self.root else words


def original(minor):
    """A plain one of 3.minor: where there is one with a library (and no root of its own), that one."""
    found = [i for i in interpreters.find() if i.version[:2] == (3, minor) and i.kinds & {"shared", "static"}
             and not i.kinds & (interpreters.SPECIAL | {"standalone"}) and not (i.root and "shared" in i.kinds)]
    if not found:
        pytest.skip("no CPython 3.%d" % minor)
    return Original(min(found, key=lambda i: "shared" not in i.kinds))


def put(table, word, value):
    return table[:8 * word] + struct.pack("<Q", value & (1 << 64) - 1) + table[8 * word + 8:]


def get(table, word):
    return struct.unpack_from("<Q", table, 8 * word)[0]


def says_version(o, hexversion):
    """Changes that make it say that it is of another version."""
    made = {o.version(): struct.pack("<Q", hexversion)}
    if o.minor in WORDS:
        at, table = o.table()
        made[at] = put(table, 1, hexversion)
    return made
