# SPDX-License-Identifier: Apache-2.0
"""Every interpreter that scripts/interpreters.sh has gathered: listed by its version and build, and profiled."""
import contextlib
import json
import os

import harness
import pytest
from harness import interpreters

PROGRAM = """\
import os, time
def leaf(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def middle(seconds):
    leaf(seconds)
say("pid", os.getpid())
if hear() == "go":
    middle(0.15)
    say("done")
    hear()
"""
# Function and line of the frames around the leaf; the preamble takes the program's first line.
WANTED = [("<module>", 10), ("middle", 7)]
RATE = 1000


class Subject:
    """A waiting program, and what pybpf says of it."""

    def __init__(self, ident, kinds, version, command, folder, stack):
        self.id, self.kinds, self.version = ident, kinds, version
        self.faults, self.listed, self.samples = [], {}, 0
        self.target = stack.enter_context(harness.Target(command, PROGRAM, folder=folder / ident))
        self.pid = None

    def wait(self):
        """Until it says its pid (in a bundle a child's) and waits."""
        self.pid = int(self.hear("pid").split()[1])

    def hear(self, word):
        """Its next line that begins so. (uWSGI says other things, too.)"""
        while True:
            line = self.target.hear()
            if line.split()[:1] == [word]:
                return line

    def judge_listing(self, rows):
        self.listed = rows.get(self.pid, {})
        if not self.listed:
            self.faults.append("is not listed")
            return
        build = self.listed["build"]
        for what, is_so, should_be in (
                ("status", self.listed["status"], "ok"),
                ("version", self.listed["version"], self.version),
                ("free_threaded", build["free_threaded"], "free-threaded" in self.kinds),
                ("debug", build["debug"], "debug" in self.kinds),
                ("static", build["static"], "static" in self.kinds),
                ("libc", build["libc"], "musl" if "musl" in self.kinds else "glibc")):
            if is_so != should_be:
                self.faults.append("%s is %r, not %r" % (what, is_so, should_be))

    def judge_stacks(self, stacks):
        """Each sample of the computing must have the frames wanted, with their lines."""
        script = str(self.target.script)
        for stack, count in stacks:
            frames = [harness.frame(label) for label in stack]
            if any(map(harness.is_marker, stack)):
                self.faults.append("%d samples are %s" % (count, stack[-1]))
            if not frames or frames[-1].name != "leaf":
                continue
            inner = [(f.name, f.line) for f in frames[-3:-1]], [f.file for f in frames[-3:]]
            if inner == (WANTED, [script] * 3) and frames[-1].line in (4, 5):
                self.samples += count
            else:
                self.faults.append("%d samples are %s" % (count, ";".join(stack[-4:])))
        # So many at least, if all of them are whole. (How many exactly is no matter of interpreters.)
        if self.samples < 0.15 * RATE / 3:
            self.faults.append("only %d samples" % self.samples)

    @property
    def summary(self):
        result = "; ".join(self.faults) if self.faults else "%d samples" % self.samples
        return "%-20s %-9s %-44s %s" % (self.id, self.listed.get("version"), ",".join(sorted(self.kinds)), result)


def listing():
    answer = harness.pybpf("list", "--json")
    assert answer.status == 0, answer
    return {row["pid"]: row for row in json.loads(answer.stdout)}


def by_process(stacks):
    """Stacks of each process, by the pid in its frame."""
    found = {}
    for stack, count in stacks:
        pid = int(stack[0].split()[1].split(":")[0])
        found.setdefault(pid, []).append((stack[1:], count))
    return found


def test_every_build_is_named(tmp_path, record_property):
    with contextlib.ExitStack() as stack:
        subjects = [Subject(i.id, i.kinds, "%d.%d.%d" % i.version, i.command, tmp_path, stack)
                    for i in interpreters.find()]
        for subject in subjects:
            subject.wait()
        rows = listing()
        for subject in subjects:
            subject.judge_listing(rows)
        with harness.Recording("-p", ",".join(str(s.pid) for s in subjects), "-r", RATE, "--full-filenames",
                               output=tmp_path / "out.raw") as recording:
            recording.sampling()
            for subject in subjects:
                subject.target.say("go")
                subject.hear("done")
            result = recording.stop()
    assert result.status == 0, result
    stacks = by_process(result.stacks)
    for subject in subjects:
        subject.judge_stacks(stacks.get(subject.pid, []))
        record_property("summary", subject.summary)
    wrong = [s.summary for s in subjects if s.faults]
    assert subjects and not wrong, "\n".join(wrong)


@pytest.mark.parametrize("row", interpreters.unsupported(), ids=lambda row: row.id)
def test_what_is_not_supported_is_named(row, tmp_path, record_property):
    with contextlib.ExitStack() as stack:
        subject = Subject(row.id, row.kinds, row.version, row.words, tmp_path, stack)
        subject.wait()
        listed = listing()[subject.pid]
        said = harness.one_line(harness.record("-p", subject.pid, "-d", 1, output=tmp_path / "out.raw"), 3)
    assert listed["status"] == "unsupported"
    named = "PyPy" if "pypy" in row.id else "Python %s" % row.version.split(".")[0]
    assert named in listed["reason"] and named in said and str(subject.pid) in said
    assert not os.path.exists(tmp_path / "out.raw")
    record_property("summary", "%-20s %-9s %s" % (row.id, row.version, listed["reason"]))


def test_all_required_interpreters_are_here():
    missing = ["%s %s" % each for each in interpreters.missing()]
    if missing and not os.environ.get("CI"):
        pytest.skip("; ".join(missing))
    assert not missing, "\n".join(missing) + "\nrun scripts/interpreters.sh"
