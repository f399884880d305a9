# SPDX-License-Identifier: Apache-2.0
"""More calls from C into Python than can be placed among native frames: those are left out rather than put in the wrong place."""
import harness

# max() calls step, which is called from C each time.
PROGRAM = """
import sys, threading
sys.setrecursionlimit(100000)
threading.stack_size(512 << 20)
def spin():
    ready()
    n = 0
    while True: n = (n + 1) & 0xffff
def down(n):
    return max([n], key=step) if n else spin()
def step(n):
    return down(n - 1)
threading.Thread(target=down, args=(int(sys.argv[1]),)).start()
"""
FEW, MANY = 100, 1300


def after_python(stack):
    last = max(i for i, label in enumerate(stack) if harness.frame(label).name == "spin")
    return harness.names(stack[last + 1:])


def test_many_calls_from_c(any_python, target, record):
    for depth in (FEW, MANY):
        program = target(any_python, PROGRAM, depth)
        ran = record("-n", "-F", "-p", program.pid, "-r", 500, "-d", 2)
        program.stop()
        assert ran.status == 0, ran
        seen = 0
        for stack, count in ran.stacks:
            python = [name for name in harness.names(stack) if name in ("down", "step")]
            if "spin" not in harness.names(stack):
                continue
            seen += count
            assert python == ["down"] + ["step", "down"] * depth, python
            behind = after_python(stack)
            if depth == MANY:
                assert behind == ["[truncated: native_depth]"], behind
            else:
                assert "[truncated: native_depth]" not in behind and "max" not in " ".join(behind), behind
        assert seen > 5, ran
