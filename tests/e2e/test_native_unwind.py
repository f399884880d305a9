# SPDX-License-Identifier: Apache-2.0
"""Native stacks of programs without Python (tests/hosts/chain.cc, and chain.rs where there is a rustc) are whole and true.

Each function of the program may have been called by certain others only, so every stack can be judged by itself, from main
to its leaf. At least 99.9 % are complete, every other one is marked. PYBPF_UNWIND_SAMPLES are judged (default 3000).
"""
import collections
import os
import re
import shutil
import subprocess

import harness
import pytest

SAMPLES = int(os.environ.get("PYBPF_UNWIND_SAMPLES", "3000"))
NATIVE = re.compile(r"(\S+?)(?:@.*)? \((\S+)\)")
NAMELESS = re.compile(r"((\S+)\+0x[0-9a-f]+)")

# function of the program -> those that it is called by
CALLERS = {
    "step": {"main", "in_qsort", "through_alloca", "through_realigned", "in_signal", "through_exception", "last_of_tail",
             "through_pushes", "through_depth"},
    "leaf": {"step"}, "by_rcx": {"leaf"}, "by_syscall": {"leaf"}, "last_of_tail": {"through_tail"},
    "first_of_tail": {"through_tail"},
    "throw_it": {"through_exception"},
    "in_qsort": {"through_qsort"}, "in_signal": {"through_signal"}, "through_depth": {"step", "through_depth"},
}
# what of others' code stands between these and what calls them
BETWEEN = {"in_qsort": "qsort", "in_signal": "raise"}


def chain_fault(chain):
    """What is wrong with the program's own frames as a whole, or None."""
    if not chain:
        return "is without main"
    deep = sum(name == "through_depth" for name in chain)
    if deep % 31 and chain[-1] != "through_depth":
        return "%d of through_depth" % deep
    return None


def fault(stack, program):
    """What is wrong with a stack that is said to be complete, or None."""
    chain, between = [], []
    for label in stack:
        if label.endswith("_[k]"):
            break
        match = NATIVE.fullmatch(label) or NAMELESS.fullmatch(label)
        if not match:
            return "has %r" % label
        name, module = match.groups()
        if module != program or name == "_start" or "@plt" in label:
            between.append(name)
            continue
        if chain:
            if chain[-1] not in CALLERS.get(name, {"step"}):
                return "%s called by %s" % (name, chain[-1])
            if name in BETWEEN and not any(BETWEEN[name] in one or "+0x" in one for one in between):
                return "%s without %s" % (name, BETWEEN[name])
            if name not in BETWEEN and between:
                return "%s behind %s" % (name, between)
        elif name != "main" or "_start" not in between:
            return "%s behind %s" % (name, between)
        chain.append(name)
        between = []
    return chain_fault(chain)


# the same of chain.rs; code of the standard library stands between some
RUST_CALLERS = {
    "step": {"chain::main", "in_sort", "in_dyn", "in_map", "through_realigned", "through_panic", "through_depth"},
    "leaf": {"step"}, "in_sort": {"through_sort"}, "in_dyn": {"through_dyn"}, "in_map": {"through_map"},
    "throw_it": {"through_panic"}, "through_depth": {"step", "through_depth"},
    **{"through_" + way: {"step"} for way in ("sort", "dyn", "map", "realigned", "panic")},
}
RUST_BETWEEN = {"in_sort", "in_dyn", "in_map", "throw_it"}


def rust_fault(stack, program):
    """As fault(), of chain.rs."""
    chain, between = [], []
    for label in stack:
        if label.endswith("_[k]"):
            break
        name, _, module = label.rpartition(" (")
        if module != program + ")" or (name not in RUST_CALLERS and name != "chain::main"):
            between.append(label)
            continue
        if not chain:
            if name != "chain::main" or not any(one.startswith("_start (") for one in between):
                return "%s is first, behind %s" % (name, between)
        elif chain[-1] not in RUST_CALLERS.get(name, ()):
            return "%s called by %s" % (name, chain[-1])
        elif between and name not in RUST_BETWEEN:
            return "%s behind %s" % (name, between)
        chain.append(name)
        between = []
    return chain_fault(chain)


