# SPDX-License-Identifier: Apache-2.0
"""Processes that live for some milliseconds: all of their time is in the profile, and named.

PYBPF_FULL=1 makes these as large as a host's day; otherwise they last for seconds.
"""
import json
import os
import sys

import pytest

import harness

FULL = bool(os.environ.get("PYBPF_FULL"))

# Prints one line: CPU seconds of the children, as the kernel says when each is waited for.
SPAWNER = """\
import json, os, random, sys, time
script, count, seconds, words = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
random.seed(4)
begin, used, running = time.monotonic(), 0.0, 0
def collect(options):
    global used, running
    pid, status, usage = os.wait4(-1, options)
    if pid:
        assert status == 0, status
        used += usage.ru_utime + usage.ru_stime
        running -= 1
    return pid
for i in range(count):
    late = begin + seconds * i / count - time.monotonic()
    if late > 0:
        time.sleep(late)
    os.posix_spawn(words[0], words + [script, str(random.uniform(0.005, 0.030))], os.environ)
    running += 1
    while running and collect(os.WNOHANG):
        pass
    while running > 3:
        collect(0)
while running:
    collect(0)
print(json.dumps({"used": used, "seconds": time.monotonic() - begin}))
"""

# With the interpreter's start 15 to 50 ms of CPU time.
SHORT = """\
import sys, time
def inner(end):
    while time.process_time() < end:
        sum(range(100))
def outer(end):
    inner(end)
outer(time.process_time() + float(sys.argv[1]))
"""

# A parent that forks 200 a second, each 20 ms of Python, and waits for them.
STORM = """\
import json, os, sys, time
def child():
    end = time.process_time() + 0.020
    while time.process_time() < end:
        sum(range(100))
    os._exit(0)
count, rate = int(sys.argv[1]), float(sys.argv[2])
begin, used, running = time.monotonic(), 0.0, 0
def collect(options):
    global used, running
    pid, status, usage = os.wait4(-1, options)
    if pid:
        used += usage.ru_utime + usage.ru_stime
        running -= 1
    return pid
for i in range(count):
    late = begin + i / rate - time.monotonic()
    if late > 0:
        time.sleep(late)
    if not os.fork():
        child()
    running += 1
    while running and collect(os.WNOHANG):
        pass
    while running > 60:
        collect(0)
while running:
    collect(0)
print(json.dumps({"used": used, "seconds": time.monotonic() - begin, "pid": os.getpid()}))
"""


def run_under_recording(tmp_path, command, rate=1000):
    """What the program said in the end, and the result of recording all Python meanwhile."""
    with harness.Recording("--all-python", "-r", rate, "--json", output=tmp_path / "out.raw") as recording:
        recording.sampling()
        stolen = harness.stolen_seconds()
        with harness.Target(command[0], command[1], command[2], folder=tmp_path) as program:
            said = json.loads(program.hear(300))
            program.process.wait(harness.PATIENCE)
        said["stolen"] = harness.stolen_seconds() - stolen
        result = recording.stop()
    assert result.status == 0, result
    return said, result


def judge(stacks, said, rate, good):
    """At least 99 % as they should be; and as many as CPU time says: 3 %, or the statistics of so few samples."""
    used, samples = said["used"], sum(n for _, n in stacks)
    whole = sum(n for stack, n in stacks if good(stack))
    wrong = sorted(((n, stack) for stack, n in stacks if not good(stack)), reverse=True)
    # Each process adds part of a period at its begin and its end, without favour: less than Poisson's sqrt(n).
    room = max(0.03, 3.5 / (used * rate) ** 0.5) + said["stolen"] / used
    print("samples %d, CPU time says %d (%+.2f %%), whole %.3f %%" % (
        samples, used * rate, 100 * (samples / (used * rate) - 1), 100 * whole / samples), file=sys.stderr)
    assert whole >= 0.99 * samples, (whole, samples, wrong[:10])
    assert abs(samples / (used * rate) - 1) <= room, (samples, used * rate, wrong[:10])


