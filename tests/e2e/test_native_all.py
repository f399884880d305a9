# SPDX-License-Identifier: Apache-2.0
"""--native=all: the interpreter's evaluator is shown beside the Python frames that it runs; with -n it gives way to them."""
import harness
import pytest

PROGRAM = """
def burn(x):
    for i in range(2000): x += i
    return x
ready()
while True: sorted([1], key=burn)
"""


def shares(ran):
    """(samples of burn, those of them with an evaluator outside of the sort, those with one inside)"""
    assert ran.status == 0, ran
    judged = outside = inside = 0
    for stack, count in ran.stacks:
        names = harness.names(harness.without_process(stack))
        if "burn" not in names or "builtin_sorted" not in names:
            continue
        at = names.index("builtin_sorted")
        assert names.index("<module>") < at < names.index("burn"), names
        judged += count
        outside += count * any(name.startswith("_PyEval_EvalFrameDefault") for name in names[:at])
        inside += count * any(name.startswith("_PyEval_EvalFrameDefault") for name in names[at:])
    return judged, outside, inside


@pytest.mark.parametrize("interpreter", [i for i in harness.interpreters.select((3, 8)) if i.id.startswith("pyenv")],
                         ids=lambda i: i.id)
def test_evaluators(interpreter, target, record):
    process = target(interpreter, PROGRAM)
    judged, outside, inside = shares(record("-n", "-p", process.pid, "-r", 999, "-d", 1))
    assert judged > 50 and outside == inside == 0, (judged, outside, inside)
    judged, outside, inside = shares(record("--native=all", "-p", process.pid, "-r", 999, "-d", 1))
    assert judged > 50 and outside == inside == judged, (judged, outside, inside)
