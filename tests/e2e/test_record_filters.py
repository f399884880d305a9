# SPDX-License-Identifier: Apache-2.0
"""Which processes are sampled: --comm, --user, -p, -s, and what starts later or becomes another program."""
import os
import pathlib

import pytest

import harness

SPIN = "ready()\nwhile True:\n    sum(range(300))\n"


def sampled(*options, busy, output):
    """The pids of a recording that lasts until each of `busy`, which are pids, has used some CPU time."""
    with harness.Recording(*options, "-r", 500, output=output) as recording:
        recording.sampling()
        for pid in busy:
            harness.wait_busy(pid, 0.1)
        result = recording.stop()
    if result.status == 3:
        return set()
    assert result.status == 0, result
    return {int(stack[0].split(":")[0].split()[1]) for stack, _ in result.stacks}


def test_by_command_name(any_python, target, tmp_path):
    name = "comm-%d" % (os.getpid() % 100000)
    named = target(any_python, "with open('/proc/self/comm', 'w') as f:\n    f.write(%r)\n" % name + SPIN)
    other = target(any_python, SPIN)
    assert sampled("--comm", name, busy=[named.pid, other.pid], output=tmp_path / "a.raw") == {named.pid}
    assert sampled("--comm", name[:-1], busy=[named.pid], output=tmp_path / "b.raw") == set()


def test_by_user(any_python, target, tmp_path):
    mine = target(any_python, SPIN)
    theirs = target(any_python, "import os\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n" + SPIN)
    for user in "nobody", "65534":
        pids = sampled("--user", user, busy=[mine.pid, theirs.pid], output=tmp_path / ("%s.raw" % user))
        assert theirs.pid in pids and mine.pid not in pids


