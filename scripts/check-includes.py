#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the direction of includes: every folder of user/ includes only itself and folders below it.

    cli -> agent, tui -> collect, export, symbolize -> store, target, pyrt, unwind -> sys -> base

pyrt, unwind and target never include each other, export knows only the store, and only collect/kernel.c includes the
skeleton. bpf/ and include/ include nothing of user/.
"""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
STORES = {"store", "sys", "base"}
READERS = {"pyrt", "unwind", "target", "sys", "base"}
MAY = {
    "base": set(),
    "sys": {"base"},
    "pyrt": {"sys", "base"},
    "unwind": {"sys", "base"},
    "target": {"sys", "base"},
    "store": {"base"},
    "export": {"store", "base"},
    "symbolize": STORES | READERS,
    "collect": STORES | READERS | {"symbolize", "export"},
    "agent": STORES | READERS | {"symbolize", "export", "collect"},
    "tui": STORES | READERS | {"symbolize", "export", "collect"},
    "cli": STORES | READERS | {"symbolize", "export", "collect", "agent", "tui"},
}
SKELETON = "pybpf.skel.h"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]', re.M)
# Of the C library's output functions the ones that a library has no use for.
SPEAKS = re.compile(r"\b(?:printf|puts|putchar|perror|vprintf|exit|_exit|abort)[ \t]*\(|\bstderr\b|\bstdout\b")
COMMENTS = re.compile(r'"(?:\\.|[^"\\\n])*"|/\*.*?\*/|//[^\n]*', re.S)


def blank(match):
    """Comments and strings become empty lines, so that line numbers stay."""
    return re.sub(r"[^\n]", " ", match[0])


def folder_of(include):
    first = include.split("/")[0]
    return first if "/" in include and first in MAY else None


def findings():
    for path in sorted([*TOP.glob("user/**/*.[ch]"), *TOP.glob("bpf/*.[ch]"), *TOP.glob("include/**/*.h")]):
        name = path.relative_to(TOP)
        text = path.read_text()
        layer = name.parts[1] if name.parts[0] == "user" and len(name.parts) > 2 else None
        if layer and layer not in MAY:
            yield f"{name}:1: user/{layer} is not one of the folders that scripts/check-includes.py knows"
            continue
        allowed = MAY[layer] | {layer} if layer else {"cli"} if name.parts[0] == "user" else set()
        for match in INCLUDE.finditer(text):
            where = f"{name}:{text.count(chr(10), 0, match.start()) + 1}"
            target = folder_of(match[1])
            if target and target not in allowed:
                yield f"{where}: {layer or name.parts[0]} must not include {match[1]}"
            if match[1] == SKELETON and str(name) != "user/collect/kernel.c":
                yield f"{where}: only user/collect/kernel.c includes the skeleton"
        if layer and layer != "cli":
            code = COMMENTS.sub(blank, text)
            for match in SPEAKS.finditer(code):
                line = code.count("\n", 0, match.start()) + 1
                yield f"{name}:{line}: {match[0].strip()}: only cli prints or exits"


def main():
    found = list(findings())
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
