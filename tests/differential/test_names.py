# SPDX-License-Identifier: Apache-2.0
"""Names of every kind of string (names.py): what is shown is what the program says, byte for byte."""
import ast
import collections
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import harness  # noqa: E402

RATE = 5000


@pytest.mark.parametrize("interpreter", harness.interpreters.distinct(), ids=lambda i: i.id)
def test_names_are_shown_byte_for_byte(interpreter, tmp_path, record_property):
    said, out = tmp_path / "said", tmp_path / "out.raw"
    result = harness.record("-r", RATE, "--full-filenames", output=out,
                            command=interpreter.command + [os.path.join(HERE, "names.py"), said])
    assert result.status == 0, result
    expected = ast.literal_eval(said.read_text(encoding="ascii"))
    wanted = {"%s (%s:%d)" % (name, file, line): what for what, name, file, line in expected}
    # Where they begin, before they compute.
    begins = {"%s (%s:%d)" % (name, file, line) for _, name, file, _ in expected for line in (1, 2)}
    seen, strange = collections.Counter(), collections.Counter()
    for stack, count in result.stacks:
        caller, label = harness.frame(stack[-2] if stack[1:] else "").name.split(".")[-1], stack[-1]
        if label in wanted:
            seen[wanted[label]] += count
        elif label == "[truncated: code_fault]" or (
                caller in ("spin", "run") and label not in begins and not label.split(" (")[0].endswith("run")):
            strange[label[:100]] += count
    missing = sorted(set(wanted.values()) - set(seen))
    record_property("summary", "%-20s %3d names of %d kinds of strings: %d missing" % (
        interpreter.id, len(wanted), len({what.partition(", ")[2] for what, _, _, _ in expected}), len(missing)))
    assert not missing, "missing:\n%s\nstrange:\n%s" % ("\n".join(missing), strange)
    assert not strange
