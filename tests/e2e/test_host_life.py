# SPDX-License-Identifier: Apache-2.0
"""What happens in the life of a process: threads that outlive the first one, daemons, upgrades, pids used again."""
import os
import shutil
import subprocess

import pytest

import harness

SPIN = "def spin():\n    while True: sum(range(300))\n"


def of(result, pid):
    return [(stack[1:], n) for stack, n in result.stacks if stack[0].startswith("process %d:" % pid)]


@pytest.mark.parametrize("when", ["before", "during"])
def test_the_main_thread_ends_first(when, any_python, target, tmp_path):
    program = target(any_python, "import ctypes, threading, os\n" + SPIN +
                     "threading.Thread(target=spin).start()\nready()\nhear()\nsay('ends')\nctypes.CDLL(None).pthread_exit(None)\n")

    def end():
        program.say("go")
        assert program.hear() == "ends"
    if when == "before":
        end()
    with harness.Recording("--all-python", "-n", "-r", 500, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        if when == "during":
            end()
        harness.wait_busy(program.pid, 0.3)
        result = recording.stop()
    mine = of(result, program.pid)
    hits, samples = harness.share(mine, "spin", leaf=False)
    assert hits >= 0.98 * samples > 40, mine[:4]
    nameless = sum(n for stack, n in mine if any("[unknown]" in frame for frame in stack))
    assert nameless <= 0.02 * samples and harness.share(mine, "start_thread", leaf=False)[0] >= 0.9 * samples, mine[:4]


# What servers that are written in C do: Python does not know of it, and its states go on naming the parent's thread.
C_FORK = """
import ctypes, os, time
fork = ctypes.PyDLL(None).fork
ready()
pid = fork()
if not pid:
    while True: sum(range(300)) if %r else time.sleep(0.001)
say(pid)
hear()
os.kill(pid, 9)
"""


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
def test_a_child_that_python_does_not_know_of(busy, python, target, tmp_path):
    """Nothing is wrong with what Python has there, though no thread's state names a thread of the process."""
    program = target(python, C_FORK % busy)
    child = int(program.hear())
    try:
        with harness.Recording("-p", child, "-r", 1000, output=tmp_path / "out.raw") as recording:
            recording.sampling()
            if busy:
                harness.wait_busy(child, 0.4)
            result = recording.stop()
        assert result.status == 0 or (not busy and result.status == 3), result
        listed = harness.pybpf("list", "--json")
        assert listed.status == 0, listed
        assert [each["status"] for each in harness.json.loads(listed.stdout) if each["pid"] == child] == ["ok"], listed
    finally:
        program.say("go")
    if busy:
        hits, samples = harness.share(result.stacks, "<module>", leaf=False)
        assert hits == samples > 200, result


# Forks all the time until it is told that it is enough; then the children work, each for a while.
FORKING = """
import os, select, sys, time
def work():
    end = time.process_time() + 0.01
    while time.process_time() < end: pass
wait, go = os.pipe()
children = []
ready()
hear()
while not select.select([sys.stdin], [], [], 0.004)[0]:
    if len(children) == 300: continue
    pid = os.fork()
    if not pid:
        os.close(go)
        os.read(wait, 1)
        work()
        os._exit(0)
    children.append(pid)
os.close(go)
for pid in children: os.waitpid(pid, 0)
say(*children)
hear()
"""


def test_children_that_are_born_while_it_begins(any_python, target, tmp_path):
    """The search for who is there already misses none of them, whether it has come to their parent by then or not."""
    program = target(any_python, FORKING)
    program.say("begin")
    with harness.Recording("--all-python", "-r", 2000, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        program.say("enough")
        children = {int(word) for word in program.hear().split()}
        result = recording.stop()
    assert result.status == 0 and len(children) > 10, (children, result)
    missed = {pid for pid in children if not of(result, pid)}
    assert not missed, (len(missed), len(children))


def test_daemons_are_followed(any_python, tmp_path):
    """Two forks and setsid, parents gone: still a descendant."""
    code = ("import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
            "def daemon():\n    end = time.process_time() + 0.3\n    while time.process_time() < end: pass\ndaemon()\n")
    result = harness.record("-s", "-r", 1000, output=tmp_path / "out.raw", command=any_python.command + ["-c", code])
    assert result.status == 0 and harness.share(result.stacks, "daemon")[0] >= 200, result


@pytest.mark.parametrize("when", ["before", "during"])
def test_the_binary_is_replaced_in_place(when, target, tmp_path):
    """An upgrade: the file that runs has no name any more."""
    mine = tmp_path / "bin" / "python3"
    mine.parent.mkdir()
    shutil.copy2(os.path.realpath("/usr/bin/python3"), mine)
    program = target([str(mine)], SPIN + "ready()\nspin()\n")

    def upgrade():
        shutil.copy2("/bin/true", str(mine) + ".new")
        os.rename(str(mine) + ".new", mine)

    if when == "before":
        upgrade()
    with harness.Recording("-p", program.pid, "-r", 500, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        if when == "during":
            upgrade()
        harness.wait_busy(program.pid, 0.2)
        result = recording.stop()
    hits, samples = harness.share(result.stacks, "spin", leaf=False)
    assert hits == samples > 40, result


def test_vfork_and_exec_of_another_python(any_python, tmp_path):
    """The child's samples are those of the program that it became."""
    script = tmp_path / "child.py"
    script.write_text("import time\ndef child():\n    end = time.process_time() + 0.05\n"
                      "    while time.process_time() < end: pass\nchild()\n")
    code = ("import os, sys\nfor _ in range(10):\n    pid = os.posix_spawn('/usr/bin/python3', ['/usr/bin/python3', %r], "
            "os.environ)\n    os.waitpid(pid, 0)\n" % str(script))
    result = harness.record("-s", "-r", 1000, output=tmp_path / "out.raw", command=any_python.command + ["-c", code])
    assert result.status == 0, result
    with_child = {stack[0] for stack, _ in result.stacks if "child" in harness.names(stack)}
    assert len(with_child) == 10 and all(str(script) in label for label in with_child), with_child


# fork, exec, and exec again, as by `#!/usr/bin/env python3`: the kernel likes to use the first address space's memory for the third.
TWICE = """\
import os, sys, time
def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def before(): spin(0.01)
def after(): spin(0.03)
if len(sys.argv) > 1:
    after()
    sys.exit()
os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
for n in range(30):
    if not os.fork():
        before()
        os.execv("/usr/bin/env", ["env", sys.executable, __file__, "again"])
    os.wait()
"""


def test_two_programs_in_a_row_in_a_child(any_python, tmp_path):
    script = tmp_path / "twice.py"
    script.write_text(TWICE)
    result = harness.record("-s", "-r", 1000, output=tmp_path / "out.raw", command=any_python.command + [script])
    assert result.status == 0, result
    assert all(str(script) in stack[0] for stack, _ in result.stacks), result.stacks
    for name, ends in ("after", True), ("before", False):
        processes = {stack[0] for stack, _ in result.stacks if name in harness.names(stack)}
        assert len(processes) == 30 and all(label.endswith(' again"') == ends for label in processes), processes


# What libffi does with the pages of its trampolines, where it is part of the interpreter's file.
ONCE_MORE = """
import mmap, sys
ready()
hear()
for line in open("/proc/self/maps"):
    words = line.split()
    if "x" in words[1] and len(words) > 5 and ("libpython3" in words[5] or words[5] == sys.executable):
        with open(words[5], "rb") as f:
            kept = mmap.mmap(f.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC, offset=int(words[2], 16) + 8192)
        say("mapped")
        break
def spin():
    while True: sum(range(300))
spin()
"""


@pytest.mark.parametrize("kind", ["any", "system"])  # mostly one with a libpython, and one without
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_part_of_the_interpreter_is_mapped_once_more(when, kind, any_python, target, tmp_path):
    path = any_python.path if kind == "any" else "/usr/bin/python3"
    program = target([os.path.realpath(path)], ONCE_MORE)

    def go():
        program.say("go")
        assert program.hear() == "mapped"

    if when == "before":
        go()
    with harness.Recording("--all-python", "-r", 500, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        if when == "during":
            go()
        harness.wait_busy(program.pid, 0.3)
        result = recording.stop()
    mine = of(result, program.pid)
    hits, samples = harness.share(mine, "spin", leaf=False)
    assert hits >= 0.9 * samples > 80, (hits, samples, mine[:4])


# What is told of a process's mappings is read when another program has taken its place, which is no Python.
LEAVES = """\
import os, signal, subprocess, sys, time
if len(sys.argv) > 2:
    os.execv("/bin/sh", ["/bin/sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"])
os.kill(os.getppid(), signal.SIGSTOP)
child = subprocess.Popen([sys.argv[1], "-S", "-E", __file__, sys.argv[1], "child"])
try:
    while open("/proc/%d/comm" % child.pid).read() != "sh\\n": time.sleep(0.01)
finally:
    os.kill(os.getppid(), signal.SIGCONT)
child.wait()
for i in range(3000000): pass
"""


def test_a_program_that_is_no_python_takes_its_place(any_python, tmp_path):
    copy = harness.interpreters.select()
    pythons = [i for i in harness.interpreters.select() if not i.root]
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    for python in pythons[-1], pythons[0]:
        result = harness.record("-s", "-r", 1000, output=tmp_path / "out.raw",
                                command=any_python.command + [script, os.path.realpath(python.path)])
        assert result.status == 0 and result.samples > 50, result
        assert not [stack for stack, _ in result.stacks if "/bin/sh" in stack[0]], result.stacks[:5]


# Another program than what sent its records is there when they are read: its parent stops pybpf meanwhile, which is its own.
BECOMES = """\
import os, signal, subprocess, sys, time
def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def before():
    spin(0.2)
    os.execv("/bin/sleep", ["sleep", "60"])
if len(sys.argv) > 1:
    before()
os.kill(os.getppid(), signal.SIGSTOP)
child = subprocess.Popen([sys.executable, __file__, "child"])
try:
    while open("/proc/%d/comm" % child.pid).read() != "sleep\\n": time.sleep(0.01)
finally:
    os.kill(os.getppid(), signal.SIGCONT)
spin(1)
child.kill()
child.wait()
"""


def test_another_program_when_its_records_are_read(any_python, tmp_path):
    script = tmp_path / "becomes.py"
    script.write_text(BECOMES)
    result = harness.record("-s", "-r", 1000, output=tmp_path / "out.raw", command=any_python.command + [script])
    assert result.status == 0, result
    ours = [(stack, n) for stack, n in result.stacks if "becomes.py child" in stack[0]]
    hits, samples = harness.share(ours, "before", leaf=False)
    assert hits > 100, (hits, samples, ours[:4])


def test_threads_renamed_while_they_run(any_python, target, tmp_path):
    program = target(any_python, """
import ctypes, threading
name = lambda text: ctypes.CDLL(None).prctl(15, text, 0, 0, 0)
go = threading.Event()
def spin():
    name(b"before")
    started.set()
    while not go.is_set(): sum(range(300))
    name(b"after")
    while True: sum(range(300))
started = threading.Event()
threading.Thread(target=spin, daemon=True).start()
started.wait()
ready()
hear()
go.set()
say("renamed")
hear()
""")
    with harness.Recording("-p", program.pid, "-t", "-r", 200, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        program.say("go")
        assert program.hear() == "renamed"
        harness.time.sleep(6)  # a thread's name is asked for every five seconds
        result = recording.stop()
    threads = {label for stack, _ in result.stacks for label in stack if label.startswith("thread (")}
    assert any(label.endswith(": after") for label in threads), threads


REUSE = """\
import os, sys, time
# Two scripts in turn under one pid: each child says its own function's name.
first, second, python, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
again = 0
for i in range(count):
    script = (first, second)[i % 2]
    with open("/proc/sys/kernel/ns_last_pid", "w") as f:
        f.write(str(base)) if i else None
    pid = os.fork()
    if not pid:
        if i % 4 < 2:
            (alpha if i % 2 == 0 else beta)()
            os._exit(0)
        os.execv(python, [python, "-S", "-E", script])
    if not i:
        base = pid - 1
    again += i and pid == base + 1
    os.waitpid(pid, 0)
print(again)
"""


@pytest.mark.alone  # others tell processes by their pids
@pytest.mark.parametrize("options", [[], ["-n"]], ids=["python", "native"])
def test_a_pid_that_is_used_again(options, any_python, tmp_path):
    """Births under few pids: no function of one program in another's name."""
    work = ("import time\ndef %s():\n    end = time.process_time() + 0.004\n    while time.process_time() < end: pass\n")
    scripts = []
    for name in "alpha", "beta":
        scripts.append(tmp_path / (name + "_script.py"))
        scripts[-1].write_text(work % name + name + "()\n")
    main = tmp_path / "main.py"
    main.write_text(work % "alpha" + work % "beta" + REUSE)
    count = 10000 if os.environ.get("PYBPF_FULL") else 200
    # The counter of pids is that of the profiler's own namespace: it knows processes by these. Another process may be faster.
    words = any_python.command + [str(main), str(scripts[0]), str(scripts[1]), any_python.path, str(count)]
    with harness.Recording("--all-python", "-r", 2000, *options, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        ran = subprocess.run(words, check=True, timeout=1500, env=harness.interpreters.environment(), stdout=subprocess.PIPE)
        result = recording.stop()
    assert result.status == 0, result
    assert int(ran.stdout) > 0.5 * count, ran  # else nothing was looked at
    right = wrong = 0
    for stack, n in result.stacks:
        for mine, other in ("alpha", "beta"), ("beta", "alpha"):
            if mine + "_script.py" in stack[0] and "main.py" not in stack[0]:
                files = " ".join(stack[1:])
                right += n if mine + "_script" in files else 0
                wrong += n if other + "_script" in files or "main.py" in files else 0
        if str(main) in stack[0]:
            wrong += n if "_script.py:" in " ".join(stack[1:]) else 0
    assert right > count and wrong == 0, (right, wrong)
