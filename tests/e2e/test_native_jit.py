# SPDX-License-Identifier: Apache-2.0
"""Native stacks through code that is made at run time: Python's perf trampolines (-X perf, -X perf_jit), and a JIT compiler's."""
import collections
import os
import platform
import shutil
import subprocess

import harness
import pytest

WORK = """
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def work():
    total = 0
    for i in range(20000):
        total += i * i % 7
    return total + fib(12)
"""
PROGRAM = WORK + """def main():
    while True:
        work()
for _ in range(20):
    work()
ready()
main()
"""
NAMELESS = "[unknown] ([jit])"


def functions(stack):
    """The program's own; a debug build has a C function main as well."""
    return [harness.frame(label).name for label in stack if "(program.py:" in label]


def look(ran):
    """Samples, those that are marked, those with code of no name."""
    judged, marked, nameless = 0, collections.Counter(), 0
    for stack, count in ran.stacks:
        judged += count
        names = functions(stack)
        assert names[:2] == ["<module>", "main"] and names[2:3] in ([], ["work"]) and set(names[3:]) <= {"fib"}, stack
        cut = [label for label in stack if "truncated" in label]
        marked.update({cut[0]: count} if cut else {})
        nameless += count if NAMELESS in stack else 0
    return judged, marked, nameless


@pytest.fixture
def start(target):
    """target(), whose processes' files in /tmp are removed."""
    pids = []

    def run(*args, **more):
        process = target(*args, **more)
        pids.append(process.pid)
        return process

    yield run
    for pid in pids:
        forget(pid)


def forget(pid):
    for name in "/tmp/perf-%d.map", "/tmp/jit-%d.dump":
        if os.path.exists(name % pid):
            os.unlink(name % pid)


WAYS = {"perf": {"PYTHONPERFSUPPORT": "1"}, "perf_jit": {"PYTHON_PERF_JIT_SUPPORT": "1"}}


