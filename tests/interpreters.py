# SPDX-License-Identifier: Apache-2.0
"""The interpreters that tests run with.

Where they come from: PYBPF_TEST_PYTHONS, paths separated by colons, and nothing else; or, when it is not
set, the manifest that scripts/interpreters.sh writes (in the folder PYBPF_INTERPRETERS, default
~/.cache/pybpf/interpreters as that script has it; it has run each of them), and beside it /usr/bin/python3 and
pyenv's versions where they are CPython 3.6 or later and start.
"""
import collections
import functools
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ENTER = os.path.join(os.path.dirname(HERE), "scripts", "interpreters", "enter")
LIST = os.path.join(HERE, "interpreters.list")

# path: the program, as seen inside of root. command: words that a script and its arguments follow. root: None,
# or the folder that it is run in by chroot. version: (3, 11, 2). hexversion: PY_VERSION_HEX. kinds: words
# such as "static", "stripped", "free-threaded" (see tests/interpreters.list; none where unknown).
# id: short and unique, for names of tests: that of the list, or one such as "3.11.2-system".
Interpreter = collections.namedtuple("Interpreter", "path command root version hexversion kinds id")

# What makes an interpreter other than plain: of two of one minor version select() takes the one with fewer.
SPECIAL = {"free-threaded", "debug", "jit", "embedded", "pyinstaller", "uwsgi", "late", "thread", "musl", "conda"}


def environment(**more):
    """The environment to run them in: none of the variables that change what Python does."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    env.update(PYTHONDONTWRITEBYTECODE="1", **more)
    return env


def _pyenv_root():
    if shutil.which("pyenv"):
        answer = subprocess.run(["pyenv", "root"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
        if answer.returncode == 0:
            return os.fsdecode(answer.stdout.strip())
    return os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")


Row = collections.namedtuple("Row", "id version kinds root words")


@functools.lru_cache(maxsize=None)
def _manifest():
    """Its rows whose programs are still there."""
    cache = os.environ.get("PYBPF_CACHE")
    cache = cache or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pybpf")
    folder = os.environ.get("PYBPF_INTERPRETERS") or os.path.join(cache, "interpreters")
    rows = []
    try:
        with open(os.path.join(folder, "manifest.tsv")) as f:
            lines = [line.rstrip("\n").split("\t") for line in f]
    except OSError:
        return ()
    for ident, version, command, kinds, root, _ in lines:
        root, words = None if root == "-" else root, command.split()
        if os.path.exists((root or "") + _program(words)):
            rows.append(Row(ident, version, frozenset(kinds.split(",")), root, words))
    return tuple(rows)


def _hexversion(text):
    """Of "3.13.15" or "3.15.0b4"; None of anything that is no whole version."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?\+?", text)
    if not match:
        return None
    major, minor, micro = (int(n) for n in match.group(1, 2, 3))
    level = {"a": 0xa, "b": 0xb, "rc": 0xc, None: 0xf}[match.group(4)]
    return major << 24 | minor << 16 | micro << 8 | level << 4 | int(match.group(5) or 0)


def _from_manifest():
    for row in _manifest():
        hexversion = _hexversion(row.version)
        if "unsupported" in row.kinds or not hexversion:
            continue
        command = [ENTER, row.root] + row.words if row.root else row.words
        version = hexversion >> 24, hexversion >> 16 & 0xff, hexversion >> 8 & 0xff
        yield Interpreter(_program(row.words), command, row.root, version, hexversion, row.kinds, row.id)


def _program(words):
    """The first word that is neither env nor one of its settings."""
    for word in words:
        if os.path.basename(word) != "env" and "=" not in word:
            return word
    return words[0]


def _ask(path, origin):
    """An interpreter by what it says of itself, or None."""
    try:
        answer = subprocess.run([path, os.path.abspath(__file__), "--self"], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, env=environment())
        name, major, minor, micro, hexversion, free = answer.stdout.decode().split()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    version = int(major), int(minor), int(micro)
    if name != "cpython" or version < (3, 6):
        return None
    ident = "%d.%d.%d%s-%s" % (version + ("t" if free == "1" else "", origin))
    return Interpreter(path, [path], None, version, int(hexversion), frozenset(["free-threaded"] * int(free)), ident)


