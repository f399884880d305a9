# SPDX-License-Identifier: Apache-2.0
"""Stacks where Python runs in other ways than a thread, a file and the main interpreter: subinterpreters, greenlets, zip files."""
import zipfile

import harness
import pytest
from harness import interpreters

RATE = 2000

# In two threads at a time; from 3.12 on each with a GIL of its own.
SUBINTERPRETERS = """
import sys, threading
try:
    import _interpreters as made
except ImportError:
    import _xxsubinterpreters as made
CODE = '''import time
def spin_%d():
    end = time.thread_time() + 0.1
    while time.thread_time() < end: pass
def outer_%d():
    spin_%d()
outer_%d()
'''
def run(k):
    made.run_string(made.create(), CODE % (k, k, k, k))
threads = [threading.Thread(target=run, args=(k,)) for k in (0, 1)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

GREENLETS = """
import time
from greenlet import getcurrent, greenlet
def spin(name):
    end = time.process_time() + 0.02
    while time.process_time() < end: pass
def even():
    for i in range(5):
        spin("even")
        odds.switch()
def odd():
    for i in range(5):
        spin("odd")
        evens.switch()
def main():
    evens.switch()
evens, odds = greenlet(even), greenlet(odd)
main()
"""

ZIPPED = """
import time
def spin():
    end = time.process_time() + 0.2
    while time.process_time() < end: pass
spin()
"""


def stacks_of(command, tmp_path):
    result = harness.record("-r", RATE, "--full-filenames", output=tmp_path / "out.raw", command=command)
    assert result.status == 0, result
    return [([harness.frame(label) for label in stack], count) for stack, count in result.stacks]


def script(tmp_path, text):
    path = tmp_path / "program.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("interpreter", interpreters.select((3, 8)), ids=lambda i: i.id)
def test_subinterpreters(interpreter, tmp_path):
    seen = {0: 0, 1: 0}
    stacks = stacks_of(interpreter.command + [script(tmp_path, SUBINTERPRETERS)], tmp_path)
    for stack, count in stacks:
        for k in seen:
            if stack[-1].name == "spin_%d" % k:
                assert [f.name for f in stack] == ["<module>", "outer_%d" % k, "spin_%d" % k]
                assert [f.line for f in stack[:2]] == [7, 6] and stack[2].line in (2, 3, 4)
                assert {f.file for f in stack} == {"<string>"} or interpreter.version >= (3, 13)
                seen[k] += count
    assert all(n > 0.1 * RATE / 3 for n in seen.values()), (seen, [s for s in stacks if s[0][-1].file != "<frozen"])


def has_greenlet(interpreter):
    return harness.subprocess.run(interpreter.command + ["-c", "import greenlet"], stderr=harness.subprocess.DEVNULL,
                                  env=interpreters.environment()).returncode == 0


def test_greenlets(tmp_path):
    """A greenlet's stack begins with its own function: who switched to it did not call it."""
    ours = [i for i in interpreters.find() if i.path.startswith("/usr/bin/") and not i.root and has_greenlet(i)]
    if not ours:
        pytest.skip("no interpreter has greenlet; Debian's package is python3-greenlet")
    path = script(tmp_path, GREENLETS)
    seen = {"even": 0, "odd": 0}
    for stack, count in stacks_of(ours[0].command + [path], tmp_path):
        if stack[-1].name == "spin":
            assert [f.name for f in stack[:-1]] in (["even"], ["odd"]), stack
            assert stack[-2].line == {"even": 9, "odd": 13}[stack[-2].name]
            seen[stack[-2].name] += count
    assert all(n > 0.1 * RATE / 3 for n in seen.values()), seen


@pytest.mark.parametrize("interpreter", interpreters.select(), ids=lambda i: i.id)
def test_zip_files(interpreter, tmp_path):
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as z:  # stored: no interpreter needs zlib
        z.writestr("package/__init__.py", "")
        z.writestr("package/inner.py", ZIPPED)
        z.writestr("__main__.py", "\nimport package.inner\n")
    spinning = 0
    for stack, count in stacks_of(interpreter.command + [bundle], tmp_path):
        if stack[-1].name == "spin":
            main, inner = "%s/__main__.py" % bundle, "%s/package/inner.py" % bundle
            places = [(f.name, f.file, f.line) for f in stack]
            assert ("<module>", main, 2) in places, stack
            assert places[-2] == ("<module>", inner, 6) and places[-1][1] == inner and places[-1][2] in (3, 4, 5)
            spinning += count
    assert spinning > 0.2 * RATE / 3
