# SPDX-License-Identifier: Apache-2.0
"""Interpreters that are not what they say: refused with the reason, or profiled rightly; never wrong names.

Copies of an interpreter, in whose table of its own offsets (_Py_DebugOffsets, 3.13+) one word is changed (the interpreter
itself does not look at it), or that say that they are of another version, run all at once, and are listed and recorded.
"""
import contextlib
import json
import random
import shutil
import subprocess

import changed
import harness
import pytest
from changed import get, put
from subject import RATE, Subject, by_process, listing

# Among the words that are read: thread_state.current_frame; interpreter_frame.previous, executable, instr_ptr, owner; code_object's
# filename, qualname, linetable, firstlineno, co_code_adaptive; unicode_object.state.
READ = {13: (23, 29, 30, 31, 33, 35, 37, 38, 39, 43, 68), 14: (26, 32, 33, 34, 36, 40, 42, 43, 44, 48, 78),
        15: (26, 40, 41, 42, 44, 48, 50, 51, 52, 56, 90)}
# runtime_state.interpreters_head; interpreter_state.next, threads_head, imports.modules: these alone differ between releases.
LISTS = {13: (5, 8, 9, 11), 14: (5, 8, 9, 12), 15: (5, 8, 9, 12)}
SECONDS = 0.03


def every_word(table, minor):
    """{what: another table}, one for each way to be wrong."""
    dice = random.Random(313)
    words, made = changed.WORDS[minor], {}
    for word in range(words):
        made["word %d + 8" % word] = put(table, word, get(table, word) + 8)
    for k in range(8):
        # all but the cookie, the version and the kind of build
        made["random %d" % k] = table[:24] + bytes(dice.randrange(256) for _ in range(8 * words - 24))
    for k in range(8):
        word = dice.randrange(3, words)
        made["word %d small at random (%d)" % (word, k)] = put(table, word, dice.randrange(0, 256, 8))
    made["none, but zeros"] = bytes(8 * words)
    made["the table itself"] = table
    return made


def some_words(table, minor):
    """Likewise, fewer: the lists' words, and some of the others, with every kind of value. (tests/unit/test_layout.c has them all.)"""
    dice = random.Random(minor)
    words, made = changed.WORDS[minor], {}
    for word in LISTS[minor] + tuple(dice.sample(READ[minor], 3)):
        other = dice.choice([w for w in READ[minor] + LISTS[minor] if get(table, w) != get(table, word)])
        for what, value in (("zero", 0), ("+ 8", get(table, word) + 8), ("huge", 1 << 40), ("of word %d" % other, get(table, other))):
            made["word %d %s" % (word, what)] = put(table, word, value)
    made["random"] = table[:24] + bytes(dice.randrange(256) for _ in range(8 * words - 24))
    made["none, but zeros"] = bytes(8 * words)
    made["the table itself"] = table
    return made


class Changed(Subject):
    """A subject that runs with a changed copy."""

    def __init__(self, what, original, changes, folder, stack):
        ident = what.replace(" ", "_")
        i = original.interpreter
        command = original.changed(folder / (ident + "-file"), changes)
        stack.callback(shutil.rmtree, folder / (ident + "-file"))
        super().__init__(ident, i.kinds, "%d.%d.%d" % i.version, command, folder, stack)

    def look_up(self, rows):
        row = rows.get(self.pid, {"status": "missing"})
        self.refused = row["reason"] if row["status"] == "unsupported" else None
        if not self.refused:
            self.judge_listing(rows)

    def judge(self, stacks):
        """Of a subject that was not refused in the list: refused at its first sample, with no names; or all is right."""
        if stacks and all(harness.is_marker(label) for stack, _ in stacks for label in stack):
            self.refused = stacks[0][0][-1]
        else:
            self.judge_stacks(stacks, SECONDS)


SPIN = ("import time\ndef spin():\n    end = time.process_time() + 1\n    while time.process_time() < end: pass\n"
        "spin()\nprint('over', flush=True)\ninput()\n")


def other_word(minor, word, by):
    o = changed.original(minor)
    at, table = o.table()
    return o, {at: put(table, word, get(table, word) + by)}


def other_version(minor, hexversion):
    o = changed.original(minor)
    return o, changed.says_version(o, hexversion)


