# SPDX-License-Identifier: Apache-2.0
"""The names that Python gives its threads: with every interpreter, renamed, ended, by thousands, in children and namespaces."""
import re
import signal

import pytest

import harness
from harness import interpreters

RATE = 1000

# A thread's function is called as the test knows it, whatever its name. Each says when it has run for a while: it was sampled.
PROGRAM = """
import threading, time
def work():
    end = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) + 0.06
    while time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) < end: sum(range(300))
class Base(threading.Thread):
    def __init__(self, **more):
        threading.Thread.__init__(self, **more)
        self.steps = [threading.Event(), threading.Event()]
        self.done = threading.Event()
    def run(self):
        work(); self.done.set(); self.steps[0].wait(); self.done.clear()
        self.more(); self.done.set(); self.steps[1].wait()
    def more(self):
        work()
class Renamed(Base):
    def run(self): Base.run(self)
    def more(self): self.name = "it is called otherwise"; work()
class Ended(Base):
    def run(self): Base.run(self)
    def more(self): pass
class Crowded(Base):
    def __init__(self, **more):
        Base.__init__(self, **more)
        for i in range(70): setattr(self, "attribute%d" % i, i)
    def run(self): Base.run(self)
class Unicode(Base):
    def run(self): Base.run(self)
class Long(Base):
    def run(self): Base.run(self)
class Odd(Base):
    def run(self): self.__dict__; Base.run(self)
def plain():
    work(); threading.current_thread().done.set(); threading.current_thread().steps[1].wait()
unnamed = threading.Thread(target=plain)
unnamed.done, unnamed.steps = threading.Event(), [threading.Event(), threading.Event()]
threads = [Renamed(name="first name"), Ended(name="ends soon"), Crowded(name="with many attributes"),
           Unicode(name=u"B\\u00fcro \\u4e16\\u754c \\U0001f40d"), Long(name="long " * 60 + "!"), Odd(name="a;b\\nc"), unnamed]
for t in threads: t.start()
for t in threads: t.done.wait()
work()
ready()
hear()
threading.main_thread().name = "the main one"
for t in threads:
    t.done.clear() if t is not unnamed else None
    t.steps[0].set()
threads[1].steps[1].set()
threads[1].join()
for t in threads: t.done.wait()
ready()
hear()
for t in threads: t.steps[1].set()
"""

NAMES = {
    "Renamed.run": "it is called otherwise",
    "Ended.run": "ends soon",
    "Crowded.run": "with many attributes",
    "Unicode.run": "B\u00fcro \u4e16\u754c \U0001f40d",
    "Long.run": "long " * 60 + "!",
    "Odd.run": "a;b\nc",
    "plain": "Thread-1",
    "<module>": "the main one",
}

THREAD = re.compile(r"thread \((\d+)\)(?:: (.*))?", re.S)


def thread_names(stacks):
    """{(pid, tid): name} and [(tid, stack below the thread's frame)]."""
    names, below = {}, []
    for stack, _ in stacks:
        stack = harness.without_process(stack)
        tid, name = THREAD.fullmatch(stack[0]).groups()
        assert names.setdefault(int(tid), name) == name
        below.append((int(tid), stack[1:]))
    return names, below


def of_functions(stacks):
    """{name of the function that tells a thread: the thread's name}. Names without a class's are told by 3.10 and older."""
    names, below = thread_names(stacks)
    found = {}
    for tid, stack in below:
        functions = harness.names(stack)
        for function, frame in zip(functions, stack):
            known = function if "." in function or function in NAMES else None
            if function == "run":  # the line tells the class
                known = LINES.get(harness.frame(frame).line)
            if known in NAMES:
                assert found.setdefault(known, names[tid]) == names[tid], (known, stack)
                break
    return found


LINES = {}
for _number, _line in enumerate(PROGRAM.splitlines(), 4):
    if _line.startswith("class "):
        _class = _line[6:].partition("(")[0]
    if _line.startswith("    def run(self): "):
        LINES[_number] = _class + ".run"


