# SPDX-License-Identifier: Apache-2.0
"""`list` and `check` against processes whose facts are known."""
import contextlib
import fcntl
import json
import os
import pty
import pwd
import struct
import subprocess
import termios

import harness

IDLE = "ready()\nhear()\n"


def listed(pid):
    result = harness.pybpf("list", "--json")
    assert result.status == 0, result
    found = [entry for entry in json.loads(result.stdout) if entry["pid"] == pid]
    return found[0] if found else None


def test_list_knows_a_process(every_python, target):
    # The interpreter itself may be a child of what was started (chroot, bundles).
    program = target(every_python, "import os\nsay(os.getpid())\nhear()\n".replace("say", "ready() or say"))
    pid = int(program.hear())
    entry = listed(pid)
    assert entry, "not listed"
    assert set(entry) >= {"pid", "ppid", "version", "build", "exe", "interpreter", "container", "cgroup", "user",
                          "command", "status", "reason"}
    assert set(entry["build"]) == {"free_threaded", "debug", "static", "libc"}
    assert entry["version"].split()[0] == "%d.%d.%d" % every_python.version, entry
    assert entry["build"]["free_threaded"] == ("free-threaded" in every_python.kinds)
    assert entry["build"]["debug"] == ("debug" in every_python.kinds)
    if every_python.kinds & {"static", "shared"}:
        assert entry["build"]["static"] == ("static" in every_python.kinds)
    assert entry["build"]["libc"] == ("musl" if "musl" in every_python.kinds else "glibc")
    assert entry["user"] == pwd.getpwuid(os.geteuid()).pw_name
    assert str(program.script) in entry["command"]
    assert entry["exe"] == os.readlink("/proc/%d/exe" % pid)
    with open("/proc/%d/stat" % pid) as stat:
        assert entry["ppid"] == int(stat.read().rpartition(")")[2].split()[1])


def test_list_as_text(any_python, target):
    program = target(any_python, IDLE)
    lines = harness.pybpf("list").stdout.splitlines()
    assert lines[0].split()[:3] == ["PID", "VERSION", "USER"] or "PID" in lines[0]
    row = next(line for line in lines if line.split()[0] == str(program.pid))
    assert "%d.%d.%d" % any_python.version in row and str(program.script) in row


def test_the_table_fits_into_the_terminal(any_python, target):
    """Of a command its beginning is kept, of a file its end; where there is no terminal both are whole."""
    program = target(any_python, IDLE, "word" * 100)
    whole = [line for line in harness.pybpf("list").stdout.splitlines() if line.split()[0] == str(program.pid)]
    assert len(whole) == 1 and "word" * 100 + "  ok" in whole[0], whole
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 110, 0, 0))
    run = subprocess.Popen([harness.PYBPF, "list"], stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # EIO: closed at the other end
        while not said or data:
            data = os.read(ours, 4096)
            said += data
    os.close(ours)
    assert run.wait(harness.PATIENCE) == 0
    shown = [line for line in said.decode().splitlines() if line.split()[:1] == [str(program.pid)]]
    assert len(shown) == 1 and len(shown[0]) <= 110 and shown[0].endswith("..  ok"), shown


def test_an_ended_process_is_not_listed(any_python, target):
    program = target(any_python, IDLE)
    program.stop()
    assert listed(program.pid) is None


def test_check_says_that_recording_is_possible(any_python, target):
    target(any_python, IDLE)
    text = harness.pybpf("check")
    assert text.status == 0 and text.stdout.splitlines()[-1] == "Recording is possible.", text
    result = harness.pybpf("check", "--json")
    found = json.loads(result.stdout)
    assert result.status == 0 and found
    for probe in found:
        assert set(probe) == {"what", "ok", "detail", "remedy"} and isinstance(probe["ok"], bool)
    interpreters = [p for p in found if p["what"].startswith("interpreter ")]
    assert any("%d.%d.%d" % any_python.version in p["detail"] and p["ok"] for p in interpreters), found


def test_list_and_check_usage():
    for command in "list", "check":
        harness.one_line(harness.pybpf(command, "--frobnicate"), 2)
        harness.one_line(harness.pybpf(command, "stray"), 2)
