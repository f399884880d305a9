# SPDX-License-Identifier: Apache-2.0
"""Our unwind tables against readelf's rows, at every address of every function: 0 differences.

One file of STEP of the machine's own, as all of them take a quarter of an hour; the whole with PYBPF_WHOLE=1.
"""
import glob
import os
import re
import subprocess
import sys
import zlib

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TREE, "tests"))
import interpreters  # noqa: E402  (it is no package)

DIFF = os.environ.get("PYBPF_UNWIND_DIFF") or os.path.join(TREE, "build", "tests", "unwind_diff")
STEP = 1 if os.environ.get("PYBPF_WHOLE") else 40
EXECUTABLE, SHARED = 2, 3  # ET_EXEC, ET_DYN


@pytest.fixture(scope="module", autouse=True)
def diff():
    if not os.access(DIFF, os.X_OK):
        subprocess.run(["make", "-C", TREE, os.path.relpath(DIFF, TREE)], check=True)


def is_elf(path):
    """A program or library for 64-bit machines that are little-endian."""
    try:
        if os.path.islink(path) or not os.path.isfile(path):
            return False
        with open(path, "rb") as f:
            head = f.read(20)
    except OSError:
        return False
    return head[:6] == b"\x7fELF\2\1" and len(head) == 20 and head[16] in (EXECUTABLE, SHARED)


def elf_files(*folders):
    for folder in folders:
        for path, _, names in os.walk(folder):
            yield from filter(is_elf, (os.path.join(path, name) for name in names))


def compare(files, env=None):
    """Exit status, output, counts."""
    ours = subprocess.run([DIFF, *files], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=env)
    text = ours.stdout.decode("utf-8", "replace")
    print(text)
    words = text.splitlines()[-1].split()
    return ours.returncode, text, {k: int(v) for k, v in zip(words[::2], words[1::2]) if v.isdigit()}


def expect_equal(files, rows_each):
    assert files
    status, text, counts = compare(files)
    assert status == 0, text
    assert counts["differences"] == 0
    assert counts["files"] == len(files)
    assert counts["rows"] > rows_each * len(files)
    # what has a rule that no table has: longjmp, hand-written assembly
    assert counts["unknown"] * 1000 < counts["rows"]


def interpreters_files():
    found = set()
    for i in interpreters.find():
        path = os.path.realpath((i.root or "") + i.path)
        found.add(path)
        near = os.path.join(os.path.dirname(os.path.dirname(path)), "lib", "libpython*.so*")
        found.update(os.path.realpath(p) for p in glob.glob(near))
    return sorted(filter(is_elf, found))


def test_interpreters():
    expect_equal(interpreters_files(), 100)


def test_c_and_cxx_libraries():
    """The ones that every process has, as the linker finds them."""
    said = subprocess.check_output(["gcc", "-print-file-name=libstdc++.so.6"]).decode().strip()
    libraries = {os.path.realpath(said)}
    with open("/proc/self/maps") as maps:
        libraries.update(os.path.realpath(line.split(None, 5)[5].strip()) for line in maps if "/ld-" in line or "/libc" in line)
    files = sorted(filter(is_elf, libraries))
    assert len(files) >= 3
    expect_equal(files, 1000)


