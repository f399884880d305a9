# SPDX-License-Identifier: Apache-2.0
"""py-spy, for comparison: from PyPI, in an environment under build/bench that is made once."""
import os
import signal
import subprocess
import tempfile
import time


def find(folder):
    """(its path, None), or (None, why it is not there)."""
    venv = os.path.join(folder, "venv")
    program = os.path.join(venv, "bin", "py-spy")
    if not os.path.exists(program):
        for command in (["/usr/bin/python3", "-m", "venv", venv],
                        [os.path.join(venv, "bin", "pip"), "-q", "install", "py-spy"]):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                return None, (done.stdout.strip().splitlines() or ["it could not be installed"])[-1]
    return program, None


class PySpy:
    """py-spy record of one process, until it is ended."""

    def __init__(self, program, pid, rate, *args):
        self.folder = tempfile.TemporaryDirectory(prefix="pybpf-bench-")
        self.output = os.path.join(self.folder.name, "out.raw")
        self.process = subprocess.Popen(
            [program, "record", "-p", str(pid), "-r", str(rate), "-d", "600", "-f", "raw", "-o", self.output, *args],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cpu_ns(self):
        folder, total = f"/proc/{self.process.pid}/task", 0
        for task in os.listdir(folder):
            with open(os.path.join(folder, task, "schedstat")) as f:
                total += int(f.read().split()[0])
        return total

    def peak_rss(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))

    def end(self):
        """Samples that it has written."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=30)
            with open(self.output) as f:
                return sum(int(line.rsplit(None, 1)[1]) for line in f if line.strip())
        except (subprocess.TimeoutExpired, OSError):
            return 0
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()


def dump_seconds(program, pid):
    """From its start to the end of one stack in writing; None if there was none."""
    start = time.monotonic()
    done = subprocess.run([program, "dump", "-p", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return None if done.returncode else time.monotonic() - start
