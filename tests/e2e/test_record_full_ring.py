# SPDX-License-Identifier: Apache-2.0
"""A profiler that is kept from running: what finds no room is counted, and said, and the recording goes on."""
import os
import re
import signal

import harness

# Burns CPU time in the function that it is told, and says when that is over.
TURNS = """
import time
def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(2000))
def unheard(seconds):
    spin(seconds)
def heard(seconds):
    spin(seconds)
ready()
while True:
    name, seconds = hear().split()
    globals()[name](float(seconds))
    say('done')
"""
RATE = 1000
# The kernel has room for the samples of four seconds, as a power of two: user/collect/kernel.c.
SECONDS_OF_ROOM = 4096 / RATE


def test_samples_without_room_are_counted_as_lost(any_python, target, tmp_path):
    program = target(any_python, TURNS)
    os.sched_setaffinity(program.pid, {min(os.sched_getaffinity(0))})  # each CPU has room of its own
    with harness.Recording("-p", program.pid, "-r", RATE, "--json", output=tmp_path / "out.raw") as recording:
        recording.sampling().send(signal.SIGSTOP)
        program.say("unheard", SECONDS_OF_ROOM + 1.5)
        assert program.hear() == "done"
        recording.send(signal.SIGCONT)
        program.say("heard", 1)
        assert program.hear() == "done"
        result = recording.stop()
    assert result.status == 0, result
    run = result.accounts
    taken, written, lost = (run["samples"][word] for word in ("taken", "written", "lost"))
    assert taken == written + lost
    assert list(run["lost"]) == ["ring_full"] and run["lost"]["ring_full"] == lost
    # of a second and a half at least half a second's worth, wherever the ticks of a busy CPU went
    assert lost > RATE / 2
    assert result.samples == written
    for name in "unheard", "heard":
        assert harness.share(result.stacks, name, leaf=False)[0] > 0, name
    last = result.stderr.splitlines()[-1]
    said = re.fullmatch(r"Lost (\d+) of (\d+) samples \(([\d.]+) %\): ring_full (\d+)", last)
    assert said, last
    assert list(map(int, said.group(1, 2, 4))) == [lost, taken, lost]
    assert abs(float(said[3]) - 100 * lost / taken) <= 0.005 + 1e-9
