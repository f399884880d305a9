#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`make demo`: ten seconds of all Python on this machine, with two programs of its own so that there is some.

usage: demo.py PYBPF OUTPUT
"""
import os
import pathlib
import signal
import subprocess
import sys

SECONDS = 10
HERE = pathlib.Path(__file__).resolve().parent


class Workload:
    """The two programs, from start to end. They are ended by pid, whatever happens."""

    def __init__(self, *names):
        self.names, self.running = names, []

    def __enter__(self):
        try:
            for name in self.names:
                # apart from the terminal's Control-C: they are ended here, once the profile is written
                self.running.append(subprocess.Popen([sys.executable, str(HERE / name)], stdin=subprocess.DEVNULL,
                                                     stdout=subprocess.PIPE, start_new_session=True))
            for name, process in zip(self.names, self.running):
                if process.stdout.readline() != b"ready\n":
                    raise SystemExit("demo: %s did not start" % name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.kill()
            process.wait()
            process.stdout.close()


def record(pybpf, output):
    """pybpf's exit status. A Control-C reaches it, too: it writes what it has and ends."""
    process = subprocess.Popen([pybpf, "record", "--all-python", "-d", str(SECONDS), "-o", output])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return process.wait()


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__.strip().splitlines()[-1])
    pybpf, output = sys.argv[1:]
    if os.geteuid():
        raise SystemExit("demo: recording needs root: run `sudo make demo`")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Workload("simulation.py", "service.py") as workload:
        print("Profiling all Python of this machine for %d s, among it a simulation (pid %d) and a web service (pid %d)."
              % (SECONDS, *[p.pid for p in workload.running]), flush=True)
        status = record(pybpf, output)
    if status == 0:
        print("Open %s in a browser: click to zoom, Control-F to search." % output)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
