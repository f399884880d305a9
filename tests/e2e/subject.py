# SPDX-License-Identifier: Apache-2.0
"""A waiting program of one interpreter each, to be listed and profiled together with others."""
import json

import harness

PROGRAM = """\
import os, time
def leaf(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def middle(seconds):
    leaf(seconds)
say("pid", os.getpid())
words = hear().split()
if words[:1] == ["go"]:
    middle(float(words[1]))
    say("done")
    hear()
"""
# Function and line of the frames around the leaf; the preamble takes the program's first line.
WANTED = [("<module>", 11), ("middle", 7)]
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

    def compute(self, seconds):
        self.target.say("go", seconds)
        self.hear("done")

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

    def judge_stacks(self, stacks, seconds):
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
        if self.samples < seconds * RATE / 3:
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
