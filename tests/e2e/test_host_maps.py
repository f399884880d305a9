# SPDX-License-Identifier: Apache-2.0
"""What the kernel side keeps of processes goes with them."""
import contextlib
import glob
import json
import os
import re
import shutil
import subprocess

import pytest

import harness

pytestmark = pytest.mark.skipif(not shutil.which("bpftool"), reason="no bpftool")

# exec over exec in one pid, from Python to Python to another program, and children that are only forked.
CHURN = """
import os
ready()
hear()
for _ in range(15):
    pid = os.fork()
    if not pid: os._exit(0)
    os.waitpid(pid, 0)
    say(pid)
    again = [_sys.executable, "-S", "-E", "-c", "import os; os.execv('/bin/true', ['true'])"]
    pid = os.posix_spawn(_sys.executable, [_sys.executable, "-S", "-E", "-c",
                         "import os, sys; os.execv(sys.executable, %r)" % again], os.environ)
    os.waitpid(pid, 0)
    say(pid)
say("done")
hear()
"""


def bpftool(*words):
    return json.loads(subprocess.run(["bpftool", "-j", *map(str, words)], stdout=subprocess.PIPE, check=True).stdout)


def maps_of(pid):
    """{name: id} of the maps that a process has open."""
    ids = set()
    for path in glob.glob("/proc/%d/fdinfo/*" % pid):
        with contextlib.suppress(OSError), open(path) as f:
            ids.update(re.findall(r"^map_id:\s*(\d+)", f.read(), re.M))
    return {bpftool("map", "show", "id", each).get("name"): int(each) for each in ids}


def pids_in(map_id):
    """The keys of a map by pid."""
    return {int.from_bytes(bytes(int(byte, 16) for byte in entry["key"]), "little")
            for entry in bpftool("map", "dump", "id", map_id)}


@pytest.mark.parametrize("native", [False, True])
def test_exec_churn_leaves_nothing_behind(native, any_python, target, tmp_path):
    program = target(any_python, CHURN)
    options = ["-p", program.pid, "-s", "-r", 500] + ["-n"] * native
    with harness.Recording(*options, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        program.say("go")
        said = []
        while not said or said[-1] != "done":
            said.append(program.hear())
        gone = {int(word) for word in said[:-1]}
        maps = maps_of(recording.pid)
        held = [maps["procs"]] + [maps["spaces"]] * native
        assert all(program.pid in pids_in(each) for each in held)  # that is how one is found
        end = harness.time.monotonic() + harness.PATIENCE
        # the kernel frees a task some time after its parent has waited for it
        while any(pids_in(each) & gone for each in held):
            assert harness.time.monotonic() < end, [pids_in(each) & gone for each in held]
            harness.time.sleep(0.1)
        result = recording.stop()
    assert result.status == 0 and len(gone) >= 15, result
    assert not any(os.path.exists("/proc/%d" % pid) for pid in gone)


@pytest.mark.parametrize("written", [8, 16], ids=["start", "start-and-memory"])
def test_two_cpus_meet_a_process_at_once(written, any_python, target, tmp_path):
    """What one has begun to write of it, its start, its memory, then who it is, the other one completes rather than passing it over."""
    program = target(any_python, "ready()\nhear()\nwhile True: sum(range(300))\n")
    with harness.Recording("-p", program.pid, "-r", 500, "--json", output=tmp_path / "out.raw") as recording:
        recording.sampling()
        procs = maps_of(recording.pid)["procs"]
        key = ["0x%02x" % byte for byte in program.pid.to_bytes(4, "little")]
        entry = bpftool("map", "lookup", "id", procs, "key", *key)
        assert set(entry["value"][:24]) == {"0x00"}, entry  # it sleeps: nobody has met it
        entry["value"][:written] = ["0x01"] * written
        subprocess.run(["bpftool", "map", "update", "id", str(procs), "key", *key, "value", *entry["value"]], check=True)
        program.say("go")
        harness.wait_busy(program.pid, 0.3)
        result = recording.stop()
    assert result.status == 0 and result.accounts["processes"] == 1, result
    assert harness.complete(result.stacks) == result.samples > 100, result
