# SPDX-License-Identifier: Apache-2.0
"""Long recordings: snapshots, one file for each interval, bounded memory; and many processes at once."""
import json
import os
import re
import signal
import subprocess

import harness

STAGES = """
def stage(name):
    end = time.process_time() + float(_sys.argv[1])
    exec("def %s():\\n while time.process_time() < end: pass\\n%s()" % (name, name), {"time": time, "end": end})
import time
ready()
while True:
    word = hear()
    if not word: break
    stage(word)
    say("done")
"""


def run_stage(program, name):
    program.say(name)
    assert program.hear() == "done"


def test_snapshots(any_python, target, tmp_path):
    """Each has what there was until then, and the end has all."""
    program, out = target(any_python, STAGES, 0.3), tmp_path / "out.raw"
    with harness.Recording("-p", program.pid, "-r", 500, "--json", output=out) as recording:
        recording.sampling()
        seen = []
        for number, name in enumerate(["one", "two", "three"], 1):
            run_stage(program, name)
            recording.send(signal.SIGUSR1)
            while sum(line.startswith("Wrote ") for line in recording.heard) < number:
                recording.heard.append(harness._line(recording, recording.process.stderr, harness.PATIENCE))
            seen.append(harness.parse_raw(out.read_bytes()))
        run_stage(program, "four")
        result = recording.stop()
    assert result.status == 0, result
    totals = [sum(n for _, n in stacks) for stacks in seen + [result.stacks]]
    assert totals == sorted(totals) and len(set(totals)) == 4, totals
    for count, stacks in enumerate(seen + [result.stacks], 1):
        for number, name in enumerate(["one", "two", "three", "four"], 1):
            assert (harness.share(stacks, name)[0] > 50) == (number <= count), (name, count)
    assert result.accounts["samples"]["written"] == totals[-1]
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == ["out.raw"]


def test_rotation(any_python, target, tmp_path):
    """One file for each interval, with the time in its name; no sample is in two of them, and none is missing."""
    program, folder = target(any_python, STAGES, 0.2), tmp_path / "parts"
    folder.mkdir()
    with harness.Recording("-p", program.pid, "-r", 500, "--rotate", "1s", "--json=%s" % (folder / "accounts"),
                           output=folder / "out.raw") as recording:
        recording.sampling()
        names, stolen = ["stage%d" % number for number in range(12)], harness.stolen_seconds()
        for name in names:
            run_stage(program, name)
        stolen = harness.stolen_seconds() - stolen
        result = recording.stop()
    assert result.status == 0, result
    accounts = json.loads((folder / "accounts").read_text())
    (folder / "accounts").unlink()
    files = sorted(folder.iterdir())
    assert len(files) >= 2, files
    assert all(re.fullmatch(r"out-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d\.raw", f.name) for f in files), files
    parts = [harness.parse_raw(f.read_bytes()) for f in files]
    order = []
    for part in parts:
        order += [name for name in names if harness.share(part, name)[0] > 0]
    assert sorted(set(order), key=names.index) == names, order  # complete
    assert order == sorted(order, key=names.index) and len(order) <= len(names) + len(parts) - 1, order  # in order
    for name in names:
        assert 50 <= sum(harness.share(part, name)[0] for part in parts) <= 150 + stolen * 500, name
    said = [int(n) for n in re.findall(r"Samples: (\d+)", result.stderr)]
    assert sum(said) == sum(n for part in parts for _, n in part), result
    # the accounts are those of the whole run
    assert accounts["samples"]["written"] == sum(said), accounts
    assert accounts["samples"]["taken"] == sum(said) + accounts["samples"]["lost"], accounts
    assert accounts["duration_s"] > len(files) - 1, accounts
    assert accounts["output"] == str(files[-1]), accounts
    assert "Taken %d = " % accounts["samples"]["taken"] in result.stderr, result


def test_no_part_replaces_a_file(any_python, target, tmp_path):
    """Two parts may begin in one second, and clocks are set: the names of a minute are taken here."""
    program, now, mine = target(any_python, STAGES, 0.2), harness.time.time(), "not yours"
    taken = [tmp_path / ("out-%s.raw" % harness.time.strftime("%FT%T+00:00", harness.time.gmtime(now + i))) for i in range(60)]
    for path in taken:
        path.write_text(mine)
    with harness.Recording("-p", program.pid, "-r", 500, "--rotate", "1s", "--json", output=tmp_path / "out.raw",
                           env={"TZ": "UTC"}) as recording:
        recording.sampling()
        for number in range(8):
            run_stage(program, "stage%d" % number)
        result = recording.stop()
    assert result.status == 0 and {path.read_text() for path in taken} == {mine}, result
    parts = sorted(tmp_path.glob("out-*+00:00-*.raw"))
    assert len(parts) >= 2, parts
    samples = sum(n for part in parts for _, n in harness.parse_raw(part.read_bytes()))
    assert samples == result.accounts["samples"]["written"], (parts, result)


