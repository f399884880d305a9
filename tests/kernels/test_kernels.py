# SPDX-License-Identifier: Apache-2.0
"""The same BPF object in the oldest kernel that is supported, the newest one, and Debian's in between.

Each kernel boots once, in QEMU without KVM, and runs every case of guests.py there; the tests look at what was left
behind. A guest is slow and its clocks are coarse: nothing here is asserted of times.
"""

import collections
import itertools
import json
import math
import re

import guests
import pytest

PYTHONS = list(guests.pythons())


def test_check_allows_recording(guest, measured):
    probes = {p["what"]: p for p in json.loads(guest.passed("check"))}
    needed = ["BTF", "BPF program load", "BPF hooks attach", "perf software clock", "mapping records", "ring buffer"]
    assert {what: probes[what]["ok"] for what in needed} == dict.fromkeys(needed, True)
    for probe in probes.values():
        assert probe["detail"]
        assert probe["ok"] or probe["remedy"], probe
    direct = probes["task access"]["detail"].startswith("direct")
    assert direct == (guest.label != "5.10")
    measured(f"boot to init {guest.text('boot-seconds').strip()} s; task access {probes['task access']['detail']}")


def test_programs_verify(guest, measured):
    programs = json.loads(guest.passed("verify"))
    assert {p["config"] for p in programs} == {"plain", "all on"}
    for program in programs:
        assert 0 < program["verified"] < 1000000 // 2, program  # BPF_COMPLEXITY_LIMIT_INSNS, with room
        measured("{config:7} {program:10} {verified:7} instructions verified, {instructions:5} in the program, "
                 "{jited_bytes:6} bytes of machine code".format(**program))


@pytest.mark.parametrize("python", PYTHONS)
def test_command_is_named_with_its_shares(guest, measured, python):
    grind, sift = map(float, guest.passed(f"mill-{python}").split())
    run = guest.accounts(guest.text(f"mill-{python}.json"))
    counts = collections.Counter()
    for frames, count in guest.stacks(f"mill-{python}.raw"):
        functions = [guests.function_of(f) for f in frames]
        if functions[:2] == ["<module>", "main"]:
            counts[functions[-1].rsplit(".", 1)[-1]] += count
    n, share = counts["grind"] + counts["sift"], grind / (grind + sift)
    assert n > 100 and n > 0.9 * sum(counts.values()), (counts, run, guest.text(f"mill-{python}.raw")[:1000])
    seen, sigma = counts["grind"] / n, math.sqrt(share * (1 - share) / n)
    measured(f"{python}: grind {100 * seen:.1f} % of {n} samples (of {run['samples']['written']} in all), "
             f"by its own clock {100 * share:.1f} %")
    assert abs(seen - share) < 4 * sigma + 0.03


def test_native_stack_of_a_thread_in_the_kernel(guest, measured):
    """User space's registers are found although the kernel was interrupted: by a helper from 5.15 on, else by size."""
    guest.passed("pump")
    run = guest.accounts(guest.text("pump.json"))
    calls = pending = 0
    for frames, count in guest.stacks("pump.raw"):
        if "pump (pump.py:" not in ";".join(frames) or not frames[-1].endswith("_[k]"):
            continue
        if any(f.startswith("[truncated: native_pending]") for f in frames):
            pending += count
            continue
        functions = [guests.function_of(f) for f in frames]
        at = functions.index("<module>")
        # the C library has called the interpreter; in a system call, the interpreter has called the C library
        assert functions[at:at + 3] == ["<module>", "main", "pump"], frames
        assert any("(libc" in f for f in frames[:at]), frames
        calls += count if any("(libc" in f for f in frames[at + 3:]) else 0
    measured(f"{calls} stacks of system calls are complete, {pending} came before the tables; "
             f"{run['samples']['written']} samples in all, truncated {run['truncated']}")
    assert calls > 20


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("depth", guests.DEPTHS)
def test_recursion_is_complete(guest, measured, depth, python):
    run = guest.accounts(guest.passed("dive"))
    # Memory that the kernel is just moving can't be read at a tick: the sample says so, and there are few.
    assert set(run["truncated"]) <= {"frame_fault", "tstate_fault"}, run["truncated"]
    assert run["samples"]["truncated"] <= 0.01 * run["samples"]["written"]
    command, seen = f'"{guests.pythons()[python]} /tests/dive.py {depth} ', collections.Counter()
    for frames, count in guest.stacks("dive.raw"):
        if command in frames[0]:
            functions = [guests.function_of(f) for f in frames[1:]]
            seen[tuple((name, len(list(same))) for name, same in itertools.groupby(functions))] += count
    complete = seen.pop((("<module>", 1), ("dive", depth), ("burn", 1)))
    assert all(frames[0][0].startswith("[truncated: ") for frames in seen), seen
    measured(f"{python}: {complete} samples of a recursion of {depth} are complete, {sum(seen.values())} truncated "
             f"{run['truncated'] or ''}")


def test_processes_of_the_host_are_seen(guest, measured):
    """One that was there before, one that starts meanwhile, and one that a shell forks and then executes."""
    run = guest.accounts(guest.passed("all"))
    pids = json.loads(guest.text("all.pids"))
    burning = dict.fromkeys(pids, 0)
    for frames, count in guest.stacks("all.raw"):
        functions = [guests.function_of(f) for f in frames[1:]]
        for depth, (name, pid) in enumerate(pids.items(), 3):
            if re.match(rf"process {pid}:", frames[0]) and functions == ["<module>"] + ["dive"] * depth + ["burn"]:
                burning[name] += count
    measured(f"all Python processes: {run['processes']} of them, samples {burning}")
    assert run["processes"] == len(pids)
    # All three burn from when they are up until the end, on two CPUs.
    assert min(burning.values()) > 20


def test_cpus_that_come_are_sampled(guest, measured):
    """One that is plugged in while recording, and one that was gone for less than user space takes to notice."""
    guest.accounts(guest.passed("plug"))
    pids, burning = json.loads(guest.text("plug.pids")), collections.Counter()
    for frames, count in guest.stacks("plug.raw"):
        for depth, (name, pid) in enumerate(pids.items(), 3):
            if re.match(rf"process {pid}:", frames[0]) and guests.function_of(frames[-1]) == "burn":
                assert [guests.function_of(f) for f in frames[1:]] == ["<module>"] + ["dive"] * depth + ["burn"], frames
                burning[name] += count
    measured(f"samples of a CPU that came {burning['late']}, that came back {burning['back']}")
    assert burning["late"] > 20 and burning["back"] > 20, burning
