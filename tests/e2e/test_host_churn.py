# SPDX-License-Identifier: Apache-2.0
"""Processes and threads that come and go for hours: what pybpf keeps is as much as what lives.

Counts of entries are compared rather than bytes. PYBPF_FULL=1 makes it ten times as many births; tests/bench/churn.py shows
memory by time.
"""
import os
import re
import shutil
import signal

import pytest

import harness
import test_host_maps

FULL = bool(os.environ.get("PYBPF_FULL"))
KEPT = 64 + 64  # who has ended is written and dropped once there are 64, looked for ten times a second; some come meanwhile

# Each child has a command line, a file and a function that nobody else has, and works for so many seconds.
BIRTHS = """
import os
TEXT = '''
import time
def work_%d(end):
    while time.process_time() < end: pass
work_%d(time.process_time() + %s)
'''
ready()
hear()
for number in range(int(_sys.argv[1])):
    text = "exec(compile(%r, '/srv/module_%d.py', 'exec'))" % (TEXT % (number, number, _sys.argv[2]), number)
    pid = os.posix_spawn(_sys.executable, [_sys.executable, "-S", "-E", "-c", text], os.environ)
    os.waitpid(pid, 0)
    say(pid)
say("done")
hear()
"""


def in_memory(stderr):
    """{what: how much} as --verbose told last."""
    line = [line for line in stderr.splitlines() if line.startswith("In memory: ")][-1]
    return {what: int(n) for n, what in re.findall(r"(\d+) ([a-z ]+?)(?: of native code)?[,;]", line)}


def churn(python, births, folder, *options, suffix="raw"):
    """Pids of the children, and what came of recording them all."""
    with harness.Target(python, BIRTHS, [births, 0.01], folder=folder) as program:
        program.wait_ready()
        with harness.Recording("-p", program.pid, "-s", "-r", 1000, "--verbose", "--json", *options,
                               output=folder / ("out." + suffix)) as recording:
            recording.sampling()
            program.say("go")
            said = [program.hear()]
            while said[-1] != "done":
                said.append(program.hear())
            if shutil.which("bpftool"):
                left_in_maps(recording, program, {int(word) for word in said[:-1]}, "-n" in options)
            result = recording.stop()
    assert result.status == 0, result
    assert result.accounts["samples"]["lost"] == 0, result
    assert result.accounts["processes"] >= births, result
    return result


def left_in_maps(recording, program, gone, native):
    maps = test_host_maps.maps_of(recording.pid)
    held = [maps[name] for name in ["procs", "pids"] + ["spaces"] * native]
    assert all(program.pid in test_host_maps.pids_in(each) for each in held)
    end = harness.time.monotonic() + harness.PATIENCE
    # the kernel frees a task after its parent has waited, and what it does not tell is looked for every five seconds
    while any(test_host_maps.pids_in(each) & gone for each in held):
        assert harness.time.monotonic() < end, [test_host_maps.pids_in(each) & gone for each in held]
        harness.time.sleep(0.1)


@pytest.mark.parametrize("options", [[], ["-n"], ["-t", "-F"]], ids=["plain", "native", "threads"])
def test_births(options, any_python, tmp_path):
    few, many = (200, 2000) if FULL else (90, 300)
    held = []
    for births in few, many:
        folder = tmp_path / str(births)
        folder.mkdir()
        result = churn(any_python, births, folder, *options)
        held.append(in_memory(result.stderr))
        found = {name for stack, _ in result.stacks for name in harness.names(stack) if name.startswith("work_")}
        assert len(found) == births, (len(found), births)
        lines = {stack[0] for stack, _ in result.stacks if "module_" in stack[0]}
        assert len(lines) == births, (len(lines), births)
        assert result.samples == result.accounts["samples"]["written"], result
    print(held)
    assert held[1]["processes"] <= KEPT and held[1]["threads"] <= KEPT, held
    # Each birth has four strings and three code objects that nobody else has (these stay a round longer), and some 5 frames and 7
    # stacks, of which native ones are addresses and come by chance: what is there is that of those kept, and not of all.
    for what, each in [("strings", 6), ("code objects", 6)] + [("frames", 12), ("stacks", 12)] * ("-n" not in options):
        assert held[1][what] - held[0][what] < each * KEPT, (what, held)


