# SPDX-License-Identifier: Apache-2.0
"""`record -- CMD` is as CMD without us: on a terminal, without one, under sudo, in a pipe, with signals."""
import fcntl
import grp
import json
import os
import pathlib
import pty
import pwd
import select
import signal
import struct
import termios

import pytest

import harness

# Says what it was given, as JSON to the file of its first argument.
MIRROR = """\
import json, os, signal, sys, time
facts = {
    "ids": os.getresuid() + os.getresgid(), "groups": sorted(os.getgroups()),
    "environment": dict(os.environ), "folder": os.getcwd(), "session": os.getsid(0), "group": os.getpgid(0),
    "umask": os.umask(0o22), "nice": os.nice(0),
    "files": sorted((fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd/%d" % fd))),
    "ttys": [os.isatty(fd) for fd in (0, 1, 2)], "parent": os.getppid(),
    "signals": [line.split()[1] for line in open("/proc/self/status") if line[:7] in ("SigIgn:", "SigBlk:")],
    "limits": open("/proc/self/limits").read(), "oom": open("/proc/self/oom_score_adj").read(),
}
with open(sys.argv[1], "w") as f:
    json.dump(facts, f)
end = time.process_time() + 0.1
while time.process_time() < end: pass
"""


def mirror(python, folder, *before, env=None, **popen):
    script, out = folder / "mirror.py", folder / ("facts%d" % len(list(folder.iterdir())))
    script.write_text(MIRROR)
    words = list(before) + list(getattr(python, "command", python)) + [str(script), str(out)]
    process = harness.subprocess.Popen(words, env=env, **popen)
    assert process.wait(harness.PATIENCE) == 0
    return json.loads(out.read_text())


def ours(folder, *options):
    return (harness.PYBPF, "record", "-r", "500", "--quiet", *options, "-o", str(folder / "out.raw"), "--")


SAME = ("ids", "groups", "environment", "folder", "session", "umask", "nice", "files", "ttys", "signals", "limits", "oom")


@pytest.mark.parametrize("ignored", [(), (signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1)], ids=["plain", "ignored"])
def test_it_is_given_what_it_would_be_given_without(ignored, any_python, tmp_path):
    def ignore():
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    more = dict(stdin=harness.subprocess.DEVNULL, preexec_fn=ignore, restore_signals=False, start_new_session=False)
    env = harness.interpreters.environment(ODD="a b=c")
    without = mirror(any_python, tmp_path, env=env, **more)
    with_us = mirror(any_python, tmp_path, *ours(tmp_path), env=env, **more)
    for fact in SAME:
        assert without[fact] == with_us[fact], fact


def test_under_sudo_it_is_the_caller_again(tmp_path):
    """His groups; HOME and the rest as sudo left them; and the profile is his."""
    user = next((u for u in pwd.getpwall() if u.pw_uid >= 1 and u.pw_name not in ("root", "nobody")), None)
    tmp_path.chmod(0o777)
    for parent in list(tmp_path.parents)[:3]:
        if parent != pathlib.Path("/tmp") and parent.is_relative_to("/tmp"):
            parent.chmod(0o755)
    env = harness.interpreters.environment(SUDO_UID=str(user.pw_uid), SUDO_GID=str(user.pw_gid), SUDO_USER=user.pw_name,
                                           HOME="/root", KEPT="yes")
    facts = mirror(["/usr/bin/python3"], tmp_path, *ours(tmp_path), env=env)
    assert facts["ids"] == [user.pw_uid] * 3 + [user.pw_gid] * 3
    wanted = {user.pw_gid} | {g.gr_gid for g in grp.getgrall() if user.pw_name in g.gr_mem}
    assert set(facts["groups"]) == wanted
    assert facts["environment"] == env
    made = os.stat(tmp_path / "out.raw")
    assert (made.st_uid, made.st_gid) == (user.pw_uid, user.pw_gid)


COUNTER = """\
import os, signal, sys
count = 0
def note(*_):
    global count
    count += 1
    os.write(1, b"got %d\\n" % count)
signal.signal(signal.SIGINT, note)
os.write(1, b"ready\\n")
while True:
    # as soon as the terminal's line has come, all signals typed before it have
    if sys.stdin.readline().strip() == "end":
        end = 0
        for i in range(3000000): end += i
        os.write(1, b"count %d\\n" % count)
        sys.exit(5)
"""


def expect(master, text, said=b""):
    while text not in said:
        assert select.select([master], [], [], harness.PATIENCE)[0], said
        try:
            data = os.read(master, 4096)
        except OSError:  # the other end is closed
            data = b""
        assert data, said
        said += data
    return said


@pytest.fixture(autouse=True)
def signals():
    """As for a program that was not started by nohup, nor behind an &, as the tests may be."""
    before = {n: signal.getsignal(n) for n in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)}
    for number, handler in before.items():
        if handler == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # back to the default in what is exec'ed, and nothing here
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def on_a_terminal(words):
    """Forks a program that has a terminal of its own: (pid, our end)."""
    pid, master = pty.fork()
    if not pid:
        os.execv(words[0], words)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    return pid, master


