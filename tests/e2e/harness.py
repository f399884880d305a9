# SPDX-License-Identifier: Apache-2.0
"""What end-to-end tests share: programs to profile, runs of pybpf, and what came out of them.

Nothing here sleeps until it passes: a program says when it is ready and is told when to go on, a recording
says when it samples. Everything that is started is ended by its pid, also when a test fails.
"""
import collections
import contextlib
import errno
import json
import math
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
import interpreters  # noqa: E402

PYBPF = os.path.abspath(os.environ.get("PYBPF", str(TESTS.parent / "build" / "pybpf")))
PATIENCE = 60.0  # seconds after which something that must happen never will


# ---- programs to profile

class Target:
    """A Python program that runs until it is stopped. It calls ready() (see PREAMBLE) when it is where the
    test wants it."""

    # Every program can say things to its test, and hear from it. go() ends where the test says so.
    PREAMBLE = ("import sys as _sys\n"
                "def say(*words):\n"
                "    _sys.stdout.write(' '.join(map(str, words)) + '\\n'); _sys.stdout.flush()\n"
                "def ready():\n"
                "    say('ready')\n"
                "def hear():\n"
                "    return _sys.stdin.readline().strip()\n")

    def __init__(self, python, text, args=(), folder=None, name="program.py", env=None, before=()):
        """python: an interpreters.Interpreter, or the words of a command. before: words in front of it."""
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="pybpf-target-"))
        self.script = self.folder / name
        self.script.parent.mkdir(parents=True, exist_ok=True)
        # The preamble is one line, so that line numbers are those of the text, less one.
        preamble = "exec(%r)\n" % self.PREAMBLE
        self.script.write_text(preamble + text)
        self.command = list(getattr(python, "command", python)) + [str(self.script)] + [str(a) for a in args]
        self.process = subprocess.Popen(
            list(before) + self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env=interpreters.environment(**(env or {})), start_new_session=True)
        self.pid = self.process.pid
        self.buffer = b""

    def hear(self, timeout=PATIENCE):
        """Its next line."""
        return _line(self, self.process.stdout, timeout)

    def wait_ready(self, timeout=PATIENCE):
        """Until it has said so, and has come to what follows: it waits for something, or has run on for a while."""
        said = self.hear(timeout)
        assert said == "ready", "the program said %r" % said
        goal, end = first_thread(self.pid)[1] + 0.002, time.monotonic() + timeout
        while True:
            state, seconds = first_thread(self.pid)
            if state in "SZ" or seconds > goal:
                return self
            assert time.monotonic() < end, "process %d does not run" % self.pid
            time.sleep(0.001)

    def say(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())

    def line_of(self, needle):
        """The number of the first line that holds needle."""
        for number, line in enumerate(self.script.read_text().splitlines(), 1):
            if needle in line and number > 1:
                return number
        raise LookupError(needle)

    def stop(self):
        # It leads a group of its own: bundles and chroots run the interpreter in a child.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def start(python, text, *args, **more):
    """A Target that is ready."""
    target = Target(python, text, args, **more)
    try:
        return target.wait_ready()
    except BaseException:
        target.stop()
        raise


def _line(owner, stream, timeout):
    end = time.monotonic() + timeout
    while b"\n" not in owner.buffer:
        left = end - time.monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            raise TimeoutError("no line within %g s; so far %r" % (timeout, owner.buffer))
        data = os.read(stream.fileno(), 1 << 16)
        if not data:
            raise EOFError("ended; so far %r" % owner.buffer)
        owner.buffer += data
    line, owner.buffer = owner.buffer.split(b"\n", 1)
    return line.decode("utf-8", "surrogateescape")


# ---- runs of pybpf

