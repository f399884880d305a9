#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory of pybpf while processes come and go: `churn.py [options] -- options of pybpf record`.

Births are those of an outsider's shell loop: `python3 -c TEXT`, where the text is the same each time, or has another function
(and so another command line, name and file) each time; or threads of one process that lasts. Prints resident memory, open
files and the entries of the hash maps by time, and in the end the medians of the first and of the last minute.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

TEXT = "def work_%s():\n x = 0\n for i in range(60000): x += i\n return x\n%s"
KINDS = {
    "same": lambda i: TEXT % ("", "work_()"),
    "unique": lambda i: TEXT % ("", "work_()") + "\n# birth number %d of a command line that nobody has seen before" % i,
    "functions": lambda i: "exec(compile(%r, '/srv/app%d/module_%d.py', 'exec'))" % (TEXT % (i, "work_%d()" % i), i, i),
}
THREADS = """
import sys, threading, time
def work():
    x = 0
    for i in range(60000): x += i
begin, rate, i = time.monotonic(), float(sys.argv[1]), 0
while True:
    i += 1
    time.sleep(max(0, begin + i / rate - time.monotonic()))
    threading.Thread(target=work).start()
"""


def status(pid, *names):
    with open("/proc/%d/status" % pid) as f:
        lines = dict(line.split(":", 1) for line in f)
    return [int(lines[name].split()[0]) for name in names]


def maps_of(pid):
    """{name: id} of the hash maps of a process that have an entry for each process."""
    found = {}
    for fd in os.listdir("/proc/%d/fdinfo" % pid):
        with open("/proc/%d/fdinfo/%s" % (pid, fd)) as f:
            text = f.read()
        number = re.search(r"^map_id:\s*(\d+)", text, re.M)
        if number and re.search(r"^map_type:\s*(1|9)$", text, re.M):
            shown = subprocess.run(["bpftool", "map", "show", "id", number[1]], stdout=subprocess.PIPE, text=True).stdout
            found[re.search(r"name (\S+)", shown)[1]] = number[1]
    return found


def entries(ids):
    """How many each map has."""
    return {name: subprocess.run(["bpftool", "-j", "map", "dump", "id", number], stdout=subprocess.PIPE).stdout.count(b'"key"')
            for name, number in ids.items()}


def give_birth(kind, rate, seconds, stop):
    """That many a second; how many there were. Waits for all."""
    begin, born, running = time.monotonic(), 0, []
    while time.monotonic() < begin + seconds and not stop.is_set():
        time.sleep(max(0, begin + born / rate - time.monotonic()))
        running.append(subprocess.Popen([sys.executable, "-S", "-E", "-c", KINDS[kind](born)]))
        born += 1
        running = [each for each in running if each.poll() is None]
        while len(running) > 8:
            running.pop(0).wait()
    for each in running:
        each.wait()
    return born


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--kind", choices=[*KINDS, "threads"], default="same")
    p.add_argument("--seconds", type=float, default=600)
    p.add_argument("--rate", type=float, default=20)
    p.add_argument("--pybpf", default=os.path.join(ROOT, "build", "pybpf"))
    p.add_argument("--every", type=float, default=5)
    p.add_argument("--suffix", default=".svg")
    p.add_argument("options", nargs="*")
    a = p.parse_args()
    folder = tempfile.TemporaryDirectory(prefix="pybpf-churn-")
    out = os.path.join(folder.name, "out" + a.suffix)
    recording = subprocess.Popen([a.pybpf, "record", "-o", out, "--no-progress", "--verbose", *a.options])
    time.sleep(3)
    stop, born, rows = threading.Event(), [], []
    spawner = subprocess.Popen([sys.executable, "-c", THREADS, str(a.rate)]) if a.kind == "threads" else None
    births = threading.Thread(target=lambda: born.append(give_birth(a.kind, a.rate, a.seconds, stop)), daemon=True)
    begin = time.monotonic()
    try:
        ids = maps_of(recording.pid)
        level = entries(ids)
        if not spawner:
            births.start()
        while time.monotonic() < begin + a.seconds:
            time.sleep(a.every)
            rss, anon = status(recording.pid, "VmRSS", "RssAnon")
            rows.append((time.monotonic() - begin, rss, anon, len(os.listdir("/proc/%d/fd" % recording.pid))))
            if len(rows) % 6 == 0:
                print("%5.0f s  RSS %d KB  anonymous %d KB  fds %d" % rows[-1], entries(ids), flush=True)
        if spawner:
            spawner.kill()
            spawner.wait()
        else:
            births.join()
        time.sleep(6)
        print("map entries before", level, "and after", entries(ids), "births", born)
        first = statistics.median(row[1] for row in rows if row[0] <= 60)
        last = statistics.median(row[1] for row in rows if row[0] > rows[-1][0] - 60)
        print("%s %s: first minute %d KB, last minute %d KB, %+.1f %%" % (
            a.kind, " ".join(a.options), first, last, 100 * (last / first - 1)), flush=True)
    finally:
        stop.set()
        if spawner and spawner.poll() is None:
            spawner.kill()
            spawner.wait()
        recording.send_signal(2)
        recording.wait()
    print("size of the output", os.path.getsize(out))


if __name__ == "__main__":
    main()