def test_control_c_at_a_terminal_is_one_signal(any_python, tmp_path):
    """The terminal sends it to the whole group: the program must not get a second one from us."""
    script = tmp_path / "counter.py"
    script.write_text(COUNTER)
    pid, master = on_a_terminal([*ours(tmp_path), *any_python.command, str(script)])
    try:
        said = expect(master, b"ready")
        for number in 1, 2, 3:
            os.write(master, b"\x03")
            said = expect(master, b"got %d" % number, said)
        os.write(master, b"end\n")
        said = expect(master, b"count ", said)
        said = expect(master, b"\n", said[said.index(b"count "):])
        assert said.startswith(b"count 3"), said
        status = os.waitpid(pid, 0)[1]
        assert os.waitstatus_to_exitcode(status) == 5
        pid = 0
    finally:
        os.close(master)
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert sum(n for _, n in harness.parse_raw((tmp_path / "out.raw").read_bytes())) > 0


def test_control_backslash_at_a_terminal_ends_the_program_and_not_the_profile(any_python, tmp_path):
    script = tmp_path / "quits.py"
    script.write_text("import os, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
                      "for i in range(3000000): pass\nos.write(1, b'ready\\n')\nwhile True: sum(range(300))\n")
    pid, master = on_a_terminal([*ours(tmp_path), *any_python.command, str(script)])
    try:
        expect(master, b"ready")
        os.write(master, b"\x1c")
        with harness.contextlib.suppress(AssertionError):
            expect(master, b"no such words")  # until it is closed
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGQUIT
    finally:
        os.close(master)
    assert sum(n for _, n in harness.parse_raw((tmp_path / "out.raw").read_bytes())) > 0


def test_the_terminal_goes_away(any_python, tmp_path):
    """SIGHUP ends the program; what was recorded is written all the same."""
    script = tmp_path / "hangs.py"
    script.write_text("import os\nfor i in range(3000000): pass\nos.write(1, b'ready\\n')\nwhile True: sum(range(300))\n")
    pid, master = on_a_terminal([*ours(tmp_path), *any_python.command, str(script)])
    expect(master, b"ready")
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGHUP
    assert sum(n for _, n in harness.parse_raw((tmp_path / "out.raw").read_bytes())) > 0


def test_a_full_pipe_holds_the_program_only(any_python, tmp_path):
    """It waits for its reader, as it would; recording goes on, and all bytes arrive."""
    code = "import os\nfor i in range(64):\n    sum(range(100000))\n    os.write(1, b'x' * 65536)\n"
    read, write = os.pipe()
    run = harness.subprocess.Popen([*ours(tmp_path), *any_python.command, "-c", code], stdout=write)
    os.close(write)
    got = 0
    while True:
        data = os.read(read, 1 << 16)
        if not data:
            break
        got += len(data)
    os.close(read)
    assert run.wait(harness.PATIENCE) == 0 and got == 64 * 65536


def test_a_pipe_that_nobody_reads_ends_it_as_without_us(tmp_path):
    read, write = os.pipe()
    run = harness.subprocess.Popen([*ours(tmp_path), "/bin/sh", "-c", "while :; do echo x; done"], stdout=write,
                                   stderr=harness.subprocess.DEVNULL)
    os.close(write)
    assert os.read(read, 1) == b"x"
    os.close(read)
    assert run.wait(harness.PATIENCE) == 128 + signal.SIGPIPE


def test_without_a_terminal_and_streams(any_python, tmp_path):
    """In a session of its own, standard streams closed: what a job runner does."""
    facts = mirror(any_python, tmp_path, "setsid", "-w", "sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *ours(tmp_path))
    assert facts["ttys"] == [False] * 3
    assert sum(n for _, n in harness.parse_raw((tmp_path / "out.raw").read_bytes())) > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR2])
def test_signals_are_passed_on(number, any_python, tmp_path):
    """To the program, which decides; its status is ours."""
    ready = tmp_path / "ready"
    code = ("import signal, sys\ndef leave(*_):\n    sys.exit(9)\nsignal.signal(%d, leave)\nopen(%r, 'w').close()\n"
            "while True:\n    sum(range(300))\n" % (number, str(ready)))
    with harness.Recording("-r", 500, output=tmp_path / "out.raw", command=any_python.command + ["-c", code]) as it:
        it.sampling()
        while not ready.exists():
            assert it.process.poll() is None
        result = it.stop(number)
    assert result.status == 9, result
    assert result.samples > 0


@pytest.mark.parametrize("whole_group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_getting_ready_ends_the_command(number, whole_group, tmp_path):
    """It is there, and waits; it must not be started, and left alone, after all."""
    with harness.Recording(output=tmp_path / "out.raw", command=["sleep", "5"], start_new_session=True) as it:
        while not harness.descendants(it.pid):
            assert it.process.poll() is None
        (os.killpg if whole_group else os.kill)(it.pid, number)
        result = it.finish()
    assert result.status == 128 + number, result
    assert list(tmp_path.iterdir()) == []


def test_what_a_test_leaves_is_ended(any_python, tmp_path):
    """The harness's own: a recording that is given up takes its program with it, and what that has started."""
    code = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'while True: pass'])\nwhile True: pass\n"
    with harness.Recording(output=tmp_path / "out.raw", command=any_python.command + ["-c", code]) as it:
        it.sampling()
        while len(harness.descendants(it.pid)) < 2:
            assert it.process.poll() is None
        started = [os.pidfd_open(pid) for pid in harness.descendants(it.pid)]
    for fd in started:
        assert select.select([fd], [], [], harness.PATIENCE)[0]  # it has ended
        os.close(fd)
