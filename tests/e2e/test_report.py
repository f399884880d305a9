# SPDX-License-Identifier: Apache-2.0
"""`report`: captures into formats, without root, whole or broken."""
import json
import os
import pathlib
import random

import harness
import pytest

PROGRAM = """
def inner():
    for i in range(2000):
        i + 1
def outer(n):
    return outer(n - 1) if n else inner()
ready()
while True:
    outer(3)
"""


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A small capture, and the raw stacks of the same run."""
    python = harness.interpreters.select((3, 11), (3, 14))[-1]
    folder = tmp_path_factory.mktemp("capture")
    with harness.start(python, PROGRAM, folder=folder) as program:
        with harness.Recording("-p", program.pid, "-r", 500, "--json", output=folder / "run.pybpf") as recording:
            recording.sampling()
            harness.wait_busy(program.pid, 0.1)
            result = recording.stop()
    assert result.status == 0, result
    return pathlib.Path(result.output), result.accounts


def report(*words, **more):
    return harness.pybpf("report", *words, **more)


def test_every_format_of_a_capture(capture, tmp_path):
    path, accounts = capture
    raw = report(path, "-f", "raw", "-o", "-")
    stacks = harness.parse_raw(raw.stdout.encode())
    assert raw.status == 0 and sum(n for _, n in stacks) == accounts["samples"]["written"]
    assert harness.complete(stacks) == accounts["samples"]["written"]
    for suffix in "svg", "speedscope.json", "raw", "pybpf":
        out = tmp_path / ("out." + suffix)
        made = report(path, "-o", out)
        assert made.status == 0 and str(out) in made.stderr, made
    assert (tmp_path / "out.svg").read_text().count("<svg") == 1
    assert "%d samples" % accounts["samples"]["written"] in (tmp_path / "out.svg").read_text()
    speedscope = json.loads((tmp_path / "out.speedscope.json").read_text())
    assert sum(map(len, (p["samples"] for p in speedscope["profiles"]))) > 0
    again = report(tmp_path / "out.pybpf", "-f", "raw", "-o", "-")
    assert harness.parse_raw(again.stdout.encode()) == stacks


def test_stacks_begin_as_they_were_recorded(any_python, target, tmp_path):
    """With their process where others might have come, though none did."""
    name = "comm-%d" % (os.getpid() % 100000)
    program = target(any_python, "open('/proc/self/comm', 'w').write(%r)\n" % name + PROGRAM)
    for words, root in (("--comm", name), "process %d:" % program.pid), (("-p", program.pid), "<module> ("):
        path = tmp_path / "run.pybpf"
        with harness.Recording(*words, "-r", 500, output=path) as recording:
            recording.sampling()
            harness.wait_busy(program.pid, 0.1)
            assert recording.stop().status == 0
        stacks = harness.parse_raw(report(path, "-f", "raw", "-o", "-").stdout.encode())
        assert stacks and all(stack[0].startswith(root) for stack, _ in stacks), (words, stacks)


def test_options_of_labels(capture):
    path, _ = capture
    stacks = harness.parse_raw(report(path, "-f", "raw", "-o", "-", "--nolineno", "-t").stdout.encode())
    assert all(stack[0].startswith("thread (") for stack, _ in stacks)
    assert {stack[-1] for stack, _ in stacks} <= {"inner (program.py)", "outer (program.py)", "<module> (program.py)"}


def test_the_name_comes_from_the_capture(capture, tmp_path):
    path, _ = capture
    made = report(path, cwd=tmp_path)
    assert made.status == 0 and [p.name for p in tmp_path.iterdir()] == ["run.svg"], made


def test_from_standard_input(capture, tmp_path):
    path, _ = capture
    import subprocess
    run = subprocess.run([harness.PYBPF, "report", "-", "-f", "raw", "-o", "-"], stdin=open(path, "rb"),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert run.returncode == 0 and harness.parse_raw(run.stdout)


def test_truncated_at_every_byte(capture, tmp_path):
    """One clear line, or a shorter profile that says so."""
    path, accounts = capture
    data = path.read_bytes()
    cut, out = tmp_path / "cut.pybpf", tmp_path / "out.raw"
    # Every byte of the first kilobytes and of the end, and others at random.
    places = set(range(min(len(data), 400))) | set(range(max(0, len(data) - 200), len(data)))
    places |= set(random.Random(1).sample(range(len(data)), min(len(data), 400)))
    shorter = 0
    for size in sorted(places):
        cut.write_bytes(data[:size])
        made = report(cut, "-o", out)
        if made.status == 0:
            shorter += 1
            assert "cut off" in made.stderr.splitlines()[0], (size, made)
            assert 0 < sum(n for _, n in harness.parse_raw(out.read_bytes())) <= accounts["samples"]["written"]
            out.unlink()
        else:
            assert "cut.pybpf" in harness.one_line(made, 1), (size, made)
            assert not out.exists(), size
    assert shorter > 0


def test_bytes_changed_at_random(capture, tmp_path):
    path, _ = capture
    data, rng = path.read_bytes(), random.Random(2)
    broken, out = tmp_path / "broken.pybpf", tmp_path / "out.raw"
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        broken.write_bytes(changed)
        made = report(broken, "-o", out)
        assert made.status in (0, 1, 3), made
        if made.status:
            harness.one_line(made, made.status)
            assert not out.exists()
        else:
            out.unlink()


def test_what_is_no_capture(tmp_path):
    out = tmp_path / "out.svg"
    empty, text = tmp_path / "empty", tmp_path / "text"
    empty.touch()
    text.write_text("root;leaf 3\n")
    for path in tmp_path / "missing", tmp_path, empty, text, "/dev/null":
        line = harness.one_line(report(path, "-o", out), 1)
        assert str(path) in line
    assert not out.exists()
    harness.one_line(report("-o", out), 2)
    harness.one_line(report(text, text), 2)


# A /dev of its own: what would be put into the place of its links is gone with it.
OWN_DEV = """
mkdir "$1" && mount -t tmpfs none "$1" && cp -a /dev/null "$1" && ln -s /proc/self/fd "$1/fd" && ln -s /proc/self/fd/1 "$1/stdout" &&
mount --bind "$1" /dev || exit 99
shift
"$@" -o /dev/stdout > one || exit 1
"$@" -o /dev/stdout >> more || exit 2
"$@" -o /dev/fd/3 3> three || exit 3
"$@" -o /proc/self/fd/1 | cat > four || exit 4
! "$@" -o /dev/fd/0 < more > /dev/null 2>&1 || exit 5
[ "$(readlink /dev/stdout)" = /proc/self/fd/1 ] && [ "$(ls /dev | wc -l)" = 3 ]
"""


def test_other_names_of_standard_output(capture, tmp_path):
    """/dev/stdout is written to, and not replaced by a file."""
    (tmp_path / "more").write_text("before\n")
    words = ["unshare", "-m", "sh", "-c", OWN_DEV, "sh", str(tmp_path / "dev")]
    made = report(capture[0], "-f", "raw", cwd=tmp_path, before=words)
    assert made.status == 0, made
    wanted = report(capture[0], "-f", "raw", "-o", "-").stdout
    assert wanted.endswith("\n")
    for name in "one", "more", "three", "four":
        assert (tmp_path / name).read_text() == ("before\n" if name == "more" else "") + wanted, name


def test_a_name_with_controls_breaks_no_line(capture, tmp_path):
    """Neither of what is said on failure, nor on success."""
    assert "no\\nfile\\x1b[31m" in harness.one_line(report("no\nfile\x1b[31m", cwd=tmp_path), 1)
    assert "-p\\n" in harness.one_line(report("-f", "-p\n", capture[0], cwd=tmp_path), 2)
    made = report(capture[0], "-f", "raw", "-o", "out\n\x1b[2J.raw", cwd=tmp_path)
    assert made.status == 0 and "Wrote raw data to 'out\\n\\x1b[2J.raw'." in made.stderr and "\x1b" not in made.stderr, made
    assert [p.name for p in tmp_path.iterdir()] == ["out\n\x1b[2J.raw"]


def test_the_capture_is_never_written_over(capture, tmp_path):
    path = tmp_path / "run.pybpf"
    path.write_bytes(capture[0].read_bytes())
    link = tmp_path / "link.svg"
    os.link(path, link)
    for out in path, link:
        harness.one_line(report(path, "-f", "svg", "-o", out), 1)
    assert path.read_bytes() == capture[0].read_bytes()
