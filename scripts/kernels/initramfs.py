# SPDX-License-Identifier: Apache-2.0
"""Builds an initramfs (cpio, newc: Documentation/driver-api/early-userspace/buffer-format.rst)."""

import os
import re
import stat
import subprocess

# Run in an interpreter: which files it reads to start and to import what a workload imports.
ASK_INTERPRETER = """
import sys, os, encodings.utf_8, encodings.ascii, encodings.latin_1, time, json, threading, subprocess
files = {sys.executable, os.path.realpath(sys.executable), os.__file__}
for module in list(sys.modules.values()):
    for path in (getattr(module, "__file__", None), getattr(module, "__cached__", None)):
        if path and os.path.isfile(path):
            files.add(path)
print("\\n".join(sorted(files)))
"""


class Initramfs:
    """Collects files by their path in the guest, then writes them out."""

    def __init__(self):
        self._entries = {}  # guest path -> (mode, bytes, time of modification)
        for folder in ("dev", "proc", "sys", "tmp", "out", "cases", "etc", "root"):
            self.directory("/" + folder)

    def directory(self, path):
        path = path.rstrip("/")
        if path and path not in self._entries:
            self.directory(os.path.dirname(path))
            self._entries[path] = (stat.S_IFDIR | 0o755, b"", 0)

    def data(self, path, content, mode=0o644, mtime=0):
        self.directory(os.path.dirname(path))
        self._entries[path] = (stat.S_IFREG | mode, content, mtime)

    def symlink(self, path, target):
        self.directory(os.path.dirname(path))
        self._entries[path] = (stat.S_IFLNK | 0o777, target.encode(), 0)

    def device(self, path, major, minor):
        self._entries[path] = (stat.S_IFCHR | 0o600, (major, minor), 0)

    def file(self, source, path=None):
        """A file of this machine, with the symbolic links on the way to it."""
        path = path or source
        if path in self._entries:
            return
        if path == source:
            path = self._walk_links(source)
        with open(source, "rb") as file:
            content = file.read()
        # Python goes by the time of a source file: another one, and it would compile it anew.
        self.data(path, content, 0o755 if os.access(source, os.X_OK) else 0o644, int(os.path.getmtime(source)))

    def _walk_links(self, path):
        """Repeats the symbolic links among the parts of a path; returns where the path really ends."""
        done = ""
        parts = path.strip("/").split("/")
        while parts:
            here = f"{done}/{parts.pop(0)}"
            if os.path.islink(here):
                target = os.readlink(here)
                self.symlink(here, target)
                return self._walk_links(os.path.normpath(
                    os.path.join(done or "/", target, *parts)))
            done = here
        return done

    def program(self, source, path=None):
        """A program or shared object with all that it is linked to."""
        self.file(source, path)
        listed = subprocess.run(["ldd", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                text=True, check=False).stdout
        for library in re.findall(r"(?:=> )?(/\S+) \(0x", listed):
            self.file(library)

    def interpreter(self, python):
        """A Python with as much of its library as a workload needs."""
        listed = subprocess.run([python, "-I", "-c", ASK_INTERPRETER], stdout=subprocess.PIPE, text=True,
                                check=True).stdout.split("\n")
        for path in filter(None, listed):
            if path.endswith((".py", ".pyc")):
                self.file(path)
            else:
                self.program(path)
        # Where the library is, getpath finds out by these two.
        library = next(os.path.dirname(p) for p in listed if p.endswith("/os.py"))
        dynload = os.path.join(library, "lib-dynload")
        self.directory(self._walk_links(dynload))

    def write(self, path):
        with open(path + ".new", "wb") as out:
            for number, name in enumerate(sorted(self._entries), 1):
                self._write_entry(out, number, name.lstrip("/"), *self._entries[name])
            self._write_entry(out, 0, "TRAILER!!!", 0, b"", 0)
        os.replace(path + ".new", path)

    @staticmethod
    def _write_entry(out, number, name, mode, content, mtime):
        major, minor = content if stat.S_ISCHR(mode) else (0, 0)
        body = b"" if stat.S_ISCHR(mode) else content
        fields = (number, mode, 0, 0, 1, mtime, len(body), 0, 0, major, minor, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        out.write(head + b"\0" * (-len(head) % 4) + body + b"\0" * (-len(body) % 4))