@pytest.fixture(params=WAYS)
def way(request, every_python):
    """The environment in which an interpreter makes perf trampolines."""
    # it comes without them on musl, and without the jitdump before 3.13
    words = "import os, sys; print(os.getpid(), sys.is_stack_trampoline_active())"
    ran = subprocess.run([*every_python.command, "-c", words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         env=harness.interpreters.environment(**WAYS[request.param]))
    pid, active = ran.stdout.decode().split()
    forget(int(pid))
    if active != "True":
        pytest.skip("no trampolines for %s" % request.param)
    return WAYS[request.param]


@pytest.mark.versions((3, 12), (3, 16))
def test_perf_trampolines(every_python, way, start, record):
    """They are found by their names in /tmp/perf-PID.map or /tmp/jit-PID.dump, or by their code while it has not been written to
    there yet, as Python writes the latter in blocks; and give way to the Python frames that they stand for."""
    process = start(every_python, PROGRAM, env=way)
    ran = record("-n", "-p", process.pid, "-r", 999, "-d", 2)
    assert ran.status == 0, ran
    judged, marked, nameless = look(ran)
    assert judged > 50 and not nameless, (judged, nameless)
    # in a trampoline's own first instructions there is nothing to go by
    assert sum(marked.values()) <= 0.01 * judged + 3, marked


# What makes Python write all that it knows of the functions that have been called: more of them. More than can wait to be written.
FILLERS = """
def fill():
    for i in range(200):
        exec("def filler%d(): pass\\nfiller%d()" % (i, i))
"""
NAMED = FILLERS + WORK + """
def main():
    work()
    fill()
    ready()
    while True:
        work()
main()
"""


def trampolines(stack, script):
    """The functions whose trampolines are in a stack."""
    found = []
    for label in stack:
        if label.startswith("py::"):
            assert label.endswith(":%s ([jit])" % script), stack
            found.append(label.split(":")[2])
    return found


@pytest.mark.versions((3, 12), (3, 16))
def test_trampolines_by_name(every_python, way, start, record):
    """Among all of the interpreter's own frames there is one trampoline for each Python frame, with its name, in the same order."""
    process = start(every_python, NAMED, env=way)
    ran = record("--native=all", "-p", process.pid, "-r", 999, "-d", 2)
    assert ran.status == 0, ran
    judged = same = 0
    for stack, count in ran.stacks:
        if any("truncated" in label for label in stack):
            continue
        names = functions(stack)
        assert names[:2] == ["<module>", "main"], stack
        judged += count
        found = trampolines(stack, process.script)
        same += count if found == names else 0
        assert found[:len(names)] == names[:len(found)] and abs(len(found) - len(names)) <= 1, stack
    # the innermost Python frame comes a few instructions after its trampoline
    assert judged > 50 and same > 0.95 * judged, (judged, same)


FORKS = FILLERS + """
import os
def spin():
    total = 0
    for i in range(20000):
        total += i * i % 7
def parents():
    spin()
    fill()
    ready()
    while True:
        spin()
def childs():
    spin()
    fill()
    say(os.getpid())
    while True:
        spin()
spin()
go, gone = os.pipe()
if os.fork() == 0:
    os.read(go, 1)  # the parent has written its file further by then
    childs()
fill()
os.write(gone, b"x")
parents()
"""


@pytest.mark.versions((3, 13), (3, 16))
def test_forked_jitdump(every_python, way, start, tmp_path, record):
    """A child that has been forked writes a jitdump of its own; the remains of its parent's, which it also writes, do no harm."""
    process = harness.Target(every_python, FORKS, folder=tmp_path, env=way)
    with process:
        heard = [process.hear(), process.hear()]
        child = next(int(word) for word in heard if word != "ready")
        try:
            ran = record("--native=all", "-p", process.pid, "-p", child, "-r", 999, "-d", 2)
        finally:
            forget(child)
            forget(process.pid)
    assert ran.status == 0, ran
    shares = collections.Counter()
    for stack, count in ran.stacks:
        if any("truncated" in label for label in stack):
            continue
        who = "parents" if "parents" in functions(stack) else "childs"
        assert who in functions(stack), stack
        named = "py::%s:%s ([jit])" % (who, process.script) in stack and "py::spin:%s ([jit])" % process.script in stack
        shares[who, named] += count
    for who in "parents", "childs":
        assert shares[who, True] > 20 and shares[who, False] <= 0.05 * shares[who, True], shares


# A compiler in the program, with a jitdump in a folder of its own: a loop with a frame pointer.
COMPILER = """
import ctypes, mmap, os, struct
code = bytes.fromhex("554889e5 89f9 ffc9 75fc 5dc3")
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(code)
where = ctypes.addressof(ctypes.c_char.from_buffer(memory))
loop = ctypes.CFUNCTYPE(None, ctypes.c_uint)(where)
file = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "jit-%d.dump" % os.getpid()), "wb+", buffering=0)
file.write(struct.pack("<6I2Q", 0x4a695444, 1, 40, 62, 0, os.getpid(), 0, 0))
mark = mmap.mmap(file.fileno(), 40, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
def compiled(name):
    file.write(struct.pack("<2IQ2I4Q", 0, 57 + len(name) + len(code), 1, os.getpid(), os.getpid(), where, where, len(code), 1))
    file.write(name + b"\\0" + code)
"""
COMPILED = COMPILER + """
def work():
    loop(3000000)
def main():
    work()
    fill()
    ready()
    while True:
        work()
compiled(b"compiled loop")
main()
"""
REPLACED = COMPILER + """
import threading
def other():
    hear()
    compiled(b"second")
def main():
    while True:
        loop(3000000)
compiled(b"first")
threading.Thread(target=other).start()
ready()
main()
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the compiler knows x86-64 only")
@pytest.mark.versions((3, 12), (3, 16))
def test_other_jitdump(every_python, way, start, record):
    """That of another compiler in the process, beside Python's own."""
    process = start(every_python, FILLERS + COMPILED, env=way)
    ran = record("--native=all", "-p", process.pid, "-r", 999, "-d", 2)
    assert ran.status == 0, ran
    judged = named = 0
    for stack, count in ran.stacks:
        if "compiled loop ([jit])" not in stack:
            continue
        assert stack[-1] == "compiled loop ([jit])" and functions(stack) == ["<module>", "main", "work"], stack
        judged += count
        named += count if trampolines(stack, process.script) == functions(stack) else 0
    assert judged > 50 and judged > 0.8 * ran.samples and named > 0.95 * judged, (judged, named, ran.samples)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the compiler knows x86-64 only")
def test_code_in_the_place_of_other_code(any_python, target, tmp_path):
    """What is at an address is looked up for each sample where a compiler may put other code there."""
    process = target(any_python, REPLACED)
    with harness.Recording("-n", "-p", process.pid, "-r", 999, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        harness.wait_busy(process.pid, 0.3)
        process.say("go")
        harness.wait_busy(process.pid, 0.6)
        ran = recording.stop()
    found = {name: harness.share(ran.stacks, name)[0] for name in ("first", "second")}
    assert found["first"] > 100 and found["second"] > 200 and sum(found.values()) > 0.95 * ran.samples, (found, ran)


# More functions than there is memory for, behind the one that runs.
MANY = COMPILER + """
def another(i):
    name = b"another function %d\\0" % i
    return struct.pack("<2IQ2I4Q", 0, 57 + len(name), 1, os.getpid(), os.getpid(), i, i, 1, i) + name + b"\\xc3"
compiled(b"compiled loop")
file.write(b"".join(map(another, range(400000))))
ready()
while True:
    loop(3000000)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the compiler knows x86-64 only")
def test_memory_of_names(any_python, target, record):
    """Names of JIT code have a part of the memory: who has more of them loses those, and nobody loses a stack."""
    process = target(any_python, MANY)
    ran = record("-n", "-p", process.pid, "-r", 999, "-d", 2, "--max-memory", "64M")
    assert ran.status == 0, ran
    assert "names of JIT code fill their part of --max-memory" in ran.stderr, ran
    assert "limit of --max-memory is reached" not in ran.stderr and "memory_limit" not in ran.stderr, ran
    named = sum(count for stack, count in ran.stacks if stack[-1] == "compiled loop ([jit])")
    assert named > 0.8 * ran.samples > 50, (named, ran.samples)


SCRIPT = """
function hot(n) { let sum = 0; for (let i = 0; i < n; i++) sum += Math.sqrt(i) % 7; return sum; }
function around(n) { return hot(n) + hot(n / 2); }
for (let i = 0; i < 300; i++) around(20000);
for (let i = 0; i < 300; i++) new Function("return " + i)();  // what waits to be written is written
console.log("ready");
for (;;) around(20000);
"""


def test_jitdump_of_node(tmp_path, record):
    """Another program's, which is in another folder."""
    node = shutil.which("node")
    if not node:
        pytest.skip("no node")
    (tmp_path / "program.js").write_text(SCRIPT)
    known = subprocess.run([node, "--v8-options"], stdout=subprocess.PIPE, text=True).stdout
    # no optimizing compiler, which would make new code of it at any time, that waits to be written
    still = ["--no-" + name for name in ("opt", "maglev", "turbofan") if "--%s " % name in known]
    command = [node, "--perf-prof", "--interpreted-frames-native-stack", *still, str(tmp_path / "program.js")]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            assert (tmp_path / ("jit-%d.dump" % process.pid)).exists()
            ran = record("--native=all", "-p", process.pid, "-r", 999, "-d", 2)
        finally:
            process.kill()
    assert ran.status == 0, ran
    hot = nameless = judged = 0
    for stack, count in ran.stacks:
        if not any(label.startswith("JS:") for label in stack):
            continue  # other threads
        judged += count
        nameless += count if NAMELESS in stack else 0
        hot += count if any(label.startswith("JS:") and "hot " in label for label in stack) else 0
    assert judged > 50 and hot > 0.8 * judged and nameless <= 0.05 * judged, (judged, hot, nameless)