@pytest.fixture(scope="module")
def rust_program(tmp_path_factory):
    rustc = shutil.which("rustc") or shutil.which(os.path.expanduser("~/.cargo/bin/rustc"))
    if not rustc:
        pytest.skip("no rustc")
    path = tmp_path_factory.mktemp("chain") / "chain"
    source = os.path.join(harness.TESTS, "hosts", "chain.rs")
    subprocess.run([rustc, "--edition", "2021", "-C", "opt-level=2", "-o", str(path), source], check=True)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("chain") / "chain"
    source = os.path.join(harness.TESTS, "hosts", "chain.cc")
    subprocess.run(["g++", "-O2", "-fomit-frame-pointer", "-o", str(path), source], check=True)
    return path


@pytest.mark.parametrize("kernel", [False, True], ids=["user", "kernel"])
def test_whole_and_true(program, record, kernel):
    judge(program, fault, record, kernel, 3)  # its own table, libc's, libstdc++'s


def test_rust(rust_program, record):
    judge(rust_program, rust_fault, record, False, 2)


def test_on_the_way_back_from_a_signal(record, tmp_path):
    """The kernel puts registers back one by one, and a tick may find some of either: in one of some 3,000 samples here."""
    path = tmp_path / "signals"
    subprocess.run(["gcc", "-O2", "-fomit-frame-pointer", "-o", str(path), os.path.join(harness.TESTS, "hosts", "signals.c")],
                   check=True)
    with subprocess.Popen([str(path)], stdout=subprocess.PIPE) as run:
        try:
            assert run.stdout.readline() == b"ready\n"
            ran = record("-n", "-p", run.pid, "-r", 10000, "-d", 5)
        finally:
            run.kill()
    assert ran.status == 0, ran
    marked = sum(n for stack, n in ran.stacks if any("[truncated" in label for label in stack))
    wrong = [stack for stack, _ in ran.stacks if not any("[truncated" in label or label.startswith("main (") for label in stack)]
    assert ran.samples > 5000 and marked <= 0.005 * ran.samples and not wrong, (ran.samples, marked, wrong)


def judge(program, fault, record, kernel, least):
    run = subprocess.Popen([str(program), "1"], stdout=subprocess.PIPE)
    try:
        assert run.stdout.readline() == b"ready\n"
        ran = record("-n", "-p", run.pid, "-r", 4000, "-d", SAMPLES / 1000, "--verbose", *["--kernel"] * kernel)
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
    assert ran.status == 0, ran
    wrong, marked, judged, in_kernel = collections.Counter(), collections.Counter(), 0, 0
    for stack, count in ran.stacks:
        judged += count
        cut = next((label for label in stack if harness.is_marker(label) and "truncated" in label), None)
        stack = [label for label in stack if label != "[no Python frame]"]
        in_kernel += count if stack[-1].endswith("_[k]") else 0
        if cut:
            marked[cut] += count
            continue
        why = fault(stack, program.name)
        if why:
            wrong[why, tuple(stack)] += count
    shown = ["%d x %s:\n    %s" % (n, why, "\n    ".join(stack)) for (why, stack), n in wrong.most_common(5)]
    assert not wrong, "%d of %d\n%s" % (sum(wrong.values()), judged, "\n".join(shown))
    assert judged > SAMPLES / 30  # however busy the machine is
    print("%d judged, marked:" % judged, dict(marked))
    expected = judged * 0.001
    assert sum(marked.values()) <= expected + 3 * expected ** 0.5, marked
    assert bool(in_kernel) == kernel
    tables, rows = re.search(r"Unwind tables: (\d+), (\d+) rows", ran.stderr).groups()
    assert int(tables) >= least and int(rows) > 1000
