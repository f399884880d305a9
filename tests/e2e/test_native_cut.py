# SPDX-License-Identifier: Apache-2.0
"""Python and native frames stand in their order where one of both chains is cut; the other one is whole."""
import harness
import pytest

DEEP = r'''
import sys, threading
sys.setrecursionlimit(100000)
threading.stack_size(512 << 20)

def burn(x):
    n = 0
    for i in range(2000):
        n += i
    return x

def leaf():
    ready()
    while True:
        sorted([1], key=burn)

def dive(n):
    if n:
        dive(n - 1)
    else:
        leaf()

def through(n):
    if n:
        list(map(through, [n - 1]))
    else:
        leaf()

thread = threading.Thread(target={"python": dive, "native": through}[_sys.argv[1]], args=(int(_sys.argv[2]),))
thread.start()
'''
SORT = {"list_sort", "list_sort_impl", "builtin_sorted"}


def pythons():
    found = harness.interpreters.find()
    plain = [i for i in harness.interpreters.select((3, 9)) if not i.root]
    return plain + [i for i in found if "tailcall" in i.kinds and not i.kinds & {"jit"} and i not in plain]


def inner_stacks(ran):
    """The stacks that end in burn(), or in what it calls, as names; with what stands before and behind leaf()."""
    assert ran.status == 0, ran
    for stack, _ in ran.stacks:
        stack = harness.without_process(stack)
        names = [name.rpartition(".")[2] for name in harness.names(stack)]
        if names.count("leaf") == 1 and names.count("burn") == 1:
            at = names.index("leaf")
            yield names[:at], names[at + 1:]


@pytest.mark.parametrize("interpreter", pythons(), ids=lambda i: getattr(i, "id", "none"))
def test_python_is_cut(interpreter, target, record):
    """More than 4096 Python frames: what C has called them stays outside of the marker, what they have called inside."""
    ran = record("-n", "-p", target(interpreter, DEEP, "python", 5000).pid, "-r", 2000, "-d", 1)
    told = 0
    for outer, inner in inner_stacks(ran):
        if not interpreter.kinds & {"stripped", "standalone"}:
            assert SORT & set(inner[:inner.index("burn")]), inner
        assert outer.count("[truncated: depth_limit]") == 1 and outer.count("dive") > 4000, outer[:30]
        at = outer.index("[truncated: depth_limit]")
        # the thread's beginning is before the marker, or left out
        assert "dive" not in outer[:at] and "start_thread" not in outer[at:], outer
        assert not {"start_thread", "clone3"} & set(inner), inner
        told += 1
    assert told


@pytest.mark.parametrize("interpreter", pythons(), ids=lambda i: getattr(i, "id", "none"))
def test_native_is_cut(interpreter, target, record):
    """More than 1024 native frames, and calls from C into Python: all Python frames are there, those inside with C between."""
    depth = 600
    ran = record("-n", "-p", target(interpreter, DEEP, "native", depth).pid, "-r", 2000, "-d", 1)
    told = 0
    for outer, inner in inner_stacks(ran):
        assert outer.count("through") == depth + 1 and outer.count("[truncated: native_depth]") == 1, outer[:30]
        at = outer.index("[truncated: native_depth]")
        assert "through" in outer[:at] and outer[at + 1:].count("through") > 50, outer
        if not interpreter.kinds & {"stripped", "standalone"}:
            assert set(outer[at + 1:]) > {"map_next", "through"}, outer
            assert SORT & set(inner[:inner.index("burn")]) and "map_next" not in inner, inner
        told += 1
    assert told
