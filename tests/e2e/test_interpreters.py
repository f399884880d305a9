# SPDX-License-Identifier: Apache-2.0
"""Every interpreter that scripts/interpreters.sh has gathered: listed by its version and build, and profiled."""
import contextlib
import os

import harness
import pytest
from harness import interpreters
from subject import RATE, Subject, by_process, listing

SECONDS = 0.15


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
                subject.compute(SECONDS)
            result = recording.stop()
    assert result.status == 0, result
    stacks = by_process(result.stacks)
    for subject in subjects:
        subject.judge_stacks(stacks.get(subject.pid, []), SECONDS)
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
