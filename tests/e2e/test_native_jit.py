# SPDX-License-Identifier: Apache-2.0
"""Native stacks through code that is made at run time: Python's perf trampolines (-X perf), and its JIT where one is built in."""
import collections
import subprocess

import harness
import pytest

PROGRAM = """
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def work():
    total = 0
    for i in range(20000):
        total += i * i % 7
    return total + fib(12)
def main():
    while True:
        work()
for _ in range(20):
    work()
ready()
main()
"""
NAMELESS = "[unknown] ([jit])"


def has(python, expression):
    words = [*python.command, "-c", "import sys; sys.exit(not (%s))" % expression]
    return subprocess.run(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def look(ran):
    """Samples, those that are marked, those with code of no name."""
    judged, marked, nameless = 0, collections.Counter(), 0
    for stack, count in ran.stacks:
        judged += count
        names = [name for name in harness.names(stack) if name in ("<module>", "main", "work", "fib")]
        assert names[:2] == ["<module>", "main"] and names[2:3] in ([], ["work"]) and set(names[3:]) <= {"fib"}, stack
        cut = [label for label in stack if "truncated" in label]
        marked.update({cut[0]: count} if cut else {})
        nameless += count if NAMELESS in stack else 0
    return judged, marked, nameless


@pytest.mark.versions((3, 12), (3, 16))
def test_perf_trampolines(every_python, target, record):
    """They are found by their names in /tmp/perf-PID.map, and give way to the Python frames that they stand for."""
    if every_python.root or not has(every_python, "sys.activate_stack_trampoline('perf') or sys.is_stack_trampoline_active()"):
        pytest.skip("no perf trampolines")
    process = target(every_python, PROGRAM, env={"PYTHONPERFSUPPORT": "1"})
    ran = record("-n", "-p", process.pid, "-r", 999, "-d", 2)
    assert ran.status == 0, ran
    judged, marked, nameless = look(ran)
    assert judged > 50 and not nameless, (judged, nameless)
    # in a trampoline's own first instructions there is nothing to go by
    assert sum(marked.values()) <= 0.01 * judged + 3, marked
