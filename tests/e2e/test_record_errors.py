# SPDX-License-Identifier: Apache-2.0
"""What cannot be done is said in one line, with the status of cli.md, and leaves no file behind."""
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile

import harness
import pytest

SPIN = "ready()\nwhile True:\n    sum(range(300))\n"


def ended_pid():
    """Of a process that has just ended and been waited for."""
    run = subprocess.Popen(["true"])
    run.wait()
    return run.pid


@pytest.fixture
def clean(tmp_path):
    """A folder that a failed run must leave as it was."""
    yield tmp_path
    left = [p.name for p in tmp_path.iterdir() if not p.name.startswith("target")]
    assert left == [], "something was left behind"


def test_no_such_process(clean):
    for pid in ended_pid(), 2**22 + 1, 2**31 - 1:
        line = harness.one_line(harness.record("-p", pid, output=clean / "out.svg"), 3)
        assert str(pid) in line


def test_a_thread_is_no_process(any_python, target, clean):
    """As copied from `top -H`. It would match nothing, for ever."""
    program = target(any_python, "import threading\nthreading.Thread(target=hear, daemon=True).start()\n" + SPIN)
    tids = {int(tid) for tid in os.listdir("/proc/%d/task" % program.pid)} - {program.pid}
    for options in [], ["-n"], ["-s"]:
        line = harness.one_line(harness.record("-p", max(tids), *options, "-d", 1, output=clean / "out.svg"), 3)
        assert str(max(tids)) in line and "thread of process %d" % program.pid in line
    result = harness.record("-p", "%d,%d" % (max(tids), program.pid), "-d", 0.5, "-r", 500, output=clean / "target.raw")
    assert result.status == 0 and "thread of process" in result.stderr, result


def test_not_python(clean):
    run = subprocess.Popen(["sleep", "60"])
    try:
        line = harness.one_line(harness.record("-p", run.pid, output=clean / "out.svg"), 3)
        assert str(run.pid) in line and "Python" in line
    finally:
        run.kill()
        run.wait()


def test_a_kernel_thread_is_not_python(clean):
    harness.one_line(harness.record("-p", 2, output=clean / "out.svg"), 3)


