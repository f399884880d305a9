# SPDX-License-Identifier: Apache-2.0
"""Containers: whose samples they are, what they see, and what a hostile one can do to the profiler (nothing)."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest

import containers
import harness

pytestmark = pytest.mark.skipif(not containers.RUNC, reason="no runc: apt-get install --no-install-recommends runc")

BUSY = """
def leaf():
    for i in range(1000): pass
def spin():
    while True: leaf()
ready()
spin()
"""


def choose():
    """Three Pythons, as different as can be had: [(id, command, binds, the root to copy)]."""
    found = {i.id: i for i in harness.interpreters.find()}
    chosen = []
    for ident in "musl-3.13-root", "uv-3.14", "debian-3.11", "pyenv-3.13", "pyenv-3.12", "pyenv-3.11":
        i = found.get(ident)
        if not i or len(chosen) == 3:
            continue
        if i.root:
            chosen.append((ident, [i.path], (), i.root))
        else:
            chosen.append((ident,) + containers.of_interpreter(i) + (None,))
    if len(chosen) < 3:
        rest = [i for i in harness.interpreters.select((3, 11), (3, 15)) if not i.root and i.id not in
                [c[0] for c in chosen]]
        chosen += [(i.id,) + containers.of_interpreter(i) + (None,) for i in rest[:3 - len(chosen)]]
    return chosen


def copy_root(source):
    """A root of nothing but the loader and the interpreter."""
    def prepare(root):
        for d in "lib", "opt":
            shutil.copytree(os.path.join(source, d), root / d, symlinks=True, dirs_exist_ok=True)
    return prepare


@pytest.fixture
def three(tmp_path):
    with contextlib.ExitStack() as stack:
        made = []
        for number, (ident, command, binds, source) in enumerate(choose()):
            folder = tmp_path / str(number)
            folder.mkdir()
            made.append(stack.enter_context(containers.Container(
                folder, command, BUSY, binds, copy_root(source) if source else None)))
        for each in made:
            each.wait_ready()
        yield made


def samples_of(result):
    """{container's label: [(rest of the stack, count)]}"""
    found = {}
    for stack, count in result.stacks:
        if stack[0].startswith("container "):
            found.setdefault(stack[0].split()[1], []).append((stack[1:], count))
    return found


def test_three_containers_with_different_pythons(three, tmp_path):
    with harness.Recording("--all-python", "--full-filenames", "-r", 500, output=tmp_path / "all.raw") as recording:
        recording.sampling()
        for each in three:
            harness.wait_busy(each.pid, 0.2)
        result = recording.stop()
    assert result.status == 0, result
    found = samples_of(result)
    for each in three:
        mine = [v for k, v in found.items() if each.id.startswith(k)]
        assert len(mine) == 1, (each.id, list(found))
        stacks = mine[0]
        total = sum(n for _, n in stacks)
        assert total >= 40, stacks
        for stack, n in stacks:
            assert stack[0].startswith("process %d:" % each.pid) and "/shared/program.py" in stack[0], stack
            assert harness.names(stack)[1:3] == ["<module>", "spin"] and not any(map(harness.is_marker, stack)), stack
            assert harness.frame(stack[-1]).file == "/shared/program.py", stack

    chosen = three[1]
    with harness.Recording("--container", chosen.id[:12], "-r", 500, output=tmp_path / "one.raw") as recording:
        recording.sampling()
        for each in three:
            harness.wait_busy(each.pid, 0.2)
        result = recording.stop()
    assert result.status == 0, result
    assert {stack[1].split(":")[0] for stack, _ in result.stacks} == {"process %d" % chosen.pid}, result.stacks[:3]
    assert set(samples_of(result)) and all(chosen.id.startswith(k) for k in samples_of(result))

    rows = {row["pid"]: row for row in json.loads(harness.pybpf("list", "--json").stdout)}
    for each in three:
        row = rows[each.pid]
        assert row["container"] and each.id in json.dumps(row), row
        assert row["ns_pid"] == 1 and row["status"] == "ok", row


def test_a_process_that_starts_later_in_a_container_is_in_the_filter(three, tmp_path):
    """`runc exec` while the recording runs; a short one, too."""
    inside, other = three[0], three[1]
    words = json.loads((inside.folder / "config.json").read_text())["process"]["args"][:1]
    code = "def late():\n e=time.process_time()+0.1\n while time.process_time()<e: pass\nimport time\nlate()\n"
    with harness.Recording("--container", inside.id, "-r", 1000, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        subprocess.run([containers.RUNC, "exec", inside.name] + words + ["-c", code], check=True, timeout=60)
        harness.wait_busy(other.pid, 0.1)
        result = recording.stop()
    hits, _ = harness.share(result.stacks, "late")
    assert hits >= 50, (hits, result)
    assert all(inside.id.startswith(stack[0].split()[1]) for stack, _ in result.stacks), result.stacks[:3]


# ---- hostile roots

HOSTILE = """
import glob, mmap, os, sys
path, how = '/usr/lib/libpython3.11.so.1.0', %r
os.makedirs('/usr/lib', exist_ok=True)
def executable(path):
    with open(path, 'r+b') as f:
        return mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
with open(path, 'wb') as f:
    # the beginning of a true one, so that it is looked into
    f.write(open((glob.glob(sys.base_prefix + '/lib/libpython3.*.so.1.0') + ['/proc/self/exe'])[0], 'rb').read(0x40000))
    f.truncate(10 << 30 if how == 'sparse' else 0x40000)
kept = executable(path)
if how == 'fifo':
    os.unlink(path); os.mkfifo(path)
elif how == 'shadow':
    os.unlink(path); os.symlink('/etc/shadow', path)
elif how == 'loop':
    os.unlink(path); os.symlink('/usr/lib/b', path); os.symlink(path, '/usr/lib/b')
ready()
def spin():
    end = 0
    while True:
        for i in range(20000): pass
        if how == 'replaced':
            end += 1
            with open(path + '.new', 'wb') as f:
                f.write(b'\\x7fELF' + os.urandom(end %% 5000))
            os.rename(path + '.new', path)
            with open(path, 'r+b') as f:
                f.truncate(end %% 7 * 4096 + 4096)
            kept = executable(path)
spin()
"""


@pytest.mark.parametrize("how", ["fifo", "shadow", "loop", "sparse", "replaced"])
def test_hostile_root(how, any_python, target, tmp_path):
    """Nothing hangs, nothing outside is read, and others are profiled as ever."""
    honest = target(any_python, "def honest():\n    while True: sum(range(300))\nready()\nhonest()\n")
    command, _ = containers.of_interpreter(any_python)
    prefix = pathlib.Path(command[0]).resolve().parents[1]
    folder = tmp_path / "hostile"
    folder.mkdir()

    def prepare(root):
        for d in "lib", "lib64", "bin", "sbin":
            (root / d).symlink_to("usr/" + d)
        (root / "usr" / "lib").mkdir()
        for d in os.listdir("/usr/lib"):  # the C library; the rest of /usr/lib is the container's to spoil
            if "linux-gnu" in d:
                (root / "usr" / "lib" / d).mkdir()
        (root / "usr" / "lib64").mkdir()

    libraries = ["/usr/lib64"] + ["/usr/lib/" + d for d in os.listdir("/usr/lib") if "linux-gnu" in d]
    binds = tuple(d for d in libraries + [str(prefix)] if os.path.isdir(d))
    with containers.Container(folder, command, HOSTILE % how, binds, prepare) as hostile:
        hostile.wait_ready()
        with harness.Recording("--all-python", "-r", 500, "-n", output=tmp_path / "out.raw") as recording:
            recording.sampling()
            harness.wait_busy(honest.pid, 0.3)
            harness.wait_busy(hostile.pid, 0.3)
            result = recording.stop()
        assert result.status == 0, result
        mine = [(stack, n) for stack, n in result.stacks if stack[0].startswith("process %d:" % honest.pid)]
        assert harness.share(mine, "honest", leaf=False)[0] >= 0.9 * sum(n for _, n in mine) > 50, mine[:3]
        theirs = [(stack, n) for stack, n in result.stacks if hostile.id.startswith((stack[0].split() + [""])[1])]
        assert harness.share(theirs, "spin", leaf=False)[0] > 0, theirs[:3]
        listed = harness.pybpf("list", "--json", timeout=30)
        assert listed.status == 0 and honest.pid in [row["pid"] for row in json.loads(listed.stdout)]
        opened = tmp_path / "opened"
        if shutil.which("strace"):
            harness.pybpf("list", timeout=120, before=["strace", "-f", "-e", "trace=openat,openat2", "-o", str(opened)])
            assert "/etc/shadow" not in opened.read_text()