def test_a_part_that_cannot_be_written_is_missed(any_python, target, tmp_path):
    """The disk is full for a time: recording goes on, the other parts are whole, the accounts tell what is missing."""
    program, folder = target(any_python, STAGES, 0.3), tmp_path / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(folder)], check=True)
    try:
        with harness.Recording("-p", program.pid, "-r", 500, "--rotate", "1s", "--json",
                               output=folder / "out.svg") as recording:
            recording.sampling()
            run_stage(program, "one")
            recording.hear("pybpf: --rotate: ")
            subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
            run_stage(program, "two")
            recording.hear("Wrote ")
            result = recording.stop()
        files = {path.name: path.read_text() for path in folder.iterdir()}
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    assert result.status == 1, result
    failed = [line for line in result.stderr.splitlines() if line.startswith("pybpf: --rotate: ")]
    assert all("No space left on device" in line and "recording goes on" in line for line in failed), failed
    missing = sum(int(n) for line in failed for n in re.findall(r"(\d+) samples are lost", line))
    samples = result.accounts["samples"]
    assert samples["taken"] == samples["written"] + samples["lost"], samples
    assert samples["lost"] == result.accounts["lost"]["not_saved"] == missing > 50, (samples, failed)
    assert "%d samples are lost" % missing in result.stderr.splitlines()[-1], result
    written = [int(n) for text in files.values() for n in re.findall(r"(\d+) samples</text>", text)]
    assert len(written) == len(files) >= 1 and sum(written) == samples["written"] > 50, (files.keys(), samples)
    assert all(name.endswith(".svg") and text.endswith("</svg>\n") for name, text in files.items())


def test_no_part_can_be_written(any_python, target, tmp_path):
    """That is said as such also when the last part has no samples."""
    program, folder = target(any_python, STAGES, 0.3), tmp_path / "none"
    folder.mkdir()
    with harness.Recording("-p", program.pid, "-r", 500, "--rotate", "1s", "--json", output=folder / "out.svg",
                           before=["prlimit", "--fsize=4096"]) as recording:
        recording.sampling()
        run_stage(program, "one")
        recording.hear("pybpf: --rotate: ")
        result = recording.stop()
    assert result.status == 1 and "could not be written" in result.stderr.splitlines()[-1], result
    assert result.accounts["samples"]["written"] == 0 and result.accounts["output"] is None, result
    assert list(folder.iterdir()) == []


def test_a_snapshot_that_fails(any_python, target, tmp_path):
    """The recording goes on, and what was recorded before is in its file in the end."""
    program, folder = target(any_python, STAGES, 0.3), tmp_path / "there"
    folder.mkdir()
    with harness.Recording("-p", program.pid, "-r", 500, output=folder / "out.raw") as recording:
        recording.sampling()
        run_stage(program, "one")
        folder.rename(tmp_path / "away")
        recording.send(signal.SIGUSR1)
        recording.hear("pybpf: SIGUSR1: cannot write")
        (tmp_path / "away").rename(folder)
        run_stage(program, "two")
        result = recording.stop()
    assert result.status == 0, result
    assert all(harness.share(result.stacks, name)[0] > 50 for name in ("one", "two")), result
    assert [p.name for p in folder.iterdir()] == ["out.raw"]


def test_the_limit_of_memory_is_reported_and_not_fatal(any_python, target, tmp_path):
    """Ever new stacks: a limit that is reached at once keeps what there is, and counts the rest."""
    program = target(any_python, """
import random
def make(i):
    space = {}
    exec("def f%d(n):\\n    if n: return fs[random.randrange(len(fs))](n - 1)\\n    return sum(range(200))" % i,
         {"random": random, "fs": fs}, space)
    return space["f%d" % i]
fs = []
fs += [make(i) for i in range(300)]
ready()
while True:
    fs[0](60)
""")
    with harness.Recording("-p", program.pid, "-r", 5000, "--json", "--max-memory", "16M",
                           output=tmp_path / "out.raw") as recording:
        recording.hear("pybpf: the limit of --max-memory")
        harness.wait_busy(program.pid, 1)
        result = recording.stop()
    assert result.status == 0, result
    accounts = result.accounts
    assert accounts["truncated"]["memory_limit"] > 0, accounts
    assert accounts["samples"]["taken"] == accounts["samples"]["written"] + accounts["samples"]["lost"]
    assert accounts["samples"]["written"] == result.samples


CROWD = """
import os, threading, time
def wait(): time.sleep(0.05 + os.getpid() % 50 / 1000); return sum(range(100))
def work():
    while True: wait()
processes, threads = int(_sys.argv[1]), int(_sys.argv[2])
for number in range(processes):
    if not os.fork():
        for _ in range(threads // processes + (number < threads % processes) - 1):
            threading.Thread(target=work, daemon=True).start()
        work()
ready()
hear()
"""


def status_kb(pid, name):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name))


def test_a_crowd(any_python, target, tmp_path):
    """Hundreds of processes, thousands of threads: none lost, little memory."""
    full = bool(os.environ.get("PYBPF_FULL"))
    processes, threads = (300, 2000) if full else (100, 600)
    program = target(any_python, CROWD, processes, threads)
    with harness.Recording("--all-python", "-r", 100, "--json", "-d", 20 if full else 3,
                           output=tmp_path / "out.raw") as recording:
        begin = harness.time.monotonic()
        recording.sampling()
        started = harness.time.monotonic() - begin
        result = recording.finish()
    accounts = result.accounts
    program.say("end")
    print(accounts, "start-up %.2f s" % started)
    assert accounts["samples"]["lost"] == 0, accounts
    assert accounts["cost"]["peak_rss_bytes"] <= 64 << 20, accounts
    # They sleep nearly all the time, and all alike: each sample is as likely one's as another's, however many there are.
    mine = [(stack[0], n) for stack, n in result.stacks if str(program.script) in stack[0]]
    samples, met = sum(n for _, n in mine), len({process for process, _ in mine})
    expected = processes * (1 - (1 - 1 / processes) ** samples)
    print(samples, met, expected)
    assert samples and met >= 0.6 * expected - 2, (samples, met, expected)
