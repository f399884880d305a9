# SPDX-License-Identifier: Apache-2.0
"""`record -- CMD`: what becomes of the command, and what exit status says."""
import json
import os
import pathlib
import signal
import subprocess
import time

import harness
import pytest

BUSY = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end:\n    sum(range(300))\n"


def test_the_status_of_the_command_is_passed_on(any_python, tmp_path):
    for status in 0, 3, 255:
        out = tmp_path / ("%d.raw" % status)
        result = harness.record("-r", 500, output=out,
                                command=any_python.command + ["-c", BUSY + "raise SystemExit(%d)" % status])
        assert result.status == status, result
        assert result.samples > 50, result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_that_kills_the_command(number, any_python, record):
    code = BUSY + "import os, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nos.kill(os.getpid(), %d)\n"
    result = record("-r", 500, command=any_python.command + ["-c", code % number])
    assert result.status == 128 + number, result
    assert result.samples > 50, result


def test_a_command_that_is_not_there_or_cannot_run(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    for command, status in (tmp_path / "missing", 127), ("pybpf-no-such-program", 127), (plain, 126), (tmp_path, 126):
        result = harness.record(output=tmp_path / "out.svg", command=[command, "x"])
        line = harness.one_line(result, status)
        assert str(command) in line
    assert [p.name for p in tmp_path.iterdir()] == ["plain"], "something was left behind"


def test_a_command_that_is_no_python_keeps_its_status(tmp_path):
    result = harness.record(output=tmp_path / "out.svg", command=["/bin/sh", "-c", "exit 5"])
    assert result.status == 5, result
    assert list(tmp_path.iterdir()) == []


def test_when_the_duration_is_over_the_command_goes_on(any_python, tmp_path):
    """Untouched: it still has its output, and ends when it wants to."""
    stop, out, said = tmp_path / "stop", tmp_path / "out.raw", tmp_path / "said"
    code = ("import os\nwhile not os.path.exists(%r):\n    sum(range(300))\nprint('done')\n" % str(stop))
    # Not through pipes: the command keeps them open.
    with open(said, "w") as stdout:
        command = [harness.PYBPF, "record", "-d", "0.5", "-r", "500", "--quiet", "-o", str(out), "--"]
        run = subprocess.Popen(command + any_python.command + ["-c", code], stdout=stdout)
    status = run.wait(harness.PATIENCE)
    goes_on = next(pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if str(stop) in words_of(pid))
    stop.touch()
    harness.wait_gone(goes_on)
    assert status == 0
    assert sum(count for _, count in harness.parse_raw(out.read_bytes())) > 0
    assert said.read_text() == "done\n"


def words_of(pid):
    try:
        return pathlib.Path("/proc/%d/cmdline" % pid).read_text()
    except OSError:
        return ""


def test_the_command_has_standard_streams_of_its_own(any_python, tmp_path):
    """Its output is not mixed with the accounts, which go to standard error or to a file."""
    command = any_python.command + ["-c", BUSY + "print('mine')"]
    result = harness.record("-r", 500, "--json", "--quiet", output=tmp_path / "out.raw", command=command)
    assert (result.status, result.stdout) == (0, "mine\n"), result
    assert json.loads(result.stderr)["samples"]["written"] == result.samples
    accounts = tmp_path / "accounts.json"
    result = harness.record("-r", 500, "--json=%s" % accounts, output=tmp_path / "out.raw", command=command)
    assert (result.status, result.stdout) == (0, "mine\n"), result
    assert json.loads(accounts.read_text())["samples"]["written"] == result.samples


def test_control_c_reaches_the_command(any_python, tmp_path):
    """It decides what to do about it; its status is the recording's."""
    code = ("import os, signal, sys\ndef leave(*_):\n    os._exit(7)\nsignal.signal(signal.SIGINT, leave)\n"
            "open(%r, 'w').close()\nwhile True:\n    sum(range(300))\n" % str(tmp_path / "ready"))
    with harness.Recording("-r", 500, output=tmp_path / "out.raw", command=any_python.command + ["-c", code]) as it:
        it.sampling()
        while not (tmp_path / "ready").exists():
            assert it.process.poll() is None
        os.kill(it.pid, signal.SIGINT)
        result = it.finish()
    assert result.status == 7, result


def test_signals_after_the_command_are_for_the_recording(any_python, tmp_path):
    """With -s it goes on while a child lives, but the command's pid is nobody's any more."""
    stop, pid = tmp_path / "stop", tmp_path / "pid"
    code = ("import os\nif os.fork():\n    open(%r, 'w').write('%%d\\n' %% os.getpid())\n    os._exit(4)\n"
            "os.closerange(0, 3)\n" # or the pipes would be open as long as it lives
            "while not os.path.exists(%r):\n    sum(range(300))\n" % (str(pid), str(stop)))
    try:
        with harness.Recording("-s", "-r", 500, output=tmp_path / "out.raw",
                               command=any_python.command + ["-c", code]) as it:
            it.sampling()
            while not pid.exists() or not pid.read_text().endswith("\n"):
                assert it.process.poll() is None
                time.sleep(0.01)
            while os.path.exists("/proc/%d" % int(pid.read_text())): # until its status was taken
                assert it.process.poll() is None
                time.sleep(0.01)
            os.kill(it.pid, signal.SIGTERM)
            result = it.finish()
    finally:
        stop.touch()
    assert result.status == 4, result


def test_children_of_the_command(any_python, tmp_path):
    """With -s they are sampled, and the recording lasts as long as they do."""
    code = ("import os, time\nif os.fork():\n    os._exit(4)\n"
            "def grandchild():\n    end = time.process_time() + 0.4\n    while time.process_time() < end:\n"
            "        sum(range(300))\ngrandchild()\n")
    result = harness.record("-s", "-r", 500, output=tmp_path / "with.raw",
                            command=any_python.command + ["-c", code])
    assert result.status == 4, result
    assert harness.share(result.stacks, "grandchild", leaf=False)[0] > 100, result
    assert all(stack[0].startswith("process ") for stack, _ in result.stacks)
    without = harness.record("-r", 500, output=tmp_path / "without.raw", command=any_python.command + ["-c", code])
    assert without.status == 4, without
    if pathlib.Path(without.output).exists():
        assert harness.share(without.stacks, "grandchild", leaf=False)[0] == 0, without


@pytest.mark.parametrize("uid, gid", [("-1", "1"), ("4294967295", "1"), ("1", "x"), ("", "1"), ("1 ", "1")])
def test_what_sudo_never_says_is_not_heard(uid, gid, tmp_path):
    result = harness.record("--quiet", output=tmp_path / "out.raw", env={"SUDO_UID": uid, "SUDO_GID": gid},
                            command=["id", "-u"])
    assert (result.status, result.stdout) == (0, "%d\n" % os.getuid()), result


def test_the_command_runs_as_the_caller_of_sudo(any_python, tmp_path):
    tmp_path.chmod(0o777)
    code = BUSY + "import os\nprint(os.getuid(), os.getgid(), os.geteuid(), os.getegid())"
    env = {"SUDO_UID": "65534", "SUDO_GID": "65534"}
    result = harness.record("-r", 500, "--quiet", output=tmp_path / "out.raw", env=env,
                            command=["/usr/bin/python3", "-c", code])
    assert (result.status, result.stdout) == (0, "65534 65534 65534 65534\n"), result
    made = os.stat(result.output)
    assert (made.st_uid, made.st_gid) == (65534, 65534)