def test_a_process_that_ends_meanwhile(any_python, target, tmp_path):
    """Ends the recording; what there was is written."""
    program = target(any_python, SPIN)
    with harness.Recording("-p", program.pid, "-r", 500, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        harness.wait_busy(program.pid, 0.2)
        os.kill(program.pid, signal.SIGKILL)
        result = recording.finish()
    assert result.status == 0 and result.samples > 0, result
    assert "Stopped sampling because process exited" in result.stderr


def test_several_processes_of_which_some_end(any_python, target, tmp_path):
    first, second = target(any_python, SPIN), target(any_python, SPIN)
    with harness.Recording("-p", "%d,%#x" % (first.pid, second.pid), "-r", 500, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        harness.wait_busy(first.pid, 0.1)
        first.stop()
        harness.wait_busy(second.pid, 0.1)
        assert recording.process.poll() is None, recording.finish()
        second.stop()
        result = recording.finish()
    assert result.status == 0, result
    assert {stack[0].split(":")[0] for stack, _ in result.stacks} == {
        "process %d" % first.pid, "process %d" % second.pid}


def test_several_of_which_some_cannot_be_recorded(any_python, target, clean):
    """The others are; where there is none, that is an error."""
    program, gone = target(any_python, SPIN), ended_pid()
    run = subprocess.Popen(["sleep", "60"])
    try:
        pids = "%d,%d,%d" % (run.pid, program.pid, gone)
        result = harness.record("-p", pids, "-d", 0.5, "-r", 500, output=clean / "target.raw")
        line = harness.one_line(harness.record("-p", "%d,%d" % (run.pid, gone), output=clean / "out.raw"), 3)
    finally:
        run.kill()
        run.wait()
    assert result.status == 0, result
    assert {stack[0].split(":")[0] for stack, _ in result.stacks} == {"process %d" % program.pid}
    said = [text for text in result.stderr.splitlines() if text.startswith("pybpf: ")]
    assert len(said) == 2 and "%d is not a Python process" % run.pid in said[0] and str(gone) in said[1], result
    assert str(run.pid) in line and "none" in line


@pytest.mark.parametrize("where", ["missing/out.svg", "file/out.svg", ".", "nul-less-but-long-" + "x" * 300])
def test_where_no_file_can_be(where, any_python, target, tmp_path):
    program = target(any_python, SPIN)
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").touch()
    line = harness.one_line(harness.record("-p", program.pid, output=place / where), 1)
    assert where in line or str(place) in line
    assert [p.name for p in place.iterdir()] == ["file"]


def test_a_folder_that_is_not_writable(any_python, target):
    """/proc takes no files, not even root's."""
    program = target(any_python, SPIN)
    line = harness.one_line(harness.record("-p", program.pid, output="/proc/out.svg"), 1)
    assert "/proc/out.svg" in line


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_the_file_of_the_accounts_is_checked_first(any_python, target, clean):
    program = target(any_python, SPIN)
    result = harness.record("-p", program.pid, "--json=%s/missing/a.json" % clean, output=clean / "out.svg")
    assert "missing/a.json" in harness.one_line(result, 1)


def test_standard_output_for_the_accounts_is_checked_first(any_python, target, clean):
    program = target(any_python, SPIN)
    line = harness.one_line(harness.record("-p", program.pid, "-d", 1, "--json", output=clean / "out.svg",
                                           before=["sh", "-c", 'exec "$@" >&-', "sh"]), 1)
    assert "standard output" in line


def test_one_file_is_not_both_the_profile_and_the_accounts(clean):
    for json in "out.svg", "./out.svg", "%s/out.svg" % clean:
        line = harness.one_line(harness.record("-d", 1, "--json=" + json, output="out.svg", cwd=clean), 2)
        assert "out.svg" in line and "--json" in line


def test_help_that_nobody_gets_is_an_error():
    with open("/dev/full", "w") as full:
        for words in ["--help"], ["--version"], ["record", "--help"], ["help", "list"]:
            run = subprocess.run([harness.PYBPF, *words], stdout=full, stderr=subprocess.PIPE, timeout=60)
            assert run.returncode == 1 and len(run.stderr.splitlines()) == 1, (words, run)


def test_a_full_disk(any_python, target, small_disk):
    program = target(any_python, SPIN)
    (small_disk / "old.svg").write_text("old")
    with harness.Recording("-p", program.pid, "-r", 500, "--json", output=small_disk / "old.svg") as recording:
        recording.sampling()
        harness.wait_busy(program.pid, 0.1)
        result = recording.stop()
    assert result.status == 1, result
    samples = result.accounts["samples"]
    assert result.accounts["lost"]["not_saved"] == samples["lost"] == samples["taken"] > samples["written"] == 0, result
    assert result.accounts["output"] is None, result
    assert "No space left on device" in result.stderr.splitlines()[-1] and "old.svg" in result.stderr.splitlines()[-1]
    assert not any(line.startswith("Wrote") for line in result.stderr.splitlines())
    assert [(p.name, p.read_text()) for p in small_disk.iterdir()] == [("old.svg", "old")]


def test_standard_output_is_full(any_python, target):
    program = target(any_python, SPIN)
    with open("/dev/full", "w") as full:
        run = subprocess.run([harness.PYBPF, "record", "-p", str(program.pid), "-d", "1", "-r", "500", "-f", "raw",
                              "-o", "-", "--quiet"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1, run


@pytest.mark.parametrize("words", [
    ["--no-such-option"], ["-Z"], ["-r"], ["-r", "0"], ["-r", "20001"], ["-r", "many"], ["-r", "-5"], ["-r", ""],
    ["-d", "-1"], ["-d", "soon"], ["-d", ""], ["-p", "0"], ["-p", "abc"], ["-p", ""], ["-p", "1,,2"], ["-p", "1,"],
    ["-f", "picture"], ["--user", "nobody-knows-them"], ["--colors", "beige"], ["--width", "wide"],
    ["--min-width", "-1"], ["stray"], ["--"], ["-s"], ["--json=", "-o", "-"], ["-p", "1", "--", "true"],
    ["-o", "x.html"], ["--all-python", "--", "true"], ["--quiet=yes"], ["-d", "0x10"], ["--max-memory", "0x10000000"],
    ["--min-width", "0x1"], ["-o", "-", "-f", "raw", "--json=-"], ["--rotate", "1", "-o", "-"],
    ["--rotate", "1", "-o", "/dev/stderr"]], ids=" ".join)
def test_usage(words, clean):
    line = harness.one_line(harness.record(*words, cwd=clean, timeout=20), 2)
    assert "--help" in line


def test_options_by_prefix_and_unknown_ones():
    assert "Usage: pybpf record" in harness.pybpf("record", "--nonbl", "--help").stdout
    line = harness.one_line(harness.pybpf("record", "--no"), 2)
    assert "could be '--no" in line and "unknown" not in line
    assert "unknown option '--bogus=1'" in harness.one_line(harness.pybpf("record", "--bogus=1"), 2)


def test_commands_by_prefix_and_unknown_ones():
    for word in "rec", "r":
        assert "Usage: pybpf record" in harness.pybpf(word, "--help").stdout
    assert "Usage: pybpf list" in harness.pybpf("l", "--help").stdout
    ambiguous = harness.one_line(harness.pybpf("re"), 2)
    assert "record" in ambiguous and "report" in ambiguous
    assert "frobnicate" in harness.one_line(harness.pybpf("frobnicate"), 2)
    assert harness.pybpf().status == 2


def test_help_and_version():
    for words in ["--help"], ["help"], ["help", "--help"], ["help", "record"], ["record", "--help"], ["report", "-h"], ["list", "--help"], \
            ["check", "--help"], ["help", "help"], ["help", "version"], ["version", "--help"]:
        shown = harness.pybpf(*words)
        assert shown.status == 0 and shown.stderr == "" and "Usage: pybpf" in shown.stdout, words
        assert max(map(len, shown.stdout.splitlines())) <= 120
    assert harness.pybpf("--version").stdout.startswith("pybpf ")


def test_a_limit_of_file_sizes(any_python, target, clean):
    program = target(any_python, SPIN)
    with harness.Recording("-p", program.pid, "-r", 500, output=clean / "out.svg",
                           before=["prlimit", "--fsize=100"]) as recording:
        recording.sampling()
        harness.wait_busy(program.pid, 0.1)
        result = recording.stop()
    assert result.status == 1 and "File too large" in result.stderr.splitlines()[-1], result


# ---- signals

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_the_profile(number, any_python, target, tmp_path):
    program = target(any_python, SPIN)
    with harness.Recording("-p", program.pid, "-r", 500, output=tmp_path / "out.raw") as recording:
        recording.sampling()
        harness.wait_busy(program.pid, 0.1)
        result = recording.stop(number)
    assert result.status == 0 and result.samples > 0, result


def test_a_second_signal_gives_up(any_python, target, tmp_path):
    program = target(any_python, SPIN)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # Nobody empties the pipe, and it is full: writing the profile takes as long as the second signal takes to come.
    pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(pipe, bytes(4096))
        with harness.Recording("-p", program.pid, "-r", 500, output=fifo) as recording:
            recording.sampling()
            harness.wait_busy(program.pid, 0.1)
            recording.send(signal.SIGINT)
            recording.hear("Stopped")
            # Two within a second; how long each takes to arrive is up to the machine.
            while recording.process.poll() is None:
                recording.send(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    recording.process.wait(0.2)
            result = recording.finish()
    finally:
        os.close(pipe)
    assert result.status == 1, result
    assert "given up" in result.stderr.splitlines()[-1]
    assert not any(line.startswith("Wrote") for line in result.stderr.splitlines()), result


# ---- privileges

AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def public():
    """The binary where everybody may run it."""
    with tempfile.TemporaryDirectory(prefix="pybpf-") as folder:
        os.chmod(folder, 0o755)
        yield shutil.copy(harness.PYBPF, folder)


def test_not_root(any_python, target, clean, public):
    """Said before anything else, such as that this user cannot write here either."""
    program = target(any_python, SPIN)
    for words in ["-p", program.pid], ["-d", "1"], ["--", "true"]:
        line = harness.one_line(harness.record(*words, before=AS_NOBODY, binary=public, cwd=clean), 4)
        assert "root" in line and "CAP_BPF" in line


def test_what_needs_no_root(public):
    assert harness.pybpf("--help", before=AS_NOBODY, binary=public).status == 0
    assert harness.pybpf("list", before=AS_NOBODY, binary=public).status == 0
    checked = harness.pybpf("check", before=AS_NOBODY, binary=public)
    assert checked.status == 4 and "root" in checked.stdout, checked


def test_no_btf(any_python, target, tmp_path):
    program = target(any_python, SPIN)
    hide = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"]
    line = harness.one_line(harness.record("-p", program.pid, "-d", 1, output=tmp_path / "out.svg", before=hide), 4)
    assert "BTF" in line
    assert not (tmp_path / "out.svg").exists()


@pytest.mark.parametrize("lost", ["bpf,sys_admin", "perfmon,sys_admin", "sys_ptrace,bpf,perfmon,sys_admin", "all"])
def test_bpf_forbidden(lost, any_python, target, tmp_path):
    program = target(any_python, SPIN)
    drop = "-" + ",-".join(lost.split(","))
    line = harness.one_line(harness.record("-p", program.pid, "-d", 1, output=tmp_path / "out.svg", before=[
        "setpriv", "--bounding-set", drop, "--inh-caps", drop]), 4)
    assert "root" in line or "CAP_" in line or "permit" in line, line
    assert not (tmp_path / "out.svg").exists()


@pytest.mark.parametrize("words, what, remedy", [
    (["unshare", "-U", "-r"], "privileges", "root of the host"),
    (["unshare", "-p", "-f", "--mount-proc"], "pid namespace", "--pid=host")], ids=["user", "pid"])
def test_a_namespace_in_which_it_cannot_work(words, what, remedy, clean):
    """Whoever is in one seems to be root; and the kernel counts processes otherwise than /proc there does."""
    assert remedy in harness.one_line(harness.record("-d", 1, cwd=clean, before=words), 4)
    checked = harness.pybpf("check", before=words)
    assert checked.status == 4, checked
    assert any(line.startswith("FAIL  %s:" % what) for line in checked.stdout.splitlines()), checked
    assert remedy in checked.stdout


# Runs a program that gets an error from a system call: number, errno, words.
FILTER = """
import ctypes, os, struct, sys
number, error = map(int, sys.argv[1:3])
code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7fff0000)]
text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *word) for word in code))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert not prctl(38, 1, 0, 0, 0) # PR_SET_NO_NEW_PRIVS
assert not prctl(22, 2, ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text))), 0, 0)
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.mark.parametrize("error", [errno.EPERM, errno.EACCES, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.parametrize("call, number, word", [("bpf", 321, "BPF"), ("perf_event_open", 298, "perf_event_open")])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
def test_a_filter_of_system_calls(call, number, word, error, clean):
    """As a container has it."""
    before = ["/usr/bin/python3", "-c", FILTER, str(number), str(error)]
    line = harness.one_line(harness.record("-d", 1, cwd=clean, before=before), 4)
    assert "pybpf check" in line and (word in line or error == errno.ENOSYS), line
    checked = harness.pybpf("check", before=before)
    assert checked.status == 4 and "FAIL" in checked.stdout, checked


def test_a_program_whose_files_cannot_be_read(tmp_path, target, public):
    """It is not said to be no Python; and of several, the others are recorded."""
    hidden = tmp_path / "target-hidden"
    hidden.mkdir(mode=0o700)
    python = shutil.copy(os.path.realpath("/usr/bin/python3"), hidden / "python3")
    program = target([str(python)], SPIN, env={"PYTHONHOME": "/usr"})
    caps = "-all,+bpf,+perfmon,+sys_ptrace"
    more = dict(binary=public, output="/dev/null", before=[*AS_NOBODY, "--inh-caps=" + caps, "--ambient-caps=" + caps])
    line = harness.one_line(harness.record("-p", program.pid, "-d", 1, **more), 4)
    assert str(python) in line and "CAP_DAC_READ_SEARCH" in line
    other = target(["/usr/bin/python3"], SPIN)
    result = harness.record("-p", "%d,%d" % (program.pid, other.pid), "-d", 0.5, "-r", 500, "--json", **more)
    assert result.status == 0 and str(python) in result.stderr, result
    assert result.accounts["processes"] == 1 and result.accounts["samples"]["written"] > 0


def test_kernel_frames_without_names_are_explained(any_python, target, tmp_path, public):
    program = target(any_python, "import os\nready()\nwhile True:\n    os.getppid()\n")
    caps = "-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search"
    for more, hidden in ("", True), (",+syslog", False):
        result = harness.record("-p", program.pid, "-d", 1, "-r", 500, "--kernel", "-f", "raw", binary=public, output="-",
                                before=[*AS_NOBODY, "--inh-caps=" + caps + more, "--ambient-caps=" + caps + more])
        assert result.status == 0, result
        frames = {f for stack, _ in harness.parse_raw(result.stdout.encode()) for f in stack if f.endswith("_[k]")}
        assert frames and all(f.startswith("0x") for f in frames) == hidden, result
        assert ("CAP_SYSLOG" in result.stderr) == hidden, result


def test_too_few_open_files(clean):
    for count in 16, 32:
        line = harness.one_line(harness.record("-d", 1, "--quiet", cwd=clean, before=[
            "prlimit", "--nofile=%d:%d" % (count, count)]), 1)
        assert "Too many open files" in line and "ulimit -n" in line


def test_a_memlock_limit_that_cannot_be_raised_is_no_error(any_python, target, tmp_path):
    program = target(any_python, SPIN)
    before = ["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource",
              "prlimit", "--memlock=65536:65536"]
    with harness.Recording("-p", program.pid, "-r", 500, output=tmp_path / "out.raw", before=before) as recording:
        recording.sampling()
        harness.wait_busy(program.pid, 0.1)
        result = recording.stop()
    assert result.status == 0 and result.samples > 0, result
