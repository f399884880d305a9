# SPDX-License-Identifier: Apache-2.0
"""Each sampled stack against the chain that the program itself says it is in (chains.py): 0 differences.

PYBPF_LIVE_SAMPLES samples are compared for each interpreter (default 1500; 10000 is what a release has to show).
"""
import ast
import bisect
import collections
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import capture  # noqa: E402
import harness  # noqa: E402

RATE = 5000
SAMPLES = int(os.environ.get("PYBPF_LIVE_SAMPLES", "1500"))
SEED = int(os.environ.get("PYBPF_LIVE_SEED", "1"))
# A sample's time is told by ticks and, once a jiffy, by the clock. Seen: 0.0005 at most.
SLACK_S = 0.003
SHOWN = 5

PLACE = "%s (%s:%d)"


def place(frame):
    return frame.name, frame.file, frame.line


class Truth:
    """What the program said."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            said = ast.literal_eval(f.read())
        self.chains = [tuple(chain) for chain in said["chains"]]
        self.number = {chain: i for i, chain in enumerate(self.chains)}
        self.spins = said["spins"]
        self.starts = [spin[0] for spin in self.spins]
        self.begin, self.end = self.spins[0][0], self.spins[-1][1]
        # A spin's other lines, before and behind the one that takes the time -> that one.
        self.edges = {}
        for name, file, line in {chain[-1] for chain in self.chains}:
            for other in (line - 2, line - 1, line + 1):
                self.edges[name, file, other] = name, file, line
        self.made = {file: {(name, line) for name, lines in functions for line in lines}
                     for file, functions in said["made"].items()}

    def in_force(self, chain, thread, time):
        """Was the thread in this chain, or so near that the clocks cannot tell?"""
        i = bisect.bisect_left(self.starts, time - SLACK_S)
        i = max(i - 1, 0)
        while i < len(self.spins) and self.spins[i][0] < time + SLACK_S:
            _, end, number, spinner = self.spins[i]
            if number == chain and spinner == thread and end > time - SLACK_S:
                return True
            i += 1
        return False

    def must_be(self, thread, time):
        """The chain that the thread certainly was in, or None."""
        i = bisect.bisect_right(self.starts, time) - 1
        start, end, number, spinner = self.spins[i]
        return self.chains[number] if spinner == thread and start + SLACK_S < time < end - SLACK_S else None


def judge(truth, sample, time, counts):
    """What is wrong with a sample, or None; counts what it was."""
    thread = sample.thread.ns_tid
    certain = truth.must_be(thread, time)
    if sample.outcome in ("no_python", "exiting") and not certain:
        counts["threads come and go"] += 1
        return None
    if sample.outcome in ("frame_fault", "frame_bad", "code_fault") and not certain:
        # Where 3.11 and 3.12 enter a function there are some instructions in which the thread's innermost frame is not set.
        counts["truncated between"] += 1
        return None
    if sample.outcome != "ok" or any(f.kind != capture.PYTHON for f in sample.stack):
        return "is %s" % sample.outcome
    stack = tuple(place(f) for f in sample.stack)
    chain = truth.number.get(stack)
    if chain is not None:
        if not truth.in_force(chain, thread, time):
            return "comes when the thread was elsewhere"
        counts[stack[-1][0]] += 1
        return None
    if stack[-1] in truth.edges:
        counts["edges of spins"] += 1
        return None if stack[:-1] + (truth.edges[stack[-1]],) in truth.number else "is no chain of the program's"
    if stack[-1][0].startswith("spin_"):
        return "is no chain of the program's"
    if certain:
        return "should be %s" % show(certain)
    for name, file, line in stack:
        if file in truth.made and (name, line) not in truth.made[file]:
            return "has a line that %s does not have" % name
    counts["between"] += 1
    return None


def show(stack):
    return ";".join(PLACE % p for p in stack[-4:])


def compare(interpreter, folder):
    """Runs the program under the profiler: counts of samples by leaf, the differences."""
    said, out, log = folder / "said", folder / "out.pybpf", folder / "accounts.json"
    seconds = SAMPLES * 1.6 / RATE
    seed = SEED + interpreter.hexversion  # other code for each
    result = harness.record("-s", "-r", RATE, "-f", "pybpf", "--json=%s" % log, output=out,
                            command=interpreter.command + [os.path.join(HERE, "chains.py"), said, seed, seconds])
    assert result.status == 0, result
    truth, seen = Truth(said), capture.Capture(out)
    counts, wrong = collections.Counter(), []
    for sample in seen.samples:
        time = (seen.start_ns + sample.time) / 1e9
        if truth.begin + SLACK_S < time < truth.end - SLACK_S and sample.thread.process.version:
            fault = judge(truth, sample, time, counts)
            if fault:
                wrong.append("%s %s" % (show([place(f) for f in sample.stack]), fault))
    return counts, wrong


@pytest.mark.parametrize("interpreter", harness.interpreters.find(), ids=lambda i: i.id)
def test_sampled_stacks_are_those_of_the_program(interpreter, tmp_path, record_property):
    counts, wrong = compare(interpreter, tmp_path)
    spinning = sum(n for leaf, n in counts.items() if leaf.startswith("spin_"))
    without_gil = counts["spin_without_gil"] + counts["spin_hash"]
    record_property("summary", "%-20s %6d samples compared, %d of them without the GIL: %d differences" % (
        interpreter.id, spinning, without_gil, len(wrong)))
    assert not wrong, "%d differences:\n%s" % (len(wrong), "\n".join(wrong[:SHOWN]))
    assert spinning >= SAMPLES, counts
    # Nearly all time passes in the spins: what is between them is no refuge for wrong stacks.
    assert counts["between"] < spinning / 4, counts
    assert counts["edges of spins"] < spinning / 50 + 5, counts
    assert counts["truncated between"] <= spinning / 5000 + 1, counts
    for leaf in ("spin_python", "spin_in_c", "spin_without_gil"):
        assert counts[leaf] > spinning / 100, counts
