# SPDX-License-Identifier: Apache-2.0
"""A library whose file is written anew in its place while it is recorded: what was there is not named by what is there now."""
import subprocess

import harness

# The functions are neither in the same place nor of the same frame size.
FIRST = "void first(void) { for (volatile long i = 0; i < 20000000; i++); }"
SECOND = """
void other(char *to) { for (int i = 0; i < 4000; i++) to[i] = 0; }
void second(void) { char room[4000]; other(room); for (volatile long i = 0; i < 20000000; i++); }
"""
CALL = """
import ctypes
work = getattr(ctypes.CDLL(_sys.argv[1]), _sys.argv[2])
def main():
    for _ in range(10): work()
ready()
hear()
main()
say("done")
hear()
"""


def test_a_library_that_is_written_anew(any_python, target, tmp_path):
    library, other = tmp_path / "library.so", tmp_path / "other.so"
    for path, text in (library, FIRST), (other, SECOND):
        subprocess.run(["gcc", "-O1", "-fomit-frame-pointer", "-shared", "-fPIC", "-x", "c", "-o", path, "-"], input=text.encode(), check=True)
    with harness.Recording("--all-python", "-n", "-r", 1000, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        pids = {}
        for name in "first", "second":
            program = target(any_python, CALL, library, name)
            pids[name] = program.pid
            program.say("go")
            assert program.hear() == "done"
            program.stop()
            if name == "first":
                library.write_bytes(other.read_bytes())  # the same inode
        result = recording.stop()
    assert result.status == 0, result
    for name, pid in pids.items():
        found = {}
        for stack, n in result.stacks:
            if stack[0].startswith("process %d:" % pid) and "main" in harness.names(stack) and "library.so" in stack[-1]:
                found[stack[-1]] = found.get(stack[-1], 0) + n
                assert harness.names(stack)[1] == "_start" and "truncated" not in " ".join(stack), stack
        assert sum(found.values()) > 100, (found, result)
        if name == "first":  # nothing is there any more to name it by
            assert all(label.startswith("library.so+0x") for label in found), found
        else:
            assert set(found) == {"second (library.so)"}, found
