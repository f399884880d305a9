# SPDX-License-Identifier: Apache-2.0
"""What `record` writes and says: files, formats, labels, accounts, messages."""
import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import termios

import harness
import pytest

# Functions of its own in a package, one of another file.
PROGRAM = """
import time
def inner():
    for i in range(2000):  # loop
        i + 1
def outer():
    while True:
        inner()  # call
ready()
outer()
"""


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    python = harness.interpreters.select((3, 11), (3, 14))[-1]
    folder = tmp_path_factory.mktemp("busy")
    (folder / "pack" / "sub").mkdir(parents=True)
    for package in "pack", "pack/sub":
        (folder / package / "__init__.py").touch()
    with harness.start(python, PROGRAM, folder=folder, name="pack/sub/busy.py") as program:
        yield program


def short(busy, *options, output, **more):
    """A recording of a tenth of a second of its CPU time."""
    with harness.Recording("-p", busy.pid, "-r", 500, *options, output=output, **more) as recording:
        if "--quiet" not in options:
            recording.sampling()
        harness.wait_busy(busy.pid, 0.3 if "--quiet" in options else 0.1)
        result = recording.stop()
    assert result.status == 0, result
    return result


def labels(result):
    return {label for stack, _ in result.stacks for label in stack}


def test_labels(busy, tmp_path):
    line = busy.line_of
    plain = labels(short(busy, output=tmp_path / "a.raw"))
    assert "outer (pack/sub/busy.py:%d)" % line("# call") in plain
    assert {l for l in plain if l.startswith("inner")} <= {
        "inner (pack/sub/busy.py:%d)" % (line("# loop") + i) for i in (-1, 0, 1)}
    first = labels(short(busy, "-F", output=tmp_path / "b.raw"))
    assert first == {"<module> (pack/sub/busy.py:1)", "outer (pack/sub/busy.py:%d)" % line("def outer"),
                     "inner (pack/sub/busy.py:%d)" % line("def inner")}
    none = labels(short(busy, "--nolineno", output=tmp_path / "c.raw"))
    assert none == {"<module> (pack/sub/busy.py)", "outer (pack/sub/busy.py)", "inner (pack/sub/busy.py)"}
    full = labels(short(busy, "--full-filenames", "--nolineno", output=tmp_path / "d.raw"))
    assert "inner (%s)" % busy.script in full


def test_frames_of_threads_and_processes(busy, tmp_path):
    assert {stack[0] for stack, _ in short(busy, "-t", output=tmp_path / "a.raw").stacks} == {
        "thread (%d): MainThread" % busy.pid}
    process = 'process %d:"%s"' % (busy.pid, " ".join(busy.command))
    assert {stack[0] for stack, _ in short(busy, "--per-process", output=tmp_path / "b.raw").stacks} == {process}
    both = short(busy, "--per-process", "-t", output=tmp_path / "c.raw")
    assert {tuple(stack[:2]) for stack, _ in both.stacks} == {(process, "thread (%d): MainThread" % busy.pid)}
    everyone = harness.record("--all-python", "-r", 500, "-d", 1, output=tmp_path / "d.raw")
    assert everyone.status == 0 and process in {stack[0] for stack, _ in everyone.stacks}, everyone
    nothing = harness.record("-r", 500, "-d", 1, output=tmp_path / "e.raw")
    assert nothing.status == 0 and process in {stack[0] for stack, _ in nothing.stacks}, nothing


@pytest.mark.parametrize("suffix, start", [
    ("svg", b"<?xml"), ("raw", None), ("txt", None), ("collapsed", None), ("folded", None),
    ("json", b"{"), ("speedscope.json", b"{"), ("pybpf", b""), ("unknown", b"<?xml")])
def test_the_suffix_chooses_the_format(suffix, start, busy, tmp_path):
    result = short(busy, output=tmp_path / ("out." + suffix))
    data = pathlib.Path(result.output).read_bytes()
    if start is None:
        assert result.samples > 0
    elif start == b"{":
        assert "speedscope" in json.loads(data)["$schema"]
    elif suffix == "pybpf":
        report = harness.pybpf("report", result.output, "-f", "raw", "-o", "-")
        assert report.status == 0 and harness.parse_raw(report.stdout.encode()), report
    else:
        assert data.startswith(start), data[:50]


def test_the_format_given_beats_the_suffix(busy, tmp_path):
    assert short(busy, "-f", "raw", output=tmp_path / "out.svg").samples > 0


