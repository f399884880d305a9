# SPDX-License-Identifier: Apache-2.0
"""The interpreters that tests run with.

Where they come from: PYBPF_TEST_PYTHONS, paths separated by colons, and nothing else; or, when it is not
set, /usr/bin/python3, pyenv's versions, and the manifest that scripts/interpreters.sh writes (in the folder
PYBPF_INTERPRETERS, default ~/.cache/pybpf/interpreters as that script has it). Each must start and be
CPython 3.6 or later: what is not is left out.
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

# path: the program, as seen inside of root. command: words that a script and its arguments follow. root: None,
# or the folder that it is run in by chroot. version: (3, 11, 2). hexversion: PY_VERSION_HEX. kinds: words
# such as "static", "stripped", "free-threaded" (see tests/interpreters.list; none where unknown).
# id: short and unique, for names of tests, such as "3.11.2-system".
Interpreter = collections.namedtuple("Interpreter", "path command root version hexversion kinds id")


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


def _manifest():
    """(id, kinds, root or None, words) of each line."""
    cache = os.environ.get("PYBPF_CACHE")
    cache = cache or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pybpf")
    folder = os.environ.get("PYBPF_INTERPRETERS") or os.path.join(cache, "interpreters")
    try:
        with open(os.path.join(folder, "manifest.tsv")) as f:
            rows = [line.rstrip("\n").split("\t") for line in f]
    except OSError:
        return
    for ident, _, command, kinds, root, _ in rows:
        kinds = kinds.split(",")
        if "unsupported" not in kinds:
            yield ident, kinds, None if root == "-" else root, command.split()


def _candidates():
    """(origin, kinds, root, words) of everything that might be one, most wanted first."""
    chosen = os.environ.get("PYBPF_TEST_PYTHONS")
    if chosen:
        for path in filter(None, chosen.split(":")):
            yield "chosen", (), None, [path]
        return
    # These by short names of their own; the manifest may tell their kinds.
    known = {os.path.realpath(row[3][0]): row[1] for row in _manifest() if not row[2]}
    for origin, pattern in (("system", "/usr/bin/python3"),
                            ("pyenv", os.path.join(_pyenv_root(), "versions", "*", "bin", "python3"))):
        for path in sorted(glob.glob(pattern)):
            yield origin, known.get(os.path.realpath(path), ()), None, [path]
    yield from _manifest()


def _ask(command):
    """What an interpreter says of itself, or None."""
    try:
        answer = subprocess.run(command + [os.path.abspath(__file__), "--self"], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, env=environment())
        name, major, minor, micro, hexversion, free = answer.stdout.decode().split()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    version = int(major), int(minor), int(micro)
    if name != "cpython" or version < (3, 6):
        return None
    return version, int(hexversion), free == "1"


def _tell():
    # sysconfig would know more, but Debian's debug builds lack its data.
    print(sys.implementation.name, *sys.version_info[:3], sys.hexversion, int("t" in sys.abiflags))


@functools.lru_cache(maxsize=None)
def find():
    """All interpreters, by version. The same program under two names comes once."""
    seen, found = set(), {}
    for origin, kinds, root, words in _candidates():
        same = root, os.path.realpath(words[0]) if not root and len(words) == 1 else tuple(words)
        if same in seen:
            continue
        seen.add(same)
        command = [ENTER, root] + words if root else words
        said = _ask(command)
        if not said:
            continue
        version, hexversion, free = said
        kinds = frozenset(kinds) | ({"free-threaded"} if free else set())
        origin = re.sub(r"-[0-9.]+t?(?=-|$)", "", origin)
        base = ident = "%d.%d.%d%s-%s" % (version + ("t" if free else "", origin))
        while ident in found:
            ident = "%s-%d" % (base, len(found))
        found[ident] = Interpreter(words[0], command, root, version, hexversion, kinds, ident)
    return tuple(sorted(found.values(), key=lambda i: (i.version, i.id)))


def select(least=(3, 6), below=(4,)):
    """Those of version least <= v < below."""
    return [i for i in find() if least <= i.version < below]


if __name__ == "__main__":
    if sys.argv[1:] == ["--self"]:
        _tell()
    else:
        for interpreter in find():
            print("%-24s %08x %s (%s)" % (interpreter.id, interpreter.hexversion, " ".join(interpreter.command),
                                          ", ".join(sorted(interpreter.kinds))))