def _tell():
    # sysconfig would know more, but Debian's debug builds lack its data.
    print(sys.implementation.name, *sys.version_info[:3], sys.hexversion, int("t" in sys.abiflags))


def _candidates():
    """(origin, path) of programs on this machine that may be interpreters, most wanted first."""
    chosen = os.environ.get("PYBPF_TEST_PYTHONS")
    if chosen:
        for path in filter(None, chosen.split(":")):
            yield "chosen", path
        return
    for origin, pattern in (("system", "/usr/bin/python3"),
                            ("pyenv", os.path.join(_pyenv_root(), "versions", "*", "bin", "python3"))):
        for path in sorted(glob.glob(pattern)):
            yield origin, path


@functools.lru_cache(maxsize=None)
def find():
    """All interpreters, by version. The same program under two names comes once."""
    found = {} if os.environ.get("PYBPF_TEST_PYTHONS") else {i.id: i for i in _from_manifest()}
    seen = {os.path.realpath(i.path) for i in found.values() if not i.root}
    for origin, path in _candidates():
        new = None if os.path.realpath(path) in seen else _ask(path, origin)
        if not new:
            continue
        seen.add(os.path.realpath(path))
        base, count = new.id, 1
        while new.id in found:
            count += 1
            new = new._replace(id="%s-%d" % (base, count))
        found[new.id] = new
    return tuple(sorted(found.values(), key=lambda i: (i.version, i.id)))


def select(least=(3, 6), below=(4,)):
    """One of each minor version, the plainest, with least <= version < below; all that were chosen by
    PYBPF_TEST_PYTHONS. For tests that are not about the kinds of interpreters: those take find()."""
    suited = [i for i in find() if least <= i.version < below]
    if os.environ.get("PYBPF_TEST_PYTHONS"):
        return suited
    best = {}
    for i in suited:
        rank = len(i.kinds & SPECIAL), i.root is not None, i.version
        minor = i.version[:2]
        if minor not in best or rank < best[minor][0]:
            best[minor] = rank, i
    return [i for _, i in best.values()]


def is_own(interpreter):
    """Is it one of the machine's own (Debian's, pyenv's), or chosen?"""
    return interpreter.id.startswith(("debian-", "pyenv-")) or interpreter.id.endswith(("-system", "-pyenv", "-chosen"))


def distinct(least=(3, 6)):
    """One of each version and each build that compiles differently: that is what matters to the standard library."""
    found = {}
    for i in sorted(find(), key=lambda i: (len(i.kinds & SPECIAL), i.root is not None)):
        if i.version >= least and not i.kinds & {"jit", "pyinstaller", "uwsgi"}:
            found.setdefault((i.hexversion, frozenset(i.kinds & {"free-threaded", "debug"})), i)
    return sorted(found.values(), key=lambda i: (i.version, i.id))


def unsupported():
    """Rows of the manifest that pybpf is to name as not supported."""
    return [row for row in _manifest() if "unsupported" in row.kinds]


def missing():
    """[(id, what is wrong)] of the interpreters of tests/interpreters.list that are not here as it says."""
    here = {row.id: row.kinds for row in _manifest()}
    wrong = []
    with open(LIST) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                ident, kinds = line.split()
                if ident not in here:
                    wrong.append((ident, "is missing"))
                elif here[ident] != frozenset(kinds.split(",")):
                    wrong.append((ident, "is %s, not %s" % (",".join(sorted(here[ident])), kinds)))
    return wrong


if __name__ == "__main__":
    if sys.argv[1:] == ["--self"]:
        _tell()
    else:
        for interpreter in find():
            print("%-24s %08x %s (%s)" % (interpreter.id, interpreter.hexversion, " ".join(interpreter.command),
                                          ", ".join(sorted(interpreter.kinds))))
