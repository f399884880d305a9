# SPDX-License-Identifier: Apache-2.0
"""Interpreters whose table of their own offsets is wrong: refused with the reason, or profiled rightly; never wrong names.

Copies of one libpython of 3.13, whose _Py_DebugOffsets are changed in one place each (the interpreter itself does not
look at them), run all at once, and are listed and recorded.
"""
import contextlib
import json
import os
import random
import shutil
import struct
import subprocess

import harness
import pytest
from harness import interpreters
from subject import RATE, Subject, by_process, listing

WORDS = 73  # of struct _Py_DebugOffsets in 3.13, Include/internal/pycore_runtime.h
# Among those that are read: thread_state.current_frame; interpreter_frame.previous, executable, instr_ptr, owner; code_object's
# filename, qualname, linetable, firstlineno, co_code_adaptive; unicode_object.state.
READ = 23, 29, 30, 31, 33, 35, 37, 38, 39, 43, 68
SECONDS = 0.03


def shared_3_13():
    """The machine's own interpreter of 3.13 with a libpython, its library, and where in that the table is."""
    for i in interpreters.select((3, 13), (3, 14)):
        if "shared" in i.kinds and not i.root:
            said = subprocess.run(["ldd", i.path], stdout=subprocess.PIPE, check=True, text=True).stdout
            for line in said.splitlines():
                if line.split()[0].startswith("libpython"):
                    return i, line.split()[2]
    return pytest.skip("no CPython 3.13 with a shared library")


def table_offset(library):
    """In the file. The table begins with the cookie, at the start of .PyRuntime."""
    said = subprocess.run(["readelf", "-SW", library], stdout=subprocess.PIPE, check=True, text=True).stdout
    for line in said.splitlines():
        words = line.replace("[ ", "[").split()
        if len(words) > 4 and words[1] == ".PyRuntime":
            return int(words[4], 16)
    raise LookupError(".PyRuntime")


def changes(table):
    """{what: another table}, one for each way to be wrong."""
    dice = random.Random(313)
    made = {}
    for word in range(WORDS):
        value = struct.unpack_from("<Q", table, 8 * word)[0]
        made["word %d + 8" % word] = put(table, word, (value + 8) & (1 << 64) - 1)
    for k in range(8):
        # all but the cookie, the version and the kind of build
        made["random %d" % k] = table[:24] + bytes(dice.randrange(256) for _ in range(8 * WORDS - 24))
    for k in range(8):
        word = dice.randrange(3, WORDS)
        made["word %d small at random (%d)" % (word, k)] = put(table, word, dice.randrange(0, 256, 8))
    made["none, but zeros"] = bytes(8 * WORDS)
    made["the table itself"] = table
    return made


def put(table, word, value):
    return table[:8 * word] + struct.pack("<Q", value) + table[8 * word + 8:]


class Changed(Subject):
    """A subject that runs with a changed copy of the library."""

    def __init__(self, what, interpreter, library, at, table, folder, stack):
        ident = what.replace(" ", "_")
        place = folder / ident
        place.mkdir()
        stack.callback(shutil.rmtree, place)
        copy = place / os.path.basename(library[1])
        shutil.copyfile(library[0], copy)
        with open(copy, "r+b") as f:
            f.seek(at)
            f.write(table)
        super().__init__(ident, interpreter.kinds, "%d.%d.%d" % interpreter.version,
                         ["/usr/bin/env", "LD_LIBRARY_PATH=%s" % place] + interpreter.command, folder, stack)

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


@pytest.mark.parametrize("word,by", [(9, -8), (23, 8)])  # interpreter_state.threads_head, thread_state.current_frame
def test_a_refused_layout_is_said_everywhere(word, by, tmp_path):
    """Also where it is met in the middle of a recording, by what its structures are like or by its table alone."""
    interpreter, library = shared_3_13()
    at = table_offset(library)
    copy = tmp_path / os.path.basename(library)
    shutil.copyfile(library, copy)
    with open(copy, "r+b") as f:
        f.seek(at)
        table = f.read(8 * WORDS)
        f.seek(at)
        f.write(put(table, word, struct.unpack_from("<Q", table, 8 * word)[0] + by))
    spin = ("import time\ndef spin():\n    end = time.process_time() + 1\n    while time.process_time() < end: pass\n"
            "spin()\nprint('over', flush=True)\ninput()\n")
    script = tmp_path / "program.py"
    script.write_text(spin)
    words = ["/usr/bin/env", "LD_LIBRARY_PATH=%s" % tmp_path] + interpreter.command + [str(script)]
    result = harness.record("-r", RATE, "--json=%s" % (tmp_path / "accounts.json"), output=tmp_path / "out.raw", command=words)
    accounts = json.loads((tmp_path / "accounts.json").read_text())
    assert accounts["truncated"].get("unsupported", 0) > 0.5 * RATE, result
    # What is told of its structures is only read by user space, ten times a second: until then names are had, and right ones.
    named = [(stack, n) for stack, n in result.stacks if any("spin" in label for label in stack)]
    assert all(stack[-1] == "spin (program.py:4)" for stack, _ in named) and sum(n for _, n in named) < 0.4 * RATE, result
    said = [line for line in result.stderr.splitlines() if str(copy) in line]
    assert len(said) == 1, result
    reason = said[0].partition(": ")[2].partition(": ")[2]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        try:
            assert program.stdout.readline() == b"over\n"
            row = listing()[program.pid]
            checked = [c for c in json.loads(harness.pybpf("check", "--json").stdout) if str(copy) in c["what"]]
            line = harness.one_line(harness.record("-p", program.pid, output=tmp_path / "none.raw"), 3)
        finally:
            program.kill()
    assert row["status"] == "unsupported" and row["reason"] == reason
    assert len(checked) == 1 and not checked[0]["ok"] and reason in checked[0]["detail"]
    assert reason in line


def test_a_changed_table_of_offsets_is_refused_or_does_no_harm(tmp_path, record_property):
    interpreter, library = shared_3_13()
    small = tmp_path / "library"
    subprocess.run(["strip", "-o", small, library], check=True)  # a fifth of the size, for each copy
    at = table_offset(small)
    with open(small, "rb") as f:
        f.seek(at)
        table = f.read(8 * WORDS)
    assert table.startswith(b"xdebugpy")
    with contextlib.ExitStack() as stack:
        subjects = [Changed(what, interpreter, (small, library), at, new, tmp_path, stack)
                    for what, new in changes(table).items()]
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
    record_property("summary", "%d changed tables: %d refused, %d without harm" % (
        len(subjects) - 1, len(refused), len(subjects) - 1 - len(refused)))
    wrong = ["%s: %s" % (s.id, "; ".join(s.faults)) for s in subjects if s.faults]
    assert not wrong, "\n".join(wrong)
    assert "the_table_itself" not in refused
    assert {s.id for s in subjects if s.id.startswith("random")} <= set(refused)
    assert {"word_%d_+_8" % word for word in READ} <= set(refused)
    assert result.accounts["samples"]["taken"] == result.accounts["samples"]["written"]