def test_children_that_exist_already_and_those_that_come_later(any_python, target, tmp_path):
    program = target(any_python, """
import os, time
def child(seconds):
    pid = os.fork()
    if not pid:
        end = time.process_time() + seconds
        while time.process_time() < end:
            sum(range(300))
        os._exit(0)
    return pid
first = child(1000)
ready()
say(first)
hear()
second = child(0.2)
os.waitpid(second, 0)
say(second)
hear()
os.kill(first, 9)
""")
    first = int(program.hear())
    with harness.Recording("-p", program.pid, "-s", "-r", 500, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        program.say("go")
        second = int(program.hear())
        harness.wait_busy(first, 0.05)
        result = recording.stop()
    assert result.status == 0, result
    assert {"process %d" % first, "process %d" % second} <= {stack[0].split(":")[0] for stack, _ in result.stacks}


def test_exec_makes_another_program_of_a_process(any_python, target, tmp_path):
    """The pid stays; names and command line are those of the program that runs."""
    after = tmp_path / "after.py"
    after.write_text("import time\ndef second():\n    end = time.process_time() + 0.3\n"
                     "    while time.process_time() < end:\n        sum(range(300))\nsecond()\n")
    before = tmp_path / "before.py"
    before.write_text("import os, sys, time\ndef first():\n    end = time.process_time() + 0.3\n"
                      "    while time.process_time() < end:\n        sum(range(300))\nfirst()\n"
                      "os.execv(sys.executable, [sys.executable, %r])\n" % str(after))
    result = harness.record("-r", 500, "--per-process", output=tmp_path / "out.raw",
                            command=any_python.command + [str(before)])
    assert result.status == 0, result
    lines = {name: {stack[0] for stack, _ in result.stacks if name in harness.names(stack)}
             for name in ("first", "second")}
    (first,), (second,) = lines["first"], lines["second"]
    assert first.split(":")[0] == second.split(":")[0]
    assert "before.py" in first and "after.py" in second and "before.py" not in second


@pytest.fixture
def cgroup():
    """A cgroup of our own, of version 2."""
    roots = [p for p in map(pathlib.Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if (p / "cgroup.procs").exists()]
    if not roots:
        pytest.skip("no cgroups of version 2")
    mine = roots[0] / ("pybpf-test-%d" % os.getpid())
    mine.mkdir()
    yield mine
    for pid in (mine / "cgroup.procs").read_text().split():
        (roots[0] / "cgroup.procs").write_text(pid)
    mine.rmdir()


# Has a name, a child if it is wanted, and becomes another user.
PERSON = """
import os
name, uid, has_child = _sys.argv[1], int(_sys.argv[2]), _sys.argv[3] == "True"
with open("/proc/self/comm", "w") as f: f.write(name)
told, tell = os.pipe()
child = os.fork() if has_child else None
if uid:
    os.setgroups([])
    os.setresuid(uid, uid, uid)
if child == 0:
    os.write(tell, b"1")
else:
    if child: os.read(told, 1)
    ready()
    say(child)
while True: sum(range(300))
"""


def test_filters_together(any_python, target, cgroup, tmp_path):
    """Each narrows what the others leave."""
    red, blue = ("%s-%d" % (word, os.getpid() % 100000) for word in ("red", "blue"))
    a, b, c = (target(any_python, PERSON, *person) for person in
               ((red, 0, False), (red, 65534, False), (blue, 65534, True)))
    child = int([each.hear() for each in (a, b, c)][2])
    for pid in a.pid, c.pid, child:
        (cgroup / "cgroup.procs").write_text(str(pid))
    inside = ["--cgroup", "/" + cgroup.name]
    for number, (options, expected) in enumerate((
            (["--comm", red, "--user", "nobody"], {b.pid}),
            (["-p", "%d,%d" % (a.pid, b.pid), "--user", "nobody"], {b.pid}),
            (["-p", "%d,%d" % (a.pid, c.pid), "--comm", red], {a.pid}),
            (["-p", c.pid, "-s", "--comm", blue, "--user", "65534"], {c.pid, child}),
            (["-p", c.pid, "--comm", blue], {c.pid}),
            (["-p", a.pid, "-s", "--user", "nobody"], set()),
            (inside, {a.pid, c.pid, child}),
            ([*inside, "--user", "nobody"], {c.pid, child}),
            ([*inside, "-p", "%d,%d" % (a.pid, b.pid)], {a.pid}),
            ([*inside, "-p", c.pid, "-s", "--comm", red], set()))):
        found = sampled("--per-process", *options, busy=[a.pid, b.pid, c.pid, child], output=tmp_path / ("%d.raw" % number))
        assert found == expected, (options, found, {"a": a.pid, "b": b.pid, "c": c.pid, "child": child})


@pytest.mark.parametrize("several", [1, 2, 4, 5])
def test_each_of_several_targets(any_python, target, several, tmp_path):
    """Few are part of the program's code, many are looked up."""
    wanted, other = [target(any_python, SPIN) for _ in range(several)], target(any_python, SPIN)
    pids = ",".join(str(each.pid) for each in wanted)
    found = sampled("--per-process", "-p", pids, busy=[each.pid for each in [*wanted, other]], output=tmp_path / "out.raw")
    assert found == {each.pid for each in wanted}


def test_an_idle_target_among_busy_programs(any_python, target, tmp_path):
    """Those that nobody asked for leave no trace: no sample, no record of any kind."""
    idle, busy = target(any_python, "ready()\nhear()\n"), [target(any_python, SPIN) for _ in range(os.cpu_count() + 1)]
    with harness.Recording("-p", idle.pid, "-r", 1000, "--json", output=tmp_path / "out.raw") as recording:
        recording.sampling()
        for program in busy:
            harness.wait_busy(program.pid, 0.2)
        result = recording.stop()
    accounts = result.accounts
    assert result.status == 3, result
    assert accounts["cost"]["bpf_runs"] > 200, accounts
    assert accounts["samples"] == {"taken": 0, "written": 0, "lost": 0, "truncated": 0}, accounts
    assert not any(accounts[what] for what in ("processes", "threads", "stacks", "code_objects")), accounts
