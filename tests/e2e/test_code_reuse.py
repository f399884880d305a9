# SPDX-License-Identifier: Apache-2.0
"""Code objects come and go, and new ones lie where others lay: names are those of what runs."""
import collections

import pytest

import harness

# Functions by turns at one address, below callers that stay: no stack of addresses belongs to one name.
TURNS = """
import gc, time
gc.disable()
def outer_a(work): work(time.process_time() + 0.15, time.process_time)
def outer_b(work): work(time.process_time() + 0.15, time.process_time)
def make(name):
    space = {}
    text = "def inner_%s(end, clock):\\n    while clock() < end: pass\\n" % name
    exec(compile(text, "<made>", "exec"), space)
    return space.pop("inner_" + name)
def make_at(name, where):
    others = []  # a few at the most: allocators give again what was freed last
    while True:
        work = make(name)
        if where in (None, id(work.__code__)): return work
        assert len(others) < 100
        others.append(work)
where = None
ready()
hear()
for name in "abcd":
    work = make_at(name, where)
    where = id(work.__code__)
    outer_b(work)
    outer_a(work)
    del work
say("done")
hear()
"""


@pytest.mark.versions((3, 6), (3, 16))
def test_an_address_with_another_function(python, target, tmp_path):
    program = target(python, TURNS)
    with harness.Recording("-p", program.pid, "-r", 1000, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        stolen = harness.stolen_seconds()
        program.say("go")
        assert program.hear() == "done"
        stolen = harness.stolen_seconds() - stolen
        result = recording.stop()
    assert result.status == 0, result
    seen = collections.Counter()
    for stack, n in result.stacks:
        names = harness.names(stack)
        for place, name in enumerate(names):
            if name.startswith("inner_"):
                seen[names[place - 1], name] += n
    assert set(seen) == {("outer_" + outer, "inner_" + inner) for outer in "ab" for inner in "abcd"}, seen
    for pair, n in seen.items():
        assert 105 <= n <= 195 + stolen * 1000, (pair, seen)
