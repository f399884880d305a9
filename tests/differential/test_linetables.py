# SPDX-License-Identifier: Apache-2.0
"""Our line tables against each interpreter's own words, over its standard library: 0 differences.

One file of STEP of each library, as all of them together take minutes; the whole with PYBPF_WHOLE=1.
"""
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TREE, "tests"))
import interpreters  # noqa: E402  (it is no package)

DIFF = os.environ.get("PYBPF_LINETABLE_DIFF") or os.path.join(TREE, "build", "tests", "linetable_diff")
STEP = 1 if os.environ.get("PYBPF_WHOLE") else 8
DUMP = os.path.join(HERE, "dump_linetables.py")


@pytest.fixture(scope="module", autouse=True)
def diff():
    if not os.access(DIFF, os.X_OK):
        subprocess.run(["make", "-C", TREE, os.path.relpath(DIFF, TREE)], check=True)


def compare(interpreter, dirs=(), **env):
    """Runs the dump into the comparison. Its exit status, output and counts."""
    with subprocess.Popen([*interpreter.command, DUMP, *dirs], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          env=interpreters.environment(**env)) as dump:
        # Once it ends, the dump gets SIGPIPE, so that it does not have to be ended.
        ours = subprocess.run([DIFF, "%x" % interpreter.hexversion], stdin=dump.stdout, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    status = dump.returncode
    text = ours.stdout.decode("utf-8", "replace")
    assert status == 0, text
    words = text.splitlines()[-1].split() if text else []
    return ours.returncode, text, dict(zip(words[::2], words[1::2]))


@pytest.mark.parametrize("interpreter", interpreters.distinct(), ids=lambda i: i.id)
def test_standard_library(interpreter):
    status, text, counts = compare(interpreter, ["-%d" % STEP])
    print(text)
    assert status == 0, text
    assert counts["differences"] == "0"
    # Debian's debug build has the 180 files of its smallest library, others 600 or 1,600.
    assert int(counts["files"]) > 150 // STEP
    assert int(counts["code_objects"]) > 6000 // STEP
    assert int(counts["positions"]) > 300000 // STEP
    assert (int(counts["no_line"]) > 0) == (interpreter.version >= (3, 10))


@pytest.mark.parametrize("interpreter", interpreters.select((3, 11)), ids=lambda i: i.id)
def test_without_columns(interpreter):
    status, text, counts = compare(interpreter, ["concurrent"], PYTHONNODEBUGRANGES="1")
    print(text)
    assert status == 0, text
    assert int(counts["positions"]) > 3000


def test_a_difference_is_found():
    """The comparison must be able to fail: a table read as another version's, a stream cut short."""
    interpreter = interpreters.find()[-1]
    stream = subprocess.check_output([*interpreter.command, DUMP, "json"], env=interpreters.environment())
    wrong = "030900f0" if interpreter.version >= (3, 10) else "030a00f0"
    for version, data, want in ((wrong, stream, 1), ("%x" % interpreter.hexversion, stream[:-10], 2),
                                ("%x" % interpreter.hexversion, stream, 0)):
        ours = subprocess.run([DIFF, version], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert ours.returncode == want, ours.stdout