class Result:
    """How a run of pybpf ended. accounts: the object of --json, None without. output: the file, if any."""

    def __init__(self, status, stdout, stderr, output):
        self.status, self.stdout, self.stderr, self.output = status, stdout, stderr, output

    @property
    def accounts(self):
        return json.loads(self.stdout)

    @property
    def stacks(self):
        return parse_raw(pathlib.Path(self.output).read_bytes())

    @property
    def samples(self):
        return sum(count for _, count in self.stacks)

    def __repr__(self):
        return "status %s, stdout %r, stderr %r" % (self.status, self.stdout[:2000], self.stderr[-2000:])


def descendants(pid):
    """The pids of a process's children, and theirs."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name, "rb") as f:
                parents[int(name)] = int(f.read().rpartition(b")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return found - {pid}
        found |= more


class Recording:
    """`pybpf record` in the background. Samples are taken once sampling() has returned."""

    def __init__(self, *args, output=None, env=None, before=(), command=None, binary=PYBPF, **popen):
        self.output = output
        words = [str(a) for a in args]
        if output is not None:
            words += ["-o", str(output)]
        if command is not None:
            words += ["--"] + [str(a) for a in command]
        self.process = subprocess.Popen(
            list(before) + [str(binary), "record"] + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, bufsize=0, env=dict(os.environ, **(env or {})), **popen)
        self.pid, self.buffer, self.heard = self.process.pid, b"", []

    def hear(self, start, timeout=PATIENCE):
        """Waits until it has said a line that starts so."""
        while not any(line.startswith(start) for line in self.heard):
            try:
                self.heard.append(_line(self, self.process.stderr, timeout))
            except EOFError:
                raise AssertionError("pybpf ended: %r" % self.finish()) from None
        return self

    def sampling(self):
        """Waits until the clocks run."""
        return self.hear("Sampling process")

    def send(self, number):
        self.process.send_signal(number)

    def finish(self, timeout=PATIENCE):
        """The Result, when it ends by itself."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        said = "".join(line + "\n" for line in self.heard)
        said += (self.buffer + err).decode("utf-8", "surrogateescape")
        return Result(self.process.returncode, out.decode("utf-8", "surrogateescape"), said, self.output)

    def stop(self, number=signal.SIGINT, timeout=PATIENCE):
        """The Result, after a Control-C."""
        self.send(number)
        return self.finish(timeout)

    def kill(self):
        """With the command that it has started, and that command's children."""
        if self.process.poll() is None:
            started = descendants(self.pid)
            self.process.kill()
            for pid in started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()


def record(*args, timeout=120, **more):
    """`pybpf record ARGS`, from start to end. output=FILE is -o FILE, command=WORDS comes behind `--`."""
    with Recording(*args, **more) as recording:
        return recording.finish(timeout)


def pybpf(*args, timeout=60, before=(), env=None, binary=PYBPF, **more):
    """Any other command."""
    run = subprocess.run(list(before) + [str(binary)] + [str(a) for a in args], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                         env=dict(os.environ, **(env or {})), **more)
    return Result(run.returncode, run.stdout.decode("utf-8", "surrogateescape"),
                  run.stderr.decode("utf-8", "surrogateescape"), None)


def one_line(result, status):
    """The run failed with this status and one line on standard error, which is returned."""
    assert result.status == status, result
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("pybpf"), result
    return lines[0]


# ---- what they write

_UNIT = re.compile(rb"\\x([0-9a-f]{2})|\\(.)|(.)", re.S)
_PLAIN = {b"\\": b"\\", b";": b";", b"n": b"\n", b"t": b"\t"}


def _labels(stack):
    """The labels between semicolons, escapes undone."""
    if b"\\" not in stack:
        return [label.decode() for label in stack.split(b";")]
    labels = [b""]
    for code, escaped, plain in _UNIT.findall(stack):
        if plain == b";":
            labels.append(b"")
        else:
            labels[-1] += bytes([int(code, 16)]) if code else _PLAIN[escaped] if escaped else plain
    return [_text(label) for label in labels]


