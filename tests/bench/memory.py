# SPDX-License-Identifier: Apache-2.0
"""Memory of pybpf with native stacks of many processes: of its own (its children's included), and of the kernel's for maps."""
import json
import os
import subprocess
import sys
import tempfile

import interpreters
import libraries

PROGRAM = """
import random, time
try:
    import numpy, pandas
except ImportError:
    pandas = None

def in_python():
    return sorted((random.random() for _ in range(2000)), key=lambda x: -x)

def in_pandas():
    n = 3000
    frame = pandas.DataFrame({"key": numpy.random.randint(0, 50, n), "value": numpy.random.rand(n),
                              "name": ["n%d" % (i % 100) for i in range(n)]})
    frame.groupby("key").value.agg(["mean", "sum"])
    frame.merge(frame.groupby("name").value.sum().reset_index(), on="name").sort_values(["name", "key"])
    frame.name.str.upper()

print("pandas" if pandas else "plain", flush=True)
while True:
    in_python()
    if pandas:
        in_pandas()
    time.sleep(0.01)
"""


def with_pandas(python, folder):
    """Environment for the interpreter, with pandas in it if it can be had."""
    return interpreters.environment(PYTHONPATH=libraries.installed(python, ["pandas"], folder) or "", OPENBLAS_NUM_THREADS="1")


def measure(pybpf, pythons, folder, processes, seconds):
    """{"processes", "interpreters", "with_pandas", "rss_bytes", "map_bytes", "table_bytes", "tables", "samples", "truncated"}."""
    running, pandas = [], 0
    environments = [with_pandas(python, folder) for python in pythons]
    try:
        for i in range(processes):
            running.append(subprocess.Popen([*pythons[i % len(pythons)].command, "-c", PROGRAM], stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, env=environments[i % len(pythons)]))
        for each in running:
            pandas += each.stdout.readline() == b"pandas\n"
        with tempfile.TemporaryDirectory(prefix="pybpf-bench-") as out:
            accounts = os.path.join(out, "accounts")
            child = os.posix_spawn(pybpf, [pybpf, "record", "-n", "--quiet", "-p", ",".join(str(each.pid) for each in running), "-d",
                                           str(seconds), "-o", os.path.join(out, "out.svg"), "--json=" + accounts], os.environ)
            _, status, usage = os.wait4(child, 0) # the largest of it and those that it waited for
            if status:
                sys.exit("bench: recording %d processes failed" % processes)
            with open(accounts) as f:
                told = json.load(f)
    finally:
        for each in running:
            each.kill()
            each.wait()
            each.stdout.close()
    return {"processes": processes, "interpreters": len(pythons), "with_pandas": pandas, "rss_bytes": usage.ru_maxrss * 1024,
            "map_bytes": told["native"]["map_bytes"], "table_bytes": told["native"]["table_bytes"],
            "tables": told["native"]["tables"], "samples": told["samples"]["taken"], "truncated": told["samples"]["truncated"]}