def test_vdso(tmp_path):
    """The kernel's own library, out of our memory."""
    with open("/proc/self/maps") as maps:
        start, end = next(line.split()[0].split("-") for line in maps if "[vdso]" in line)
    with open("/proc/self/mem", "rb") as mem:
        mem.seek(int(start, 16))
        image = mem.read(int(end, 16) - int(start, 16))
    (tmp_path / "vdso.so").write_bytes(image)
    expect_equal([str(tmp_path / "vdso.so")], 10)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_wheels(arch):
    """NumPy and OpenBLAS, pyarrow, polars."""
    got = subprocess.run([os.path.join(TREE, "scripts", "wheels.sh"), arch], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if got.returncode:
        pytest.skip("no wheels: " + got.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
    files = sorted(elf_files(got.stdout.decode().strip()))
    assert len(files) > 30
    expect_equal(files, 1000)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86-64's code is followed")
def test_followed():
    """
    Functions that are followed as if they had no information: OpenBLAS's and NumPy's, libc's, python's. Compilers err: GCC
    sometimes tells of the push of an argument an instruction late, LLVM not at all of the end of a tail call, OpenSSL's
    assembly of no push. Where they differ, the code has been right each time.
    """
    follow = os.path.join(TREE, "build", "tests", "follow_diff")
    subprocess.run(["make", "-C", TREE, os.path.relpath(follow, TREE)], check=True, stdout=subprocess.DEVNULL)
    files = [path for path in interpreters_files() if "/.pyenv/" in path or path.startswith("/usr/")]
    got = subprocess.run([os.path.join(TREE, "scripts", "wheels.sh"), "x86_64"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL)
    if not got.returncode:
        files += sorted(path for path in elf_files(got.stdout.decode().strip()) if "/numpy" in path)
    ran = subprocess.run([follow, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    print(ran.stdout)
    followed, functions, compared, different = 0, 0, 0, 0
    for line in ran.stdout.splitlines():
        counts = line.rsplit(" ", 3)[1:]
        followed += int(counts[0].split("/")[0])
        functions += int(counts[0].split("/")[1].rstrip(","))
        compared += int(counts[1].rstrip(","))
        different += int(counts[2])
        assert "openblas" in line or not int(counts[2]), line + "\n" + ran.stderr
    assert followed > functions / 2 and compared > 20000
    assert different <= compared / 1000, ran.stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86-64's code is followed")
def test_followed_from_symbols():
    """
    Whole files, as if they had no information at all: which functions there are is found out by symbols, calls, jumps and pointers,
    and where they end by what is called. Again Clang's and OpenSSL's compilers err.
    """
    tool = os.path.join(TREE, "build", "tests", "gaps_diff")
    subprocess.run(["make", "-C", TREE, os.path.relpath(tool, TREE)], check=True, stdout=subprocess.DEVNULL)
    files = set(interpreters_files())
    for path in elf_files("/usr/lib/%s-linux-gnu" % os.uname().machine):
        if re.search(r"/lib(c|m|crypto|ssl|stdc\+\+|sqlite3|glib-2.0|z|bz2|lzma)\.so", path):
            files.add(path)
    ran = subprocess.run([tool, *sorted(files)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    print(ran.stdout)
    compared = different = 0
    for line in ran.stdout.splitlines():
        counts = [int(n) for n in line.replace(",", "").rsplit(" ", 2)[1:]]
        compared += counts[-2]
        different += counts[-1]
    assert compared > 5000000, ran.stderr
    assert different <= compared / 50000, ran.stderr


def test_machine():
    """Everything installed that has .eh_frame, or one in STEP of it."""
    seen = {}
    for path in elf_files("/usr/lib", "/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/local"):
        st = os.stat(path)
        seen.setdefault((st.st_dev, st.st_ino), path)
    files = sorted(path for path in seen.values() if zlib.crc32(os.fsencode(path)) % STEP == 0)
    expect_equal(files, 100)


@pytest.mark.parametrize("change", ["s/rsp+16 /rsp+24 /", "s/ c-16 / c-24 /", "s/ c-8 *$/ u/", "/FDE/s/^/#/"])
def test_a_difference_is_found(tmp_path, change):
    """The comparison must be able to fail: another CFA, another place of a register, an end, no functions."""
    real = subprocess.check_output(["sh", "-c", "command -v readelf"]).decode().strip()
    fake = tmp_path / "readelf"
    fake.write_text("#!/bin/sh\n%s \"$@\" | sed '%s'\n" % (real, change))
    fake.chmod(0o755)
    libc = next(f for f in [os.path.realpath("/lib/%s-linux-gnu/libc.so.6" % os.uname().machine),
                            os.path.realpath("/lib64/libc.so.6")] if is_elf(f))
    status, text, counts = compare([libc], dict(os.environ, PATH="%s:%s" % (tmp_path, os.environ["PATH"])))
    assert status == 1, text
    assert counts["differences"] > 100
