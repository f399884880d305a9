# SPDX-License-Identifier: Apache-2.0
"""Native stacks where there is no Python to go with them: they need no layout of it."""
import subprocess

import harness

AT_EXIT = """
import ctypes
library = ctypes.CDLL(_sys.argv[1])
ctypes.pythonapi.Py_AtExit(library.last)
ready()
"""
LAST = "void last(void) { for (volatile long i = 0;; i++); }"


def test_an_interpreter_that_has_ended(python, target, record, tmp_path):
    """Nothing of it can prove the layout any more; and nothing that is shown hangs on that."""
    library = tmp_path / "last.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-fomit-frame-pointer", "-x", "c", "-o", library, "-"], input=LAST.encode(), check=True)
    program = target(python, AT_EXIT, library)
    harness.wait_busy(program.pid, 0.2)
    ran = record("-n", "-p", program.pid, "-r", 500, "-d", 1.5, "--json")
    assert ran.status == 0, ran
    assert ran.samples > 100 and ran.accounts["samples"]["truncated"] == 0, ran
    for stack, _ in ran.stacks:
        assert stack[-1] == "last (last.so)" and stack[0].startswith("_start ("), stack
