# SPDX-License-Identifier: Apache-2.0
"""Whether stacks are true: whole, in an order that the program can have, with the right lines."""
import callgraph
import harness
import pytest


def is_possible(stack, calls):
    """Whether the program's call graph allows this stack, line by line."""
    if any(harness.is_marker(label) for label in stack):
        return False
    return callgraph.allows([harness.frame(label) for label in stack], calls)


def test_no_impossible_stack(python, target, record):
    calls, text = callgraph.make(3)
    program = target(python, text)
    result = record("-p", program.pid, "-r", 10000, "-d", 2.5)
    assert result.status == 0, result
    impossible = [(stack, n) for stack, n in result.stacks if not is_possible(stack, calls)]
    assert not impossible, "%d of %d: %r" % (sum(n for _, n in impossible), result.samples, impossible[:3])
    # They change all the time, in many ways.
    assert len(result.stacks) > 500, len(result.stacks)


DEEP = """
import threading
_sys.setrecursionlimit(20000)
def leaf():
    ready()
    while True:
        for i in range(1000):
            pass
def down(n):
    if n:
        return down(n - 1)
    leaf()
down(int(_sys.argv[1]) - 3)
"""


@pytest.mark.parametrize("depth", [3000, 4096])
def test_deep_recursion_is_complete(python, depth, target, record):
    program = target(python, DEEP, depth)
    result = record("-p", program.pid, "-r", 1000, "-d", 0.5)
    assert result.status == 0, result
    for stack, _ in result.stacks:
        assert harness.names(stack) == ["<module>"] + ["down"] * (depth - 2) + ["leaf"], (len(stack), stack[:3])


def test_deeper_recursion_has_a_marker_where_frames_are_missing(python, target, record):
    program = target(python, DEEP, 5000)
    result = record("-p", program.pid, "-r", 1000, "-d", 0.5, "--json")
    assert result.status == 0, result
    for stack, _ in result.stacks:
        assert stack[0] == "[truncated: depth_limit]", stack[:3]
        assert harness.names(stack[1:]) == ["down"] * (len(stack) - 2) + ["leaf"]
        assert len(stack) >= 4097
    accounts = result.accounts
    assert accounts["truncated"] == {"depth_limit": result.samples} and accounts["samples"]["lost"] == 0


NATIVE = """
import hashlib, os, threading, zlib
data = bytes(range(256)) * 16384
told, tell = os.pipe()
def hashing():
    os.write(tell, b"1")
    while True:
        hashlib.sha256(data).digest()  # hash
def packing():
    os.write(tell, b"1")
    while True:
        zlib.compress(data, 6)  # pack
def both(n):
    while True:
        zlib.crc32(data)
        hashlib.md5(data)
threading.Thread(target=hashing, daemon=True).start()
threading.Thread(target=packing, daemon=True).start()
os.read(told, 1)
os.read(told, 1)
ready()
both(1)
"""


def test_a_thread_without_the_gil_keeps_its_stack(python, target, tmp_path):
    program = target(python, NATIVE)
    with harness.Recording("-p", program.pid, "-r", 1000, "-t", output=tmp_path / "out.raw") as recording:
        recording.sampling()
        harness.wait_busy(program.pid, 1)
        result = recording.stop()
    assert result.status == 0, result
    by_leaf = {}
    for stack, count in result.stacks:
        leaf = harness.frame(stack[-1])
        assert not any(map(harness.is_marker, stack)), stack
        assert leaf.name in ("hashing", "packing", "both"), stack
        assert harness.names(stack)[1] in ("<module>", "Thread._bootstrap"), stack
        by_leaf.setdefault(leaf.name, {}).setdefault(leaf.line, 0)
        by_leaf[leaf.name][leaf.line] += count
    for name, mark in ("hashing", "# hash"), ("packing", "# pack"):
        lines = by_leaf[name]
        assert lines.get(program.line_of(mark), 0) >= 0.95 * sum(lines.values()), by_leaf


@pytest.mark.versions((3, 8), (3, 12))
def test_a_module_begins_with_its_file(python, tmp_path):
    """Whatever comes before its first statement. Code objects disagree between versions."""
    script = tmp_path / "program.py"
    script.write_text("# two\n# lines\nimport time\nend = time.process_time() + 0.1\nwhile time.process_time() < end:\n    pass\n")
    result = harness.record("-F", "-r", 1000, output=tmp_path / "out.raw", command=python.command + [script])
    assert result.status == 0, result
    ours = [label for stack, _ in result.stacks for label in stack if "program.py" in label]
    assert ours and set(ours) == {"<module> (program.py:1)"}, ours
