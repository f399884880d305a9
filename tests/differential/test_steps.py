# SPDX-License-Identifier: Apache-2.0
"""The walk before each single instruction of a running interpreter (steps.c): no stack that the program cannot have, also in
the few instructions that the interpreter takes to link a frame. What a sampler meets once in 100,000 samples is met here
with certainty.

PYBPF_STEPS instructions of each program for each interpreter of 3.11 and 3.12, whose evaluators leave the most to be seen; a
quarter of that for one of each other version.
"""
import ast
import collections
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import callgraph  # noqa: E402
import harness  # noqa: E402

STEPS = int(os.environ.get("PYBPF_STEPS", "60000"))
TOOL = os.path.join(os.path.dirname(harness.PYBPF), "tests", "steps")
OK, BETWEEN = 0, "between"
# No function is entered and left again within so few instructions.
SHORTEST_CALL = 8

Frame = collections.namedtuple("Frame", "name line")


class Target(harness.Target):
    """Tells its code objects when it is ready."""

    PREAMBLE = harness.Target.PREAMBLE + """
def lines(code):
    if hasattr(code, 'co_lines'):
        return list(code.co_lines())
    import dis
    starts = list(dis.findlinestarts(code))
    ends = [at for at, _ in starts[1:]] + [len(code.co_code)]
    return [(at, end, line) for (at, line), end in zip(starts, ends)]
def tell(code):
    say('code', repr((id(code), code.co_name, len(code.co_code), lines(code))))
    for each in code.co_consts:
        if hasattr(each, 'co_code'):
            tell(each)
def ready():
    frame = _sys._getframe(1)
    while frame:
        if not frame.f_back:
            tell(frame.f_code)
        frame = frame.f_back
    say('ready')
"""

    def codes(self):
        """{address: (name, bytes, [(from, to, line), ...])}"""
        found = {}
        for said in iter(self.hear, "ready"):
            address, name, size, lines = ast.literal_eval(said.partition(" ")[2])
            found[address] = name, size, lines
        return found


def place(codes, word):
    """The frame behind CODE:LASTI, None where there is no such place in the program."""
    address, lasti = (int(n) for n in word.split(":"))
    name, size, lines = codes.get(address, (None, 0, ()))
    if not -2 <= lasti < size:
        return None
    return Frame(name, next((line for start, end, line in lines if start <= max(lasti, 0) < end), None))


def walks(pid, steps):
    """What steps.c says: [(outcome, torn, words)], [(number, steps, pc)]."""
    out = subprocess.run([TOOL, str(pid), str(steps)], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
    stacks, runs = [], []
    for kind, first, second, *rest in (line.split() for line in out.splitlines()):
        if kind == "stack":
            stacks.append((int(first), second == "1", rest))
        else:
            runs.append((int(first), int(second), rest[0]))
    return stacks, runs


def judge(codes, calls, stack):
    """The functions' names, BETWEEN for what is put off, or None: impossible."""
    outcome, torn, words = stack
    if torn:
        return BETWEEN
    frames = [place(codes, word) for word in reversed(words)]
    if outcome != OK or None in frames or not callgraph.allows(frames, calls):
        return None
    return tuple(frame.name for frame in frames)


def plain():
    """All of 3.11 and 3.12, one of each other version."""
    found = [i for i in harness.interpreters.find() if not i.root and harness.interpreters.SPECIAL.isdisjoint(i.kinds)]
    return [i for n, i in enumerate(found)
            if i.version[:2] in ((3, 11), (3, 12)) or i.version[:2] not in [j.version[:2] for j in found[:n]]]


@pytest.mark.parametrize("seed", [3, 6])
@pytest.mark.parametrize("interpreter", plain(), ids=lambda i: i.id)
def test_no_impossible_stack_at_any_instruction(interpreter, seed, record_property):
    calls, text = callgraph.make(seed)
    steps = STEPS if (3, 11) <= interpreter.version < (3, 13) else STEPS // 4
    with Target(interpreter, text) as program:
        codes = program.codes()
        stacks, runs = walks(program.pid, steps)
    verdicts = [judge(codes, calls, stack) for stack in stacks]
    # It was stopped while it told that it is ready.
    runs = runs[next(i for i, (number, _, _) in enumerate(runs) if "f0" in (verdicts[number] or ())):]
    impossible = [(pc, n, [place(codes, word) for word in stacks[number][2][:4]])
                  for number, n, pc in runs if verdicts[number] is None]
    assert not impossible, impossible[:5]
    visits = []
    for number, n, pc in runs:
        if visits and visits[-1][0] == verdicts[number]:
            visits[-1][1] += n
        else:
            visits.append([verdicts[number], n, pc])
    short = [here for before, here, after in zip(visits, visits[1:], visits[2:])
             if BETWEEN not in (before[0], here[0], after[0]) and here[1] < SHORTEST_CALL]
    assert not short, short[:5]
    torn = sum(n for number, n, _ in runs if stacks[number][1])
    record_property("summary", "%-20s %7d instructions, %d stacks, %.2f %% put off" % (
        interpreter.id, steps, len(visits), 100 * torn / steps))
    assert torn < steps / 50 and len(visits) > steps / 2000, (torn, len(visits))