def test_the_default_file_name(busy, tmp_path):
    before = datetime.datetime.now().astimezone().replace(microsecond=0)
    for options, suffix in ((), "svg"), (("-f", "speedscope"), None), (("-f", "raw"), "txt"):
        result = harness.record("-p", busy.pid, "-r", 500, "-d", 0.7, *options, cwd=tmp_path)
        assert result.status == 0, result
        (made,) = tmp_path.iterdir()
        assert "Wrote %s data to '%s'" % (dict(svg="flamegraph", txt="raw").get(suffix, "speedscope"), made.name) \
            in result.stderr
        pid, _, rest = made.name.partition("-")
        assert int(pid) == busy.pid
        match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)\.(svg|txt|json|speedscope\.json)", rest)
        assert match and (not suffix or match[2] == suffix), made.name
        assert before <= datetime.datetime.fromisoformat(match[1]) <= before + datetime.timedelta(seconds=120)
        made.unlink()


def test_accounts(busy, tmp_path):
    out = tmp_path / "out.raw"
    result = short(busy, "--json", output=out)
    accounts = json.loads(result.stdout)
    assert set(accounts) == {"version", "duration_s", "rate_hz", "cpus", "output", "format", "samples", "lost",
                             "truncated", "processes", "threads", "stacks", "code_objects", "cost"}
    assert set(accounts["samples"]) == {"taken", "written", "lost", "truncated"}
    assert set(accounts["cost"]) == {"bpf_run_ns", "bpf_runs", "user_cpu_s", "peak_rss_bytes"}
    assert (accounts["rate_hz"], accounts["output"], accounts["format"]) == (500, str(out), "raw")
    assert accounts["cpus"] == len(os.sched_getaffinity(0)) and 0 < accounts["duration_s"] < 60
    assert "pybpf " + accounts["version"] == harness.pybpf("--version").stdout.strip()
    # its own memory, not that of who started it, which getrusage goes on with after exec
    room = bytearray(b"x") * (200 << 20)
    cost = json.loads(short(busy, "--json", output=out).stdout)["cost"]
    assert cost["bpf_runs"] > 0 and 1 << 20 < cost["peak_rss_bytes"] < len(room) // 2
    beside = tmp_path / "accounts.json"
    result = short(busy, "--json=%s" % beside, output="-")
    assert set(json.loads(beside.read_text())) == set(accounts)
    assert json.loads(beside.read_text())["output"] == "-" and "<svg" in result.stdout


def test_stacks_are_those_that_samples_have(any_python, target, tmp_path):
    """Not their beginnings, of which a deep one has many."""
    program = target(any_python, "def down(n):\n    if n:\n        down(n - 1)\n    else:\n        ready()\n"
                                 "        while True:\n            pass\ndown(300)\n")
    result = harness.record("-p", program.pid, "-d", 0.5, "--json", output=tmp_path / "out.raw")
    assert len(result.stacks) <= result.accounts["stacks"] <= result.samples < 300, result


def test_words(busy, tmp_path):
    out = tmp_path / "out.raw"
    lines = short(busy, output=out).stderr.splitlines()
    assert lines[0] == "Sampling process 500 times a second. Press Control-C to exit."
    assert lines[1] == "Stopped sampling because Control-C pressed"
    assert re.fullmatch(r"Wrote raw data to '%s'\. Samples: \d+ Errors: 0" % out, lines[2]), lines
    assert any(re.match(r"Taken (\d+) = written \1 \+ lost 0; truncated 0; 1 processes", l) for l in lines), lines
    assert short(busy, "--quiet", output=out).stderr == ""
    # On standard output there are data only.
    result = short(busy, "-f", "raw", output="-")
    assert harness.parse_raw(result.stdout.encode())


def test_standard_output_takes_one_thing(busy):
    line = harness.one_line(harness.record("-p", busy.pid, "-d", 0.2, "--json", output="-"), 2)
    assert "--json" in line and "-o -" in line


