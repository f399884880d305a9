# SPDX-License-Identifier: Apache-2.0
"""Python and native frames of one stack stand in the order in which the program called them.

The program goes from Python into C and back in many ways, one inside another, in an order that its seed decides. Which
function of C stands between which functions of Python is known for each way, so every sample's stack can be judged by itself:
each step from one Python frame to the next must be one that the program takes, with what C does for it in between, and
nothing in between where Python calls Python. PYBPF_MERGE_SAMPLES are judged for each interpreter (default 1000; 10000 is
what a release has to show).
"""
import collections
import os
import re

import harness
import pytest

SAMPLES = int(os.environ.get("PYBPF_MERGE_SAMPLES", "1000"))
SHOWN = 5

PROGRAM = r'''
import functools, operator, random, re, sys, threading
try:
    import ctypes
    CALL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
except ImportError: # a build without libffi
    CALL = None
PATTERN = re.compile("a")

def burn(path):
    n = 0
    for i in range(700):
        n += i & 3
    return n

def through_sorted(path):
    def in_sorted(x):
        go(path)
        return x
    sorted([1], key=in_sorted)

def through_reduce(path):
    def in_reduce(x, y):
        go(path)
        return x
    functools.reduce(in_reduce, [1, 2])

def through_re(path):
    def in_re(match):
        go(path)
        return "b"
    PATTERN.sub(in_re, "ab")

def through_ctypes(path):
    def in_ctypes(x):
        go(path)
        return x
    CALL(in_ctypes)(1)

class Finalized:
    def __init__(self, path):
        self.path = path
    def __del__(self):
        in_del(self.path)

def in_del(path):
    go(path)

def through_del(path):
    one = Finalized(path)
    del one

class Key:
    def __init__(self, path):
        self.path = path
    def __hash__(self):
        return 5
    def __eq__(self, other):
        in_eq(self.path or other.path)
        return True

def in_eq(path):
    go(path)

def through_eq(path):
    table = {Key(None): 1}
    table[Key(path)]

def in_generator(path):
    go(path)
    yield 1

def through_generator(path):
    list(in_generator(path))

class Made:
    def __init__(self, path):
        go(path)

def through_init(path):
    Made(path)

def through_exec(path):
    exec(CODE, {"go": go, "path": path})
CODE = compile("go(path)", "program.py", "exec")

def in_partial(path):
    go(path)

def through_partial(path):
    functools.partial(in_partial, path)()

WAYS = [v for k, v in sorted(globals().items()) if k.startswith("through_") and (CALL or "ctypes" not in k)]

def go(path):
    if path:
        path[-1](path[:-1])
    else:
        burn(path)

def some(seed):
    rng = random.Random(seed)
    return [[rng.choice(WAYS) for _ in range(rng.randrange(6))] for _ in range(300)]

def main(paths):
    while True:
        for path in paths:
            go(path)

threading.Thread(target=main, args=(some(1),), daemon=True).start()
paths = some(2)
ready()
main(paths)
'''

# way -> what of C stands between its two Python functions, outermost first; each is a choice of names. The
# compiler may inline some: those here are called through pointers.
BETWEEN = {
    "sorted": [{"list_sort", "list_sort_impl", "builtin_sorted"}],
    "reduce": [{"functools_reduce", "_functools_reduce", "_functools_reduce_impl"}],
    "re": [{"pattern_sub", "_sre_SRE_Pattern_sub", "pattern_subx"}],
    "ctypes": [{"PyCFuncPtr_call"}, {"closure_fcn"}],
    "del": [{"slot_tp_finalize"}],
    "eq": [{"slot_tp_richcompare"}],
    "generator": [{"gen_iternext", "gen_send_ex", "gen_send_ex2"}],
    "init": [{"slot_tp_init"}],
    "exec": [{"builtin_exec", "builtin_exec_impl"}],
    "partial": [{"partial_call", "partial_vectorcall", "partial_vectorcall_impl", "partial_fastcall", "partial_call_impl"}],
}
PYTHON = re.compile(r"(?:.*\.)?(\S+) \(.*\.py:\d+\)")
NATIVE = re.compile(r"(.*) \((\S+)\)")
EVALUATORS = re.compile(r"_PyEval_EvalFrameDefault|_TAIL_CALL_|_PyEval_EvalFrame ")


def is_cut(label):
    return harness.is_marker(label) and label != "[unknown] ([jit])"


def split(stack):
    """[(Python function, [native functions between it and the next])], outermost first; what comes before the first."""
    before, steps = [], []
    for label in stack:
        match = PYTHON.fullmatch(label)
        if match:
            steps.append((match[1], []))
        else:
            (steps[-1][1] if steps else before).append(label)
    return before, steps


