#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`make bench`: what pybpf costs, as tables; the same as JSON in build/bench/results.json.

usage: run.py   with what is wanted in the environment (or on make's command line):
    ONLY=a,b        parts: depth, rates, unwanted, slowdown, user, start, native, tables, memory, libraries
    QUICK=1         fewer rounds
    AGAINST=PATH    a second pybpf, measured by turns with this one in `depth` and `native`
Needs root. What varies is measured by turns and given as the median; other programs of the machine disturb it
nevertheless, so that the load is told as well.
"""
import glob
import json
import os
import platform
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import interpreters  # noqa: E402
import depth  # noqa: E402
import libraries  # noqa: E402
import memory  # noqa: E402
import native  # noqa: E402
import pyspy  # noqa: E402
import slowdown  # noqa: E402
from empty import Empty  # noqa: E402
from meter import Recorder  # noqa: E402
from targets import DEEP, Target, Targets  # noqa: E402

BUILD = os.path.join(ROOT, "build")
PYBPF = os.path.join(BUILD, "pybpf")
FOLDER = os.path.join(BUILD, "bench")
QUICK = os.environ.get("QUICK", "") not in ("", "0")
AGAINST = os.environ.get("AGAINST")
DEPTHS = 5, 20, 100, 500
RATE = 10000  # of what is measured per sample: many samples, warm caches; `rates` shows the difference
ALL_CPUS = sorted(os.sched_getaffinity(0))
CPUS = ALL_CPUS[-2:]


def rounds(usual):
    return max(2, usual // 5) if QUICK else usual


def table(title, head, rows):
    """Printed, as Markdown has it."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print("\n%s\n" % title)
    for row in head, ["-" * w for w in widths], *rows:
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |")
    sys.stdout.flush()


def plain(least=(3, 6)):
    """One interpreter of each version; the plain builds of the machine come first."""
    chosen = interpreters.select(least)
    return chosen[::2] + chosen[-1:] if QUICK and len(chosen) > 6 else chosen


def python_for_work():
    return next((p for p in plain() if p.version[:2] == (3, 12)), plain()[-1])


def deep(python):
    return lambda frames: [*python.command, "-c", DEEP, str(frames)]


def percent(part):
    return "%.2f %%" % (part * 100)


def ratio(mine, other):
    return "%.0f" % (other / mine) if mine and other else "-"


# ---- the parts: each prints its table and returns what the JSON has

def print_depth(title, programs, names, medians):
    rows, out = [], {}
    for name in names:
        for program in programs:
            by_depth = medians.get((program, name), {})
            fitted = depth.fit(by_depth)
            rows.append([name + (" (%s)" % program if len(programs) > 1 else "")] +
                        ["%.0f" % ns for ns in by_depth.values()] +
                        ["%.0f + %.1f a frame" % fitted if fitted else "-"])
            if program == PYBPF:
                out[name] = {"ns": by_depth, "fit": fitted}
    depths = list(next(iter(medians.values())))
    table(title, ["", *("%d frames" % d for d in depths), "fit, ns"], rows)
    return out


def part_depth(_):
    programs = [PYBPF] + ([AGAINST] if AGAINST else [])
    kinds = {p.id: deep(p) for p in plain()}
    medians, idle = depth.measure(programs, kinds, DEPTHS, RATE, rounds(10), CPUS)
    out = print_depth("ns of a sample in the kernel, known stack, at %d Hz (py-spy does not apply: it works in user "
                      "space)" % RATE, programs, kinds, medians)
    print("\na run of the timer's program that takes no sample: %.0f ns" % idle[PYBPF])
    return {"kinds": out, "idle_ns": idle[PYBPF]}


def part_rates(_):
    python, out, rows = python_for_work(), {}, []
    for rate in 100, 1000, 10000, 20000:
        medians, _ = depth.measure([PYBPF], {python.id: deep(python)}, [20], rate, rounds(10), CPUS,
                                   seconds=max(0.06, 20 / rate))
        ns = medians[PYBPF, python.id][20]
        rows.append(["%d Hz" % rate, "%.0f" % ns, percent(ns * 1e-9 * rate)])
        out[rate] = ns
    table("the same against the rate, 20 frames of %s: caches are colder when it is low" % python.id,
          ["rate", "ns a sample", "of a CPU"], rows)
    return out


def unwanted(idle, busy, rate, seconds):
    """(ns of the timer's program for those who are busy, ns of one that does nothing, samples taken)."""
    for target in busy:
        target.go()
    with Recorder(PYBPF, "-p", str(idle.pid), "-r", str(rate)) as recorder:
        recorder.wait_loaded()
        time.sleep(0.2)
        before = recorder.cost()
        time.sleep(seconds)
        cost = recorder.cost() - before
    with Empty(ALL_CPUS, rate) as empty:
        time.sleep(0.2)
        before = empty.cost()
        time.sleep(seconds)
        least = [now - then for now, then in zip(empty.cost(), before)]
    for target in busy:
        target.stop()
    return cost.ns / cost.runs, least[0] / least[1], cost.taken


def part_unwanted(_):
    """-p of a process that does nothing, while others, one or several on each CPU, keep all of them busy."""
    python, seconds, out, rows, rates = python_for_work(), 1 if QUICK else 4, {}, [], (100, 1000, 10000)
    for name, command, each in (("C", [os.path.join(BUILD, "tests", "deep"), "20"], 1),
                                ("one Python a CPU", deep(python)(20), 1), ("four Pythons a CPU", deep(python)(20), 4)):
        with Targets(Target(command, cpu) for cpu in ALL_CPUS for _ in range(each)) as busy, \
                Targets([Target(deep(python)(20))]) as idle:
            found = {rate: unwanted(idle[0], busy, rate, seconds) for rate in rates}
        rows.append([name] + ["%.0f, %.0f" % found[rate][:2] for rate in rates] + [sum(taken for _, _, taken in found.values())])
        out.update({"%s at %d Hz" % (name, rate): {"ns": found[rate][0], "empty_ns": found[rate][1]} for rate in rates})
    table("ns of the timer's program when somebody runs who is not wanted, and of one that does nothing; the two readings of the "
          "clock that the kernel measures by are in both", ["who runs", *("%d Hz" % rate for rate in rates), "samples"], rows)
    return out


def part_slowdown(spy):
    python, rates = python_for_work(), (100, 1000, 10000)

    def with_pybpf(rate):
        def start(pid):
            recorder = Recorder(PYBPF, "-p", str(pid), "-r", str(rate))
            recorder.first_sample()
            return recorder
        return start

    def with_spy(rate, *args):
        def start(pid):
            running = pyspy.PySpy(spy, pid, rate, *args)
            time.sleep(0.5)
            return running
        return start
    def timer_alone(rate):
        return lambda pid: slowdown.Timer(CPUS[-1], rate)
    profilers = {("interrupts alone", rate): timer_alone(rate) for rate in rates}
    profilers.update({("pybpf, with them", rate): with_pybpf(rate) for rate in rates})
    if spy:
        for rate in rates:
            profilers["py-spy", rate] = with_spy(rate)
            profilers["py-spy --nonblocking", rate] = with_spy(rate, "--nonblocking")
    found = slowdown.measure(python.command, CPUS[-1], profilers, rounds(12))
    names = list(dict.fromkeys(name for name, _ in profilers))
    table("slowdown of a %s program 20 frames deep; interrupts are those of a timer at the rate of pybpf's, with no "
          "program behind it: what they cost is up to the machine, most in virtual ones" % python.id,
          ["profiler", *("%d Hz" % rate for rate in rates)],
          [[name] + [percent(found[name, rate]) for rate in rates] for name in names])
    return {"%s at %d Hz" % key: value for key, value in found.items()}


def demo():
    """Two busy programs that are like real ones."""
    folder = os.path.join(ROOT, "scripts", "demo")
    return [["/usr/bin/python3", os.path.join(folder, name)] for name in ("simulation.py", "service.py")]


def part_user(spy):
    seconds, out = (3 if QUICK else 10), {}
    with Targets(Target(command) for command in demo()) as busy:
        pids = ",".join(str(target.pid) for target in busy)
        for target in busy:
            target.go()
        for name, options in ("pybpf", []), ("pybpf -n", ["-n"]), ("pybpf, 1000 Hz", ["-r", "1000"]):
            with Recorder(PYBPF, "-p", pids, *options) as recorder:
                recorder.first_sample()
                time.sleep(0.5)
                before, taken, start = recorder.cpu_ns(), recorder.taken(), time.monotonic()
                time.sleep(seconds)
                cpu = (recorder.cpu_ns() - before) / 1e9 / (time.monotonic() - start)
                out[name] = cpu, recorder.taken() - taken, recorder.end()["cost"]["peak_rss_bytes"]
        if spy:
            runs = [pyspy.PySpy(spy, target.pid, 100) for target in busy]
            time.sleep(1)
            before, start = sum(run.cpu_ns() for run in runs), time.monotonic()
            time.sleep(seconds)
            cpu = (sum(run.cpu_ns() for run in runs) - before) / 1e9 / (time.monotonic() - start)
            rss = sum(run.peak_rss() for run in runs)
            out["py-spy, one for each process"] = cpu, sum(run.end() for run in runs), rss
    first = out["pybpf"]
    table("user space while it records two busy programs, 100 Hz",
          ["profiler", "CPU", "peak RSS", "CPU and RSS in pybpf's"],
          [[name, percent(cpu), "%.1f MB" % (rss / 1e6), "%.1f, %.1f" % (cpu / first[0], rss / first[2])]
           for name, (cpu, _, rss) in out.items()])
    return {name: {"cpu": cpu, "peak_rss_bytes": rss} for name, (cpu, _, rss) in out.items()}


def part_start(spy):
    kinds = {"pybpf record -p": [], "pybpf record -n -p": ["-n"]}
    times, python = {}, python_for_work()
    with Targets([Target(deep(python)(20), cpu) for cpu in CPUS]) as busy:
        pids = ",".join(str(target.pid) for target in busy)
        for target in busy:
            target.go()
        for _ in range(rounds(15)):
            for name, options in {**kinds, "pybpf record --all-python": None}.items():
                which = ["--all-python"] if options is None else [*options, "-p", pids]
                with Recorder(PYBPF, *which) as recorder:
                    times.setdefault(name, []).append(recorder.first_sample())
                    times.setdefault(name + ", CPU time", []).append(recorder.cpu_ns() / 1e9)
            if spy:
                seconds = pyspy.dump_seconds(spy, busy[0].pid)
                if seconds:
                    times.setdefault("py-spy dump, from start to end", []).append(seconds)
    table("from the start to the first sample, ms; both CPUs are busy",
          ["command", "median", "least", "most"],
          [[name] + ["%.0f" % (1000 * f(values)) for f in (statistics.median, min, max)]
           for name, values in times.items()])
    return {name: statistics.median(values) for name, values in times.items()}


def part_native(_):
    programs = [PYBPF] + ([AGAINST] if AGAINST else [])
    medians, _ = depth.measure(programs, {"C, without frame pointers": lambda n: [
        os.path.join(BUILD, "tests", "deep"), str(n)]}, (10, 50, 200, 800), RATE, rounds(15), CPUS, options=["-n"])
    return print_depth("-n: ns of a sample in the kernel against native frames, known tables, at %d Hz" % RATE,
                       programs, ["C, without frame pointers"], medians)


def part_tables(_):
    found = native.tables(os.path.join(BUILD, "tests", "unwind_tables"), native.libraries(plain()))
    table("-n: unwind tables", ["binary", "compile, ms", "from the cache, ms", "rows", "bytes", "bytes a row"],
          [[t["file"], t["compile_ms"], t["load_ms"], t["rows"], t["bytes"], t["bytes_a_row"]] for t in found])
    return found


def part_memory(_):
    pythons = [p for p in interpreters.select((3, 10), (3, 15)) if not p.root][-5:]
    found = memory.measure(PYBPF, pythons, FOLDER, 50, 10 if QUICK else 60)
    table("RSS with -n: %d processes of %d interpreters, pandas in %d" % (found["processes"], found["interpreters"],
                                                                         found["with_pandas"]),
          ["peak RSS, MB", "all BPF maps, MB", "unwind tables, MB", "tables", "samples", "truncated"],
          [["%.1f" % (found["rss_bytes"] / 1e6), "%.1f" % (found["map_bytes"] / 1e6), "%.1f" % (found["table_bytes"] / 1e6),
            found["tables"], found["samples"], found["truncated"]]])
    return found


def part_libraries(_):
    python = python_for_work()
    found = libraries.measure(PYBPF, python, FOLDER, 5 if QUICK else 45)
    table("-n with libraries from PyPI on %s, 1000 Hz, from exec on" % python.id,
          ["library", "samples", "incomplete", "share", "reasons", "native and Python frames", "[unknown]"],
          [[name] + ([t["samples"], t["marked"], percent(t["marked"] / max(1, t["samples"])),
                      ", ".join("%d %s" % (n, why) for why, n in t["reasons"].items()) or "-", t["frames"], t["unnamed"]]
                     if t else ["not to be had"] + [""] * 5) for name, t in found.items()])
    return found


PARTS = {"depth": part_depth, "rates": part_rates, "unwanted": part_unwanted,
         "slowdown": part_slowdown, "user": part_user, "start": part_start,
         "native": part_native, "tables": part_tables, "memory": part_memory, "libraries": part_libraries}


def cpu_model():
    with open("/proc/cpuinfo") as f:
        models = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    return models[0] if models else platform.machine()


def main():
    wanted = [word for word in os.environ.get("ONLY", "").replace(",", " ").split()] or list(PARTS)
    for word in wanted:
        if word not in PARTS:
            raise SystemExit("bench: no such part: %s (there are %s)" % (word, ", ".join(PARTS)))
    if os.geteuid():
        raise SystemExit("bench: not root")
    os.makedirs(FOLDER, exist_ok=True)
    spy, why = pyspy.find(FOLDER) if {"slowdown", "user", "start"} & set(wanted) else (None, None)
    head = {"cpu": cpu_model(), "cpus": len(ALL_CPUS), "kernel": platform.release(), "time": time.strftime("%F %T"),
            "load": os.getloadavg(), "py_spy": bool(spy)}
    print("%s, %d CPUs, Linux %s; load %.1f %.1f %.1f at the start" % (head["cpu"], head["cpus"], head["kernel"],
                                                                      *head["load"]))
    if why:
        print("no py-spy: %s" % why)
    results = {"machine": head, "quick": QUICK}
    for word in PARTS:
        if word in wanted:
            results[word] = PARTS[word](spy)
            with open(os.path.join(FOLDER, "results.json"), "w") as f:
                json.dump(results, f, indent="\t")
    print("\nload %.1f %.1f %.1f at the end; all figures: %s" % (*os.getloadavg(),
                                                               os.path.relpath(os.path.join(FOLDER, "results.json"))))


if __name__ == "__main__":
    main()