def _text(label):
    try:
        return label.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return label.decode("utf-8", "surrogateescape")


def parse_raw(data):
    """[([label, ...], count), ...] of raw output, root first, escapes undone."""
    data.decode("utf-8")  # always valid
    assert not data or data.endswith(b"\n"), "the last line is not whole"
    stacks = []
    for line in data.split(b"\n")[:-1]:
        stack, _, count = line.rpartition(b" ")
        stacks.append((_labels(stack), int(count)))
    return stacks


_FRAME = re.compile(r"(?P<name>.*) \((?P<file>.*?)(?::(?P<line>\d+))?\)", re.S)
Frame = collections.namedtuple("Frame", "name file line")


def frame(label):
    """Frame(name, file, line) of a Python frame's label; of anything else Frame(label, None, None)."""
    match = _FRAME.fullmatch(label)
    if not match:
        return Frame(label, None, None)
    return Frame(match["name"], match["file"], int(match["line"]) if match["line"] else None)


def names(stack):
    return [frame(label).name for label in stack]


def is_marker(label):
    return label.startswith("[")


def without_process(stack):
    return stack[1:] if stack[0].startswith("process ") else stack


def share(stacks, name, leaf=True):
    """(samples whose leaf, or any frame, has this function name; all samples)."""
    hits = sum(n for stack, n in stacks if name in (names(stack)[-1:] if leaf else names(stack)))
    return hits, sum(n for _, n in stacks)


def complete(stacks, root="<module>"):
    """Samples whose stack starts at root and has no marker."""
    return sum(n for stack, n in stacks
               if names(without_process(stack))[0] == root and not any(map(is_marker, stack)))


# ---- processes

def cpu_seconds(pid):
    """CPU time of a process, threads that have ended included."""
    # The clock of another process: include/linux/posix-timers_types.h, MAKE_PROCESS_CPUCLOCK
    return time.clock_gettime((~pid << 3) | 2)


def first_thread(pid):
    """The letter of its state (proc_pid_stat(5)) and its CPU seconds (Documentation/scheduler/sched-stats.rst)."""
    with open("/proc/%d/stat" % pid, "rb") as stat, open("/proc/%d/schedstat" % pid) as schedstat:
        return stat.read().rpartition(b")")[2].split()[0].decode(), int(schedstat.read().split()[0]) * 1e-9


def stolen_seconds():
    """
    Time that a hypervisor has had all CPUs wait for, since they were started. What it says to have taken, of an idle CPU too, the
    kernel takes off the CPU time of whoever runs next, so that this may be more samples than the CPU time says.
    """
    with open("/proc/stat") as f:
        return int(f.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def count_tolerance(expected, used, duration):
    """How far the count of samples may be from CPU time x rate: 2 %, as on a free CPU. Where others ran on the CPU as well,
    each of its samples met the target or one of them; chance then adds its five standard deviations."""
    return max(0.02 * expected, 4) + 5 * math.sqrt(expected * max(0, 1 - used / duration))


def wait_busy(pid, seconds, timeout=PATIENCE):
    """Until the process has used so much more CPU time, however long that takes on this machine today."""
    goal, end = cpu_seconds(pid) + seconds, time.monotonic() + timeout
    while cpu_seconds(pid) < goal:
        assert time.monotonic() < end, "process %d does not run" % pid
        time.sleep(0.01)


def exists(pid):
    try:
        os.kill(pid, 0)
    except OSError as e:
        return e.errno != errno.ESRCH
    return True


def wait_gone(pid, timeout=PATIENCE):
    """Until a process that is not our child has ended, by a pidfd."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], timeout)[0], "process %d is still there" % pid
    finally:
        os.close(fd)


def zlib():
    """The library that half of the system is linked to."""
    for folder in "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib64":
        path = os.path.join(folder, "libz.so.1")
        if os.path.exists(path):
            return os.path.realpath(path)
    raise LookupError("no libz.so.1")