@pytest.mark.parametrize("suffix", ["speedscope.json", "pybpf", "svg"])
def test_formats(suffix, any_python, tmp_path):
    """Whatever is written in the end: all were kept, few at a time."""
    births = 100
    result = churn(any_python, births, tmp_path, suffix=suffix)
    held = in_memory(result.stderr)
    assert held["processes"] <= KEPT and held["threads"] <= KEPT, held
    text = (tmp_path / ("out." + suffix)).read_text(errors="replace")
    assert {"work_%d" % number for number in range(births)} <= set(re.findall(r"work_\d+", text))


def test_parts_of_a_rotation(any_python, tmp_path):
    """What a part has is its own, and little of the part before: code objects are kept for a while in case that they come again."""
    births, seconds = 100, 0.03  # one after the other: three seconds on any machine
    (tmp_path / "parts").mkdir()
    with harness.Target(any_python, BIRTHS, [births, seconds], folder=tmp_path) as program:
        program.wait_ready()
        with harness.Recording("-p", program.pid, "-s", "-n", "-r", 1000, "--rotate", "1s",
                               output=tmp_path / "parts" / "out.pybpf") as recording:
            recording.sampling()
            program.say("go")
            while program.hear() != "done":
                pass
            result = recording.stop()
    assert result.status == 0, result
    parts = sorted((tmp_path / "parts").iterdir())
    assert len(parts) > 2, parts
    met = [set(re.findall(rb"work_\d+", part.read_bytes())) for part in parts]
    assert set.union(*met) == {b"work_%d" % number for number in range(births)}
    assert sum(map(len, met)) <= 2 * births + 3 * len(parts), [len(part) for part in met]
    # of those that went first one may be there: the kernel does not tell of each end, and then it takes five seconds to be noticed
    assert len({b"work_%d" % number for number in range(10)} & met[-1]) <= 2, met[-1]


# Threads one after the other, each for some samples.
THREADS = """
import threading, time
def work():
    end = time.thread_time() + 0.005
    while time.thread_time() < end: pass
def run(count):
    for number in range(count):
        thread = threading.Thread(target=work, name="thread number %d" % number)
        thread.start()
        thread.join()
ready()
while True:
    count = hear()
    if not count: break
    run(int(count))
    say("done")
"""


def test_threads_of_a_process_that_lasts(any_python, target, tmp_path):
    """They are found to have ended, and go; their samples do not."""
    program = target(any_python, THREADS)
    count, rounds, held = 100, 0, {"threads": 0}
    with harness.Recording("-p", program.pid, "-t", "-r", 1000, "--verbose", "--json", output=tmp_path / "out.raw") as recording:
        recording.sampling()
        end = harness.time.monotonic() + harness.PATIENCE
        while rounds < 3 or held["threads"] > KEPT + count:
            assert harness.time.monotonic() < end, held
            if held["threads"] <= KEPT + count:
                program.say(count)
                assert program.hear() == "done"
                rounds += 1
            recording.heard.clear()
            recording.send(signal.SIGUSR1)
            recording.hear("Wrote ")
            held = in_memory("\n".join(recording.heard))
        result = recording.stop()
    assert result.status == 0, result
    assert result.accounts["samples"]["lost"] == 0, result
    assert result.accounts["threads"] >= 0.9 * count * rounds, result
    labels = {label for stack, _ in result.stacks for label in stack if label.startswith("thread (")}
    assert len(labels) >= 0.9 * count * rounds, len(labels)
    assert sum(n for _, n in result.stacks) == result.accounts["samples"]["written"], result
