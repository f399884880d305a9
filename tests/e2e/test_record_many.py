# SPDX-License-Identifier: Apache-2.0
"""Many processes: short ones one after the other, busy ones at the same time."""
import subprocess

import harness

SHORT = """
import time
def work():
    end = time.process_time() + 0.05
    while time.process_time() < end:
        sum(range(200))
work()
"""


def test_short_processes_are_named(python, tmp_path):
    script = tmp_path / "short_lived.py"
    script.write_text(SHORT)
    environment = harness.interpreters.environment()
    with harness.Recording("--all-python", "-r", 1000, "--json", output=tmp_path / "out.raw") as recording:
        recording.sampling()
        for _ in range(30):
            subprocess.run(python.command + [str(script)], check=True, env=environment, timeout=60)
        result = recording.stop()
    assert result.status == 0 and result.accounts["samples"]["lost"] == 0, result
    ours = [(stack, n) for stack, n in result.stacks if str(script) in stack[0]]
    working = sum(n for stack, n in ours if "work" in harness.names(stack))
    # Half of each process is work; the rest is the interpreter that starts and ends.
    assert working >= 30 * 45, (working, sum(n for _, n in ours))
    failed = sum(n for stack, n in ours if "[truncated" in " ".join(stack))
    assert failed <= 0.05 * sum(n for _, n in ours), result
    processes = {stack[0] for stack, _ in ours}
    assert len(processes) == 30, len(processes)


CROWD = """
import os
told, tell = os.pipe()
children = []
for i in range(int(_sys.argv[1])):
    pid = os.fork()
    if not pid:
        def spin():
            os.write(tell, b"1")
            while True:
                sum(range(500))
        spin()
    children.append(pid)
for _ in children:  # among so many, the last ones run late
    os.read(told, 1)
ready()
hear()
for pid in children:
    os.kill(pid, 9)
"""


def test_nothing_is_lost_of_many_busy_processes(any_python, target, tmp_path):
    crowd = target(any_python, CROWD, 48)
    result = harness.record("-p", crowd.pid, "-s", "-r", 1000, "-d", 3, "--json", output=tmp_path / "out.raw")
    crowd.say("end")
    assert result.status == 0, result
    assert result.accounts["samples"]["lost"] == 0 and result.accounts["samples"]["truncated"] == 0, result
    assert result.accounts["processes"] >= 40, result
    elsewhere = [stack for stack, _ in result.stacks if "spin" not in harness.names(stack)]
    assert not elsewhere, elsewhere[:2]


SPAWN = """
import subprocess, time
def spawn():
    subprocess.run(["/bin/true"])
end = time.process_time() + 0.5
while time.process_time() < end:
    spawn()
"""


def test_children_between_fork_and_exec_are_named(python, tmp_path):
    """Their memory is another program's by the time that anybody looks."""
    script = tmp_path / "spawn.py"
    script.write_text(SPAWN)
    result = harness.record("-s", "-r", 5000, output=tmp_path / "out.raw", command=python.command + [str(script)])
    assert result.status == 0, result
    assert len({stack[0] for stack, _ in result.stacks if "spawn" in harness.names(stack)}) > 5, "no child was met"
    failed = sum(n for stack, n in result.stacks if any(l.startswith("[truncated: code") for l in stack))
    assert failed <= 0.01 * result.samples, result