@pytest.mark.parametrize("interpreter", interpreters.distinct(), ids=lambda i: i.id)
def test_names_of_threads(interpreter, target, tmp_path):
    program = target(interpreter, "ready()\nhear()\n" + PROGRAM)
    with harness.Recording("-p", program.pid, "-t", "-r", RATE, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        program.say("begin")
        program.wait_ready()
        recording.send(signal.SIGUSR1)  # all that were sampled have their names by now
        recording.hear("Wrote")
        before = of_functions(harness.parse_raw((tmp_path / "out.raw").read_bytes()))
        program.say("go on")
        program.wait_ready()
        result = recording.stop()
    expected = dict(NAMES)
    if interpreter.version >= (3, 10):
        expected["plain"] = "Thread-1 (plain)"
    assert of_functions(result.stacks) == expected
    expected.update({"Renamed.run": "first name", "<module>": "MainThread"})
    assert before == expected


CROWD = """
import threading, time
threading.stack_size(1 << 16)
count, left, lock, over = 600, [600], threading.Lock(), threading.Event()
def work():
    end = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) + 0.004
    while time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) < end: sum(range(300))
    with lock:
        left[0] -= 1
        if not left[0]: done.set()
    over.wait()
done = threading.Event()
for i in range(count): exec("def function_%d(): work()" % i)
threads = [threading.Thread(target=globals()["function_%d" % i], name="number %d" % i, daemon=True) for i in range(count)]
for t in threads: t.start()
done.wait()
ready()
hear()
"""


@pytest.mark.parametrize("interpreter", interpreters.select(below=(3, 13))[-1:] + interpreters.select()[-1:],
                         ids=lambda i: i.id)
def test_a_crowd(interpreter, target, tmp_path):
    """Hundreds at a time: each has its own name and no other's."""
    program = target(interpreter, "ready()\nhear()\n" + CROWD)
    with harness.Recording("-p", program.pid, "-t", "-r", 2000, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        program.say("begin")
        program.wait_ready()
        result = recording.stop()
    names, below = thread_names(result.stacks)
    seen = set()
    for tid, stack in below:
        for function in harness.names(stack):
            if function.startswith("function_"):
                assert names[tid] == "number " + function[len("function_"):], (names[tid], stack)
                seen.add(function)
    assert len(seen) > 500, len(seen)


CHILDREN = """
import os, threading, time
def work():
    end = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) + 0.1
    while time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) < end: sum(range(300))
    with lock:
        left[0] -= 1
        if not left[0]: done.set()
    over.wait(SECONDS)
def run(*names):
    lock, left, done, over = threading.Lock(), [len(names)], threading.Event(), threading.Event()
    globals().update(locals())
    threads = [threading.Thread(target=functions[name], name=name, daemon=True) for name in names]
    for t in threads: t.start()
    done.wait()
def of_parent(): work()
def of_child(): work()
def of_child_itself():
    left[0] += 1; work()
functions = {"parent's": of_parent, "child's": of_child}
SECONDS = 2  # names are read once a second
run("parent's")
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
else:
    threading.current_thread().name = "child itself"
    run("child's")
    of_child_itself()
    os._exit(0)
"""


@pytest.mark.parametrize("interpreter", interpreters.select(), ids=lambda i: i.id)
def test_children_in_a_namespace(interpreter, tmp_path):
    """Thread ids are not those that the host has, and a child of fork inherits Thread objects with its parent's."""
    script = tmp_path / "program.py"
    script.write_text(CHILDREN)
    result = harness.record("-s", "-t", "-r", RATE, output=tmp_path / "out.raw",
                            command=["unshare", "--pid", "--fork", "--mount-proc"] + interpreter.command + [script])
    assert result.status == 0, result
    names, below = thread_names(result.stacks)
    found = {}
    for tid, stack in below:
        for function in {"of_parent", "of_child", "of_child_itself"}.intersection(harness.names(stack)):
            found.setdefault(function, set()).add(names[tid])
    assert found == {"of_child": {"child's"}, "of_child_itself": {"child itself"}, "of_parent": {"parent's"}}, found