# Told by its structures (interpreter_state.threads_head, in which no version is sure), by its table alone, by its structures again.
REFUSED = {
    "3.13-threads": lambda: other_word(13, 9, -8), "3.13-frame": lambda: other_word(13, 23, 8),
    "3.15-threads": lambda: other_word(15, 9, -8), "3.12-as-3.11": lambda: other_version(12, 0x030b04f0),
    "3.11-as-3.12": lambda: other_version(11, 0x030c02f0), "3.11-as-3.10": lambda: other_version(11, 0x030a04f0),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_layout_is_said_everywhere(case, tmp_path):
    """Also where it is met in the middle of a recording: not one name, be it that of the first sample."""
    original, changes = REFUSED[case]()
    script = tmp_path / "program.py"
    script.write_text(SPIN)
    words = original.changed(tmp_path / "changed", changes) + [str(script)]
    copy = str(tmp_path / "changed")
    result = harness.record("-r", RATE, "--json=%s" % (tmp_path / "accounts.json"), output=tmp_path / "out.raw", command=words)
    accounts = json.loads((tmp_path / "accounts.json").read_text())
    assert accounts["truncated"].get("unsupported", 0) > 0.5 * RATE, result
    assert not any(".py:" in label or "<module>" in label for stack, _ in result.stacks for label in stack), result
    said = [line for line in result.stderr.splitlines() if copy in line]
    assert len(said) == 1, result
    reason = said[0].partition(": ")[2].partition(": ")[2]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        try:
            assert program.stdout.readline() == b"over\n"
            row = listing()[program.pid]
            checked = [c for c in json.loads(harness.pybpf("check", "--json").stdout) if copy in c["what"]]
            line = harness.one_line(harness.record("-p", program.pid, output=tmp_path / "none.raw"), 3)
        finally:
            program.kill()
    assert row["status"] == "unsupported" and row["reason"] == reason
    assert len(checked) == 1 and not checked[0]["ok"] and reason in checked[0]["detail"]
    assert reason in line


@pytest.mark.parametrize("minor,make", [(13, every_word), (14, some_words), (15, some_words)])
def test_a_changed_table_of_offsets_is_refused_or_does_no_harm(minor, make, tmp_path, record_property):
    original = changed.original(minor)
    if original.shared:  # a fifth of the size, for each copy
        subprocess.run(["strip", "-o", tmp_path / "small", original.path], check=True)
        original.path = str(tmp_path / "small")
    at, table = original.table()
    with contextlib.ExitStack() as stack:
        subjects = [Changed(what, original, {at: new}, tmp_path, stack) for what, new in make(table, minor).items()]
        for subject in subjects:
            subject.wait()
        rows = listing()
        for subject in subjects:
            subject.look_up(rows)
        accepted = [s for s in subjects if not s.refused]
        with harness.Recording("-p", ",".join(str(s.pid) for s in accepted), "-r", RATE, "--full-filenames", "--json",
                               output=tmp_path / "out.raw") as recording:
            recording.sampling()
            for subject in subjects:
                subject.compute(SECONDS)
            result = recording.stop()
        for subject in subjects:
            assert subject.target.process.poll() is None, "%s did not go on" % subject.id
        one = next(s for s in subjects if s.refused)
        assert one.refused in harness.one_line(harness.record("-p", one.pid, output=tmp_path / "none.raw"), 3)
    assert result.status == 0, result
    stacks = by_process(result.stacks)
    for subject in accepted:
        subject.judge(stacks.get(subject.pid, []))
    refused = {s.id: s.refused for s in subjects if s.refused}
    record_property("summary", "3.%d: %d changed tables: %d refused, %d without harm" % (
        minor, len(subjects) - 1, len(refused), len(subjects) - 1 - len(refused)))
    wrong = ["%s: %s" % (s.id, "; ".join(s.faults)) for s in subjects if s.faults]
    assert not wrong, "\n".join(wrong)
    assert "the_table_itself" not in refused
    assert {s.id for s in subjects if s.id.startswith("random")} <= set(refused)
    must = {"word %d" % word for word in READ[minor]}
    assert {s.id for s in subjects if s.id.replace("_", " ").rpartition(" + ")[0] in must} <= set(refused)
    assert result.accounts["samples"]["taken"] == result.accounts["samples"]["written"]


NEWER = {"3.16.0": (0x031000f0, True), "3.16.0a2": (0x031000a2, True), "3.15.0rc1": (0x030f00c1, False)}


@pytest.mark.parametrize("version", NEWER)
def test_a_version_that_does_not_exist_yet(version, tmp_path):
    """Read by its own table, and said to be."""
    hexversion, said = NEWER[version]
    original = changed.original(15)
    with contextlib.ExitStack() as stack:
        subjects = [Changed(name, original, changed.says_version(original, hexversion), tmp_path, stack) for name in ("one", "other")]
        for subject in subjects:
            subject.version = version
            subject.wait()
        rows = listing()
        with harness.Recording("-p", ",".join(str(s.pid) for s in subjects), "-r", RATE, "--full-filenames",
                               output=tmp_path / "out.raw") as recording:
            recording.sampling()
            for subject in subjects:
                subject.compute(0.15)
            result = recording.stop()
    stacks = by_process(result.stacks)
    for subject in subjects:
        subject.judge_listing(rows)
        subject.judge_stacks(stacks.get(subject.pid, []), 0.15)
        assert not subject.faults, subject.summary
        warnings = [line for line in result.stderr.splitlines() if "newer than this program" in line and subject.id in line]
        assert len(warnings) == said, result
        assert ("newer than this program" in (rows[subject.pid]["reason"] or "")) == said


def test_a_pre_release_with_another_table_is_refused(tmp_path):
    """3.15 had a word less before 3.15.0b4."""
    original = changed.original(15)
    at, table = original.table()
    table = put(table, 1, 0x030f00a7)
    changes = changed.says_version(original, 0x030f00a7)
    changes[at] = table[:8 * 27] + table[8 * 28:] + bytes(8)
    with contextlib.ExitStack() as stack:
        subject = Changed("early", original, changes, tmp_path, stack)
        subject.wait()
        subject.look_up(listing())
    assert subject.refused and "table of offsets" in subject.refused, subject.refused
