# SPDX-License-Identifier: Apache-2.0
"""ns per sample in the kernel against the depth of the stack, and the fit `fixed + slope * frames`.

One recorder watches a pair of processes for each kind of stack and depth, one on each of two CPUs; one pair
runs at a time, by turns. The stacks are known, as nearly all are in a long recording. Runs of the program that
took no sample (the timer is faster than the sampling rate; other processes run, too) are subtracted at what such a run
costs by itself.
"""
import statistics
import time

from meter import Recorder
from targets import Target, Targets, outrank


def fit(by_depth):
    """Least squares over {frames: ns}: (fixed, slope)."""
    if len(by_depth) < 2:
        return None
    mx, my = statistics.mean(by_depth), statistics.mean(by_depth.values())
    slope = sum((x - mx) * (y - my) for x, y in by_depth.items()) / sum((x - mx) ** 2 for x in by_depth)
    return my - slope * mx, slope


def window(recorder, pair, seconds, idle_ns):
    """ns per sample while the pair runs, None if it hardly got to run. Of its first moments nothing is counted."""
    for target in pair:
        target.go()
    time.sleep(seconds / 4)
    before = recorder.cost()
    time.sleep(seconds)
    cost = recorder.cost() - before
    for target in pair:
        target.stop()
    time.sleep(seconds)  # for the others on this machine
    if cost.taken < 20:
        return None
    return (cost.ns - (cost.runs - cost.taken) * idle_ns) / cost.taken


def idle_cost(recorder, seconds):
    """ns of a run that takes no sample: the targets are stopped, this process runs."""
    before, end = recorder.cost(), time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    cost = recorder.cost() - before
    return cost.ns / cost.runs if cost.runs else 0


def measure(programs, kinds, depths, rate, rounds, cpus, seconds=0.06, options=()):
    """kinds: {name: function that makes the command for a depth}. {(program, name): {depth: median ns}}, and for each
    program the ns of a run without a sample."""
    found, idle = {}, {program: [] for program in programs}
    with Targets() as everyone:
        pairs = {}
        for name, command in kinds.items():
            for depth in depths:
                pairs[name, depth] = [Target(command(depth), cpu, alone=True) for cpu in cpus]
                everyone += pairs[name, depth]
        pids = ",".join(str(target.pid) for target in everyone)
        recorders = {program: Recorder(program, "-p", pids, "-r", str(rate), *options) for program in programs}
        try:
            for recorder in recorders.values():
                recorder.wait_loaded()
            outrank()
            for _ in range(rounds):
                for program, recorder in recorders.items():
                    idle[program].append(idle_cost(recorder, seconds))
                for (name, depth), pair in pairs.items():
                    for program, recorder in recorders.items():
                        ns = window(recorder, pair, seconds, statistics.median(idle[program]))
                        if ns:
                            found.setdefault((program, name), {}).setdefault(depth, []).append(ns)
        finally:
            for recorder in recorders.values():
                recorder.end()
    medians = {key: {depth: statistics.median(ns) for depth, ns in by_depth.items()} for key, by_depth in found.items()}
    return medians, {program: statistics.median(ns) for program, ns in idle.items()}
