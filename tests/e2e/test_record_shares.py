# SPDX-License-Identifier: Apache-2.0
"""Whether shares of functions and lines are those of the CPU time that they use."""
import math

import harness
import pytest

# Bound of |share - true share| in standard deviations. A correct program passes it but for one comparison in
# a million (two-sided normal tail: 1e-6 at 4.9); one run makes some 50.
SIGMAS = 5.2

# Five functions that burn 10, 15, 20, 25 and 30 % of CPU time and measure what they really got. A round is
# `cycle` seconds of CPU time; functions end at fixed moments of it, so that overshoot does not add up.
PHASES = """
import time
clock = time.thread_time_ns if hasattr(time, "thread_time_ns") else lambda: int(time.thread_time() * 1e9)
used = [0] * 5
def burn(until):
    while clock() < until:
        for _ in range(20):
            pass
def tenth(until): burn(until)
def fifteen(until): burn(until)
def fifth(until): burn(until)
def quarter(until): burn(until)
def third(until): burn(until)
def main(seconds, cycle):
    phases = tenth, fifteen, fifth, quarter, third
    ends = 0.1, 0.25, 0.45, 0.7, 1.0
    ready()
    hear()
    start = now = clock()
    while now < start + seconds * 1e9:
        base = now
        for i in range(5):
            phases[i](base + int(cycle * 1e9 * ends[i]))
            then, now = now, clock()
            used[i] += now - then
        now = base + int(cycle * 1e9)
    say(*used)
    hear()
main(float(_sys.argv[1]), float(_sys.argv[2]))
"""
FUNCTIONS = "tenth", "fifteen", "fifth", "quarter", "third"


def deviations(target, python, seconds, cycle, rate, output):
    """|share seen - share used| / standard deviation, for each of FUNCTIONS."""
    program = target(python, PHASES, seconds, cycle)
    with harness.Recording("-p", program.pid, "-r", rate, "--nolineno", "--json", output=output) as recording:
        recording.sampling()
        stolen = harness.stolen_seconds()
        program.say("go")
        used = [int(word) for word in program.hear().split()]
        stolen = harness.stolen_seconds() - stolen
        result = recording.stop()
    assert result.status == 0, result
    # What lies outside of the five (the loop around them) is no part of either side.
    seen = [harness.share(result.stacks, name, leaf=False)[0] for name in FUNCTIONS]
    count = sum(seen)
    expected = sum(used) * 1e-9 * rate
    assert count >= 0.9 * expected - harness.count_tolerance(expected, seconds, result.accounts["duration_s"]), result
    found = []
    for i in range(5):
        p = used[i] / sum(used)
        # all that was stolen may have hidden in one function
        room = stolen * rate / count
        found.append(max(abs(seen[i] / count - p) - room, 0) / math.sqrt(p * (1 - p) / count))
    return found


@pytest.mark.parametrize("rate, cycle", [(1000, 0.0137), (1000, 0.010), (100, 0.010)],
                         ids=["1000Hz", "1000Hz-every-10ms", "100Hz-every-10ms"])
def test_shares_of_functions(python, rate, cycle, target, tmp_path):
    seconds = 2 if rate == 1000 else 3
    found = deviations(target, python, seconds, cycle, rate, tmp_path / "out.raw")
    assert max(found) <= SIGMAS, dict(zip(FUNCTIONS, found))


LOOP = """
data = list(range(4000))
def hot():
    total = 0
    while not total:
        a = 1
        b = sum(data)  # hot
        c = a + 1
        b = sum(data[:400])  # warm
        d = c + 1
ready()
hot()
"""


def test_the_hot_line_of_a_live_loop(python, target, record):
    program = target(python, LOOP)
    result = record("-p", program.pid, "-r", 1000, "-d", 0.7)
    assert result.status == 0, result
    lines = {}
    for stack, count in result.stacks:
        leaf = harness.frame(stack[-1])
        assert leaf.name == "hot", stack
        lines[leaf.line] = lines.get(leaf.line, 0) + count
    hot, warm = program.line_of("# hot"), program.line_of("# warm")
    assert set(lines) <= set(range(program.line_of("while not"), program.line_of("d = c + 1") + 1)), lines
    assert max(lines, key=lines.get) == hot and sorted(lines, key=lines.get)[-2] == warm, lines
    assert lines[hot] >= 0.75 * sum(lines.values()), lines
