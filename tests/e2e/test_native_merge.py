# SPDX-License-Identifier: Apache-2.0
"""Python and native frames of one stack stand in the order in which the program called them.

PYBPF_MERGE_SAMPLES of each program are judged for each interpreter; 10000 is what a release has to show. Without it,
some 1000 for one of each version and kind; through the standard library and modules from PyPI (scripts/modules.sh) for three.
"""
import collections
import functools
import os
import subprocess

import harness
import merge_programs
import pytest
from merge_judge import EXITING, MISMATCH, Judge, is_cut, split

SAMPLES = int(os.environ.get("PYBPF_MERGE_SAMPLES", "1000"))
RATE = 5000
ROUNDS = 10 # of a second at least: on a busy machine a program gets little of it
SHOWN = 5
FEW = (3, 9), (3, 11), (3, 14)


def pythons():
    """One of each version and, of those whose code is unlike the others', one of each kind; all when told to."""
    found = [i for i in harness.interpreters.find() if not i.kinds & {"uwsgi", "pyinstaller"}]
    if "PYBPF_MERGE_SAMPLES" in os.environ:
        return found
    chosen = {i.id: i for i in harness.interpreters.select()}
    for kind in "tailcall", "free-threaded", "musl", "debug", "jit", "thread":
        chosen.update({i.id: i for i in found if kind in i.kinds and not any(kind in c.kinds for c in chosen.values())})
    return list(chosen.values())


def few():
    if "PYBPF_MERGE_SAMPLES" in os.environ:
        return pythons()
    return [i for i in harness.interpreters.select() if i.version[:2] in FEW]


def name_of(interpreter):
    return getattr(interpreter, "id", "none")


@functools.lru_cache(maxsize=None)
def modules_of(version, abi):
    script = os.path.join(os.path.dirname(harness.TESTS), "scripts", "modules.sh")
    ran = subprocess.run([script, version] + [abi] * bool(abi), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=500)
    return ran.stdout.decode().strip() if ran.returncode == 0 else None


def environment(python, needed):
    """What makes the modules importable; skips where they are not."""
    version = "%d.%d" % python.version[:2]
    folder = None
    if "musl" not in python.kinds:  # a program without a dynamic linker
        folder = modules_of(version, "cp%d%dt" % python.version[:2] if "free-threaded" in python.kinds else "")
    if not folder:
        pytest.skip("no modules for %s" % python.id)
    env = {"PYTHONPATH": folder, "PYBPF_BIND": folder}
    for module in needed:
        ran = subprocess.run(list(python.command) + [os.path.join(os.path.dirname(__file__), "importable.py"), module],
                             env=harness.interpreters.environment(**env), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if ran.stdout != b"yes\n":
            pytest.skip("%s has no %s: %s" % (python.id, module, ran.stdout.decode().strip()[-200:]))
    return env


def paths_of(program):
    paths = {}
    while True:
        said = program.hear().split()
        if said == ["end"]:
            return paths
        paths[int(said[1])] = said[2:]


def judge_samples(python, program, record, summary):
    """Records until so many samples have been judged."""
    judge = Judge(python, paths_of(program))
    wrong, marked, judged = collections.Counter(), collections.Counter(), 0
    harness.wait_busy(program.pid, 0.3)  # what the evaluator specializes is specialized
    for _ in range(ROUNDS):
        ran = record("-n", "-p", program.pid, "-s", "-r", RATE, "-d", max(1, SAMPLES / RATE), "--json")
        assert ran.status == 0, ran
        for stack, count in ran.stacks:
            stack = harness.without_process(stack)
            if not split(stack)[1] and ".py:" in " ".join(stack):
                continue  # a loop of events, between two of the program's functions
            if any(map(is_cut, stack)):
                marked[next(filter(is_cut, stack))] += count
            judged += count
            why = judge.fault(stack)
            if why:
                wrong[why, tuple(stack)] += count
        if judged >= SAMPLES:
            break
    whys = collections.Counter()
    for (why, _), n in wrong.items():
        whys[why] += n
    ways = {way for ways in judge.paths.values() for segment in ways for way in segment}
    summary("summary", "%-18s judged %d wrong %d %s marked %s, %d ways" % (
        python.id, judged, sum(wrong.values()), dict(whys), dict(marked), len(ways)))
    lines = ["%d x %s:\n    %s" % (n, why, "\n    ".join(stack)) for (why, stack), n in wrong.most_common(SHOWN)]
    assert not wrong, "%d of %d: %s\n%s" % (sum(wrong.values()), judged, dict(whys), "\n".join(lines))
    assert judged > SAMPLES / 4
    # the JIT's code is without unwind information
    switches = marked.pop(MISMATCH, 0)
    assert switches <= judged * 0.4  # these programs do little else
    assert marked.pop(EXITING, 0) <= judged * 0.02  # a thread's last time in the kernel, without a stack
    if "musl" in python.kinds:  # gives memory back at once, that of a thread's state as the thread ends
        assert marked.pop("[truncated: tstate_fault]", 0) <= judged * 0.02
    if "jit" not in python.kinds:
        some = judged * 0.0015  # of the stripped build up to 0.11 % have been seen
        assert sum(marked.values()) <= some + 5 * some ** 0.5, marked


@pytest.mark.parametrize("interpreter", pythons(), ids=name_of)
def test_order(interpreter, target, record, record_property):
    judge_samples(interpreter, target(interpreter, merge_programs.PLAIN), record, record_property)


PROGRAMS = {
    "library": (merge_programs.LIBRARY, None),
    "modules": (merge_programs.MODULES, []),
    "greenlets": (merge_programs.GREENLETS, ["greenlet"]),
    "gevent": (merge_programs.GEVENT, ["gevent"]),
    "asyncio": (merge_programs.ASYNCIO, ["asyncio"]),
    "uvloop": (merge_programs.UVLOOP, ["uvloop"]),
}


@pytest.mark.parametrize("which", PROGRAMS)
@pytest.mark.parametrize("interpreter", few(), ids=name_of)
def test_order_through_modules(interpreter, which, target, record, record_property):
    text, needed = PROGRAMS[which]
    if which == "uvloop" and "thread" in interpreter.kinds and interpreter.version < (3, 12):
        pytest.skip("uvloop runs on the process's first thread only")
    env = environment(interpreter, needed) if needed is not None else None
    judge_samples(interpreter, target(interpreter, text, env=env), record, record_property)