def test_progress_is_for_terminals(busy, tmp_path):
    def on_terminal(*options, columns=80, **env):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        run = subprocess.Popen([harness.PYBPF, "record", "-p", str(busy.pid), "-d", "0.5", "-o",
                                str(tmp_path / "out.raw"), *options], stderr=theirs, stdout=subprocess.DEVNULL,
                               env=dict(os.environ, **dict({"TERM": "xterm"}, **env)))
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # EIO: closed at the other end
            while select.select([ours], [], [], harness.PATIENCE)[0]:
                data = os.read(ours, 4096)
                if not data:
                    break
                said += data
        os.close(ours)
        assert run.wait(harness.PATIENCE) == 0
        return said.decode()

    progress = re.compile(r"\r\x1b\[K\d+\.\d s of 0\.5 s  \d+ samples  0 lost  1 processes")
    assert 1 <= len(progress.findall(on_terminal("-r", "5000"))) <= 5  # ten a second, however much comes
    # What does not fit into the line would be there for ever.
    drawn = [line.split("\n")[0] for line in on_terminal(columns=20).split("\r\x1b[K")[1:]]
    assert max(map(len, drawn[:-1])) == 19, drawn
    assert not progress.search(on_terminal(TERM="dumb"))
    assert not progress.search(on_terminal("--no-progress"))
    assert on_terminal("--quiet") == ""


def test_a_job_in_the_background_draws_no_progress(busy, tmp_path):
    """It would draw over what is typed in the foreground."""
    words = [harness.PYBPF, "record", "-p", str(busy.pid), "-d", "0.5", "-o", str(tmp_path / "out.raw")]
    for sign, drawn in ("", True), ("& wait", False):
        pid, terminal = pty.fork()
        if not pid:
            os.environ["TERM"] = "xterm"
            os.execv("/bin/sh", ["sh", "-m", "-c", '"$@" %s' % sign, "sh", *words])
        said = b""
        with contextlib.suppress(OSError):  # EIO: closed at the other end
            while select.select([terminal], [], [], harness.PATIENCE)[0]:
                said += os.read(terminal, 4096)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert b"Wrote raw data" in said and (b"\x1b[K" in said) == drawn, (sign, said)


def test_closed_streams_are_no_files(busy, tmp_path):
    """Their numbers are free for the next file: what is said must not stand in it."""
    out = tmp_path / "out.raw"
    words = ["-p", str(busy.pid), "-d", "0.5", "-r", "500", "--verbose", "-o", str(out)]
    for closed in "2>&-", "<&- >&- 2>&-":
        run = subprocess.run(["sh", "-c", 'exec "$@" ' + closed, "sh", harness.PYBPF, "record", *words], timeout=60)
        assert run.returncode == 0 and sum(n for _, n in harness.parse_raw(out.read_bytes())) > 0
    run = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", harness.PYBPF, "record", *words[:-1], "-"],
                         stderr=subprocess.PIPE, timeout=60)
    assert run.returncode == 1 and b"standard output" in run.stderr and b"Sampling" not in run.stderr, run


def test_files_belong_to_the_caller_of_sudo(busy, tmp_path):
    for sudo, owner in ({"SUDO_UID": "1234", "SUDO_GID": "4321"}, (1234, 4321)), ({}, (0, 0)):
        out = tmp_path / ("out%d.raw" % owner[0])
        short(busy, "--json=%s.json" % out, output=out, env=sudo)
        for path in out, str(out) + ".json":
            made = os.stat(path)
            assert (made.st_uid, made.st_gid) == owner
            assert made.st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_is_replaced_only_when_the_new_one_is_whole(busy, tmp_path):
    out = tmp_path / "out.raw"
    out.write_text("old")
    with harness.Recording("-p", busy.pid, output=out) as recording:
        recording.sampling()
        harness.wait_busy(busy.pid, 0.1)
        assert out.read_text() == "old"
        assert recording.stop().status == 0
    assert harness.parse_raw(out.read_bytes())
    assert list(tmp_path.iterdir()) == [out]


def test_a_device_is_written_in_place(busy):
    assert short(busy, output="/dev/null").status == 0
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")


def test_hostile_names_are_escaped(any_python, target, tmp_path):
    text = "code = compile('def f():\\n while 1: pass\\n', %r, 'exec')\nready()\nexec(code)\nf()\n" % "a;b\\c\n\t\x01\xe9.py"
    program = target(any_python, text)
    result = short(program, "--nolineno", output=tmp_path / "out.raw")
    data = pathlib.Path(result.output).read_bytes()
    assert rb"f (a\;b\\c\n\t\x01" + "é.py) ".encode() in data
    assert {stack[-1] for stack, _ in result.stacks} == {"f (a;b\\c\n\t\x01\xe9.py)"}
