# SPDX-License-Identifier: Apache-2.0
"""How many samples a recording takes, and that each of them is whole."""
import harness
import pytest

# Burns the CPU time that it is told to, and says how much it was. Blocks in between.
BURN = """
import threading, time
def leaf(n):
    s = 0
    for i in range(n):
        s += i
    return s
def burn(seconds):
    clock = time.thread_time
    end = clock() + seconds
    while clock() < end:
        leaf(2000)
def main(seconds, threads):
    ready()
    hear()
    crowd = [threading.Thread(target=burn, args=(seconds,)) for _ in range(threads)]
    for each in crowd:
        each.start()
    burn(seconds)
    for each in crowd:
        each.join()
    say('done')
    hear()
main(float(_sys.argv[1]), int(_sys.argv[2]))
"""


def recorded_burn(burner, *options, output):
    """The Result of recording a BURN, the CPU seconds that it used meanwhile, and those that were stolen from it at the most. All of
    the work is in the recording, however late either side is scheduled."""
    with harness.Recording("-p", burner.pid, "--json", *options, output=output) as recording:
        recording.sampling()
        before, stolen = harness.cpu_seconds(burner.pid), harness.stolen_seconds()
        burner.say("go")
        assert burner.hear() == "done"
        used, stolen = harness.cpu_seconds(burner.pid) - before, harness.stolen_seconds() - stolen
        result = recording.stop()
    assert result.status == 0, result
    return result, used, stolen


@pytest.mark.parametrize("rate, seconds", [(100, 2.5), (1000, 1)])
def test_a_busy_thread_is_sampled_at_the_rate(python, rate, seconds, target, tmp_path):
    burner = target(python, BURN, seconds, 0)
    result, used, stolen = recorded_burn(burner, "-r", rate, output=tmp_path / "out.raw")
    expected = used * rate
    tolerance = harness.count_tolerance(expected, used, result.accounts["duration_s"]) + stolen * rate
    assert abs(result.samples - expected) <= tolerance, (result, used)
    assert result.accounts["samples"]["lost"] == result.accounts["samples"]["truncated"] == 0, result
    assert harness.complete(result.stacks) == result.samples, result.stacks
    assert all(harness.names(stack)[:2] == ["<module>", "main"] for stack, _ in result.stacks), result.stacks


def test_threads_are_sampled_each_at_the_rate(any_python, target, tmp_path):
    burner = target(any_python, BURN, 0.3, 3)
    result, used, stolen = recorded_burn(burner, "-r", 1000, "-t", output=tmp_path / "out.raw")
    expected = used * 1000
    # all four on one CPU at the worst: none of it free
    assert abs(result.samples - expected) <= harness.count_tolerance(expected, 0, 1) + stolen * 1000, (result, used)
    by_thread = {}
    for stack, count in result.stacks:
        by_thread[stack[0]] = by_thread.get(stack[0], 0) + count
    assert len(by_thread) == 4, by_thread
    for count in by_thread.values():
        assert abs(count - 300) <= harness.count_tolerance(300, 0, 1) + stolen * 1000, by_thread


def test_an_idle_process_gives_no_sample_and_no_file(any_python, target, tmp_path):
    idle = target(any_python, "ready()\nhear()\n")
    out = tmp_path / "out.svg"
    result = harness.record("-p", idle.pid, "-d", 0.5, "--quiet", output=out)
    line = harness.one_line(result, 3)
    assert "no sample" in line
    assert list(tmp_path.glob("*out*")) == [], "something was left behind"


def test_taken_is_written_and_lost_with_reasons(any_python, target, tmp_path):
    burner = target(any_python, BURN, 0.5, 1)
    result, _, _ = recorded_burn(burner, "-r", 2000, output=tmp_path / "out.raw")
    accounts = result.accounts
    assert accounts["samples"]["taken"] == accounts["samples"]["written"] + accounts["samples"]["lost"]
    assert accounts["samples"]["lost"] == sum(accounts["lost"].values())
    assert accounts["samples"]["truncated"] == sum(accounts["truncated"].values())
    assert accounts["samples"]["written"] == result.samples
    assert (accounts["processes"], accounts["threads"]) == (1, 2)