def holds(gap, wanted):
    """Are there functions of these names in it, in this order?"""
    names = iter([NATIVE.fullmatch(label)[1].split(".")[0] if NATIVE.fullmatch(label) else label for label in gap])
    return all(any(name in choice for name in names) for choice in wanted)


def step_fault(caller, gap, callee, innermost, cut, python, named):
    """What is wrong with this step, or None. cut: some native frames are missing, perhaps here."""
    kind, _, way = caller.partition("_")
    inner = {"init": ["__init__"], "del": ["__del__"], "eq": ["__eq__"], "exec": ["<module>"]}
    if kind == "through":
        if callee not in inner.get(way, ["in_" + way]):
            # making the object that the way is about
            if not (way, callee) in (("del", "__init__"), ("eq", "__init__"), ("eq", "__hash__")):
                return "calls %s" % callee
            return None
        if not gap and python.version >= (3, 12) and way == "init":
            return None  # inlined by the specializing evaluator
        if not gap and python.version >= (3, 11) and way == "generator" and innermost:
            return None  # the call that makes it
        if cut:
            return None
        if not gap:
            return "has nothing in between"
        if named and not holds(gap, BETWEEN[way]):
            return "goes through something else"
        return None
    fits = {
        "main": callee == "go", "go": callee == "burn" or callee.startswith("through_"),
        "__del__": callee == "in_del", "__eq__": callee == "in_eq",
        "<module>": callee in ("go", "main"),
    }.get(caller, callee == "go" if kind == "in" or caller == "__init__" else False)
    if caller in ("_bootstrap", "_bootstrap_inner", "run", "main") and callee in ("_bootstrap_inner", "run", "main"):
        fits = True
    if not fits:
        return "calls %s" % callee
    if python.version >= (3, 11) and gap and not cut and caller not in ("_bootstrap_inner", "run"):
        return "has C in between"
    return None


def fault(stack, python, named):
    """What is wrong with a stack, or None."""
    before, steps = split(stack)
    # The outermost native frames may be missing (musl's C library has no unwind information); those between may not.
    cut = any(is_cut(label) for label in stack[len(before):])
    if any(EVALUATORS.match(label) for label in stack):
        return "has the evaluator in it"
    if not steps:
        return "no Python"
    if steps[0][0] not in ("<module>", "_bootstrap"):
        return "does not begin at the outermost function"
    if not before and not cut:
        return "has no native root"
    for i, ((caller, gap), (callee, _)) in enumerate(zip(steps, steps[1:]), 2):
        wrong = step_fault(caller, gap, callee, i == len(steps), cut, python, named)
        if wrong:
            return "%s %s" % (caller, wrong)
    return None


def pythons():
    """One of each version and, of those whose code is unlike the others', one of each kind; all when told to."""
    found = [i for i in harness.interpreters.find() if not i.kinds & {"uwsgi", "pyinstaller"}]
    if "PYBPF_MERGE_SAMPLES" in os.environ:
        return found
    chosen = {i.id: i for i in harness.interpreters.select()}
    for kind in "tailcall", "free-threaded", "musl", "debug", "jit", "thread":
        chosen.update({i.id: i for i in found if kind in i.kinds and not any(kind in c.kinds for c in chosen.values())})
    return list(chosen.values())


@pytest.mark.parametrize("interpreter", pythons(), ids=lambda i: i.id)
def test_order(interpreter, target, record):
    python = interpreter
    named = not python.kinds & {"stripped", "standalone"}
    program = target(python, PROGRAM)
    harness.wait_busy(program.pid, 0.3)  # what the evaluator specializes is specialized
    ran = record("-n", "-p", program.pid, "-s", "-r", 2000, "-d", SAMPLES / 1000, "--json")
    assert ran.status == 0, ran
    wrong, marked, judged = collections.Counter(), collections.Counter(), 0
    for stack, count in ran.stacks:
        stack = harness.without_process(stack)
        if any(map(is_cut, stack)):
            marked[next(filter(is_cut, stack))] += count
        judged += count
        why = fault(stack, python, named)
        if why:
            wrong[why, tuple(stack)] += count
    if os.environ.get("PYBPF_MERGE_SHOW"):
        whys = collections.Counter()
        for (why, stack), n in wrong.items():
            whys[why] += n
        print(python.id, "judged", judged, "wrong", sum(wrong.values()), dict(whys), dict(marked))
    lines = ["%d x %s:\n    %s" % (n, why, "\n    ".join(stack)) for (why, stack), n in wrong.most_common(SHOWN)]
    assert not wrong, "%d of %d: %s" % (sum(wrong.values()), judged, "\n".join(lines))
    assert judged > SAMPLES / 4
    # ctypes' closures and the JIT's code are without unwind information, musl's C library is, too
    if not python.kinds & {"jit", "musl"}:
        assert sum(marked.values()) <= judged * 0.01, marked