def is_whole(stack):
    """Nothing is missing: what has no Python frame is start-up, or the kernel taking the process down."""
    return not any(label.startswith("[truncated") for label in stack) and (
        harness.names(stack)[-1] in ("[no Python frame]", "[exiting]") or "<module>" in harness.names(stack)
        or any("(<frozen " in label for label in stack))


def an_interpreter(kind):
    """The newest one of a kind."""
    found = [i for i in harness.interpreters.find() if kind in i.kinds and not i.root
             and not i.kinds & harness.interpreters.SPECIAL and (3, 11) <= i.version < (3, 15)]
    if not found:
        pytest.skip("no %s interpreter" % kind)
    return found[-1]


# Those of the other kinds load their Python by dlopen: user space is told.
KNOWN_FROM_EXEC = [i for i in harness.interpreters.find() if not i.root and (3, 6) <= i.version < (3, 16)
                   and not i.kinds & {"late", "pyinstaller", "uwsgi", "thread"}]

# Its parent is pybpf, which stands still from before each birth until after the death: only the first one can be looked at, and lives
# longer for that.
UNSEEN = """\
import os, signal, subprocess, sys
for n in range(5):
    if n: os.kill(os.getppid(), signal.SIGSTOP)
    try: subprocess.run(sys.argv[1:] + ["0.05" if n else "0.5"], check=True)
    finally: os.kill(os.getppid(), signal.SIGCONT)
"""


@pytest.mark.parametrize("interpreter", KNOWN_FROM_EXEC, ids=[i.id for i in KNOWN_FROM_EXEC])
def test_nobody_need_look_at_a_process_while_it_lives(interpreter, any_python, tmp_path):
    script = tmp_path / "short_lived.py"
    script.write_text(SHORT)
    result = harness.record("-s", "-r", 1000, output=tmp_path / "out.raw", env=harness.interpreters.environment(),
                            command=[*any_python.command, "-c", UNSEEN, *interpreter.command, script])
    assert result.status == 0, result
    ours = [(stack, n) for stack, n in result.stacks if str(script) in stack[0] and "SIGSTOP" not in stack[0]]
    named = {stack[0] for stack, _ in ours if "inner" in harness.names(stack)}
    assert len(named) >= 4, (len(named), ours)  # a page that the kernel found missing costs a name


@pytest.mark.parametrize("kind", ["static", "shared"])
def test_short_processes_one_after_the_other(kind, target, tmp_path):
    python = an_interpreter(kind)
    target(python, "ready()\nhear()\n")  # so that the file is known before: the first of its processes is a test of its own
    script = tmp_path / "short_lived.py"
    script.write_text(SHORT)
    count, seconds = (1000, 60) if FULL else (150, 6)
    said, result = run_under_recording(
        tmp_path, (python, SPAWNER, [script, count, seconds] + python.command))
    ours = [(stack, n) for stack, n in result.stacks if any(
        label.startswith("process ") and str(script) in label and "program.py" not in label for label in stack[:2])]
    assert len({stack[0] for stack, _ in ours}) == count
    judge(ours, said, 1000, is_whole)
    named = {stack[0] for stack, _ in ours if "inner" in harness.names(stack)}
    assert len(named) >= 0.99 * count, (len(named), count)


def test_fork_storm(any_python, tmp_path):
    count = 4000 if FULL else 800
    said, result = run_under_recording(tmp_path, (any_python, STORM, [count, 200]))
    parent = "process %d:" % said["pid"]
    ours = [(stack, n) for stack, n in result.stacks if stack[0].startswith("process ")
            and str(tmp_path / "program.py") in stack[0] and not stack[0].startswith(parent)]
    assert len({stack[0] for stack, _ in ours}) >= 0.99 * count
    judge(ours, said, 1000, is_whole)
    hits, samples = harness.share(ours, "child", leaf=False)
    assert hits >= 0.9 * samples, (hits, samples)
