# SPDX-License-Identifier: Apache-2.0
"""The guests: what is put into them, what they run, and what they leave behind.

Environment: PYBPF_KERNELS, labels of scripts/kernels/packages.py separated by blanks (default: all); PYBPF_BUILD,
the folder with pybpf, its BPF object and tests/verify.
"""

import functools
import json
import os
import re
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "scripts", "kernels"), os.path.join(ROOT, "tests")]

import initramfs  # noqa: E402
import interpreters  # noqa: E402
import packages  # noqa: E402
import vm  # noqa: E402

BUILD = os.environ.get("PYBPF_BUILD") or os.path.join(ROOT, "build")
DEPTHS = (600, 3000)
MILL_SECONDS = 3

# Cases run in the order of their names, by busybox's shell. What they start they end.
CHECK = "exec pybpf check --json\n"
VERIFY = "exec verify /tests/pybpf.bpf.o\n"
MILL = f"""
exec pybpf record -r 200 -F -f raw -o /out/{{name}}.raw --json=/out/{{name}}.json --quiet -- \\
    {{python}} /tests/mill.py {MILL_SECONDS}
"""
PUMP = """
exec pybpf record --native --kernel -r 100 -F -f raw -o /out/{name}.raw --json=/out/{name}.json --quiet -- \\
    {python} /tests/pump.py 5
"""
DIVE = """
pids=
for python in {pythons}; do
	for depth in {depths}; do
		n=$((n + 1))
		$python /tests/dive.py $depth /tmp/{name}.$n >&2 &
		pids="$pids $!"
	done
done
ready() {{
	for pid in $pids; do
		kill -0 $pid || exit 1
	done
	[ $(ls /tmp/{name}.* 2>/dev/null | wc -l) = $n ]
}}
until ready; do
	sleep 0.2
done
pybpf record -p "$(echo $pids | tr ' ' ,)" -d 4 -r 100 -F -f raw -o /out/{name}.raw --json --quiet
status=$?
kill $pids
exit $status
"""
WAIT_FOR = """
# FILE PID: that it has made
wait_for() {{
	until [ -e "$1" ]; do
		kill -0 $2 || exit 1
		sleep 0.2
	done
}}
"""
RECORD_ALL = """
pybpf record --all-python -r 100 -F -f raw -o /out/{name}.raw --json 2>/tmp/words &
record=$!
until grep -qs ^Sampling /tmp/words; do
	kill -0 $record || exit 1
	sleep 0.2
done
"""
ALL = WAIT_FOR + """
{first} /tests/dive.py 3 /tmp/first >&2 &
first=$!
wait_for /tmp/first $first
""" + RECORD_ALL + """
{second} /tests/dive.py 4 /tmp/second >&2 &
second=$!
/bin/busybox sh -c '{third} /tests/dive.py 5 /tmp/third & echo $! >/tmp/third.pid; wait' >&2 &
third=$!
wait_for /tmp/second $second
wait_for /tmp/third $third
sleep 4
kill -INT $record
wait $record
status=$?
cat /tmp/words >&2
echo "{{\\"first\\": $first, \\"second\\": $second, \\"third\\": $(cat /tmp/third.pid)}}" >/out/{name}.pids
kill $first $second $(cat /tmp/third.pid)
exit $status
"""
PLUG = WAIT_FOR + """
cpu=/sys/devices/system/cpu/cpu1/online
burn() {{ # DEPTH NAME: a process that the second CPU alone runs
	taskset 2 {python} /tests/dive.py $1 /tmp/$2 >&2 &
	eval "$2=$!"
	wait_for /tmp/$2 $!
	sleep 5
	kill $!
}}
echo 0 >$cpu || exit 1
""" + RECORD_ALL + """
echo 1 >$cpu
burn 3 late
echo 0 >$cpu; echo 1 >$cpu # as when the machine is suspended: it is never seen to be gone
burn 4 back
kill -INT $record
wait $record
status=$?
cat /tmp/words >&2
echo "{{\\"late\\": $late, \\"back\\": $back}}" >/out/{name}.pids
exit $status
"""


@functools.lru_cache(maxsize=None)
def pythons():
    """Paths by name: the interpreter inside the executable, one in a library, and one whose frames are objects."""
    plain = [i for i in interpreters.find()
             if i.command == [i.path] and not i.root and not i.kinds & interpreters.SPECIAL]
    kinds = (next((i for i in plain if "static" in i.kinds and i.version >= (3, 11)), None),
             next((i for i in reversed(plain) if "shared" in i.kinds and i.version >= (3, 11)), None),
             next((i for i in reversed(plain) if i.version < (3, 11)), None))
    return {i.id: i.path for i in kinds if i}


def cases():
    """The scripts by name."""
    have = pythons()
    paths = list(have.values())
    scripts = {"check": CHECK, "verify": VERIFY}
    for name, path in have.items():
        scripts[f"mill-{name}"] = MILL.format(name=f"mill-{name}", python=path)
    # tables take a guest long to make: one interpreter, that with a library to itself if there is one
    scripts["pump"] = PUMP.format(name="pump", python=paths[min(1, len(paths) - 1)])
    scripts["dive"] = DIVE.format(name="dive", depths=" ".join(map(str, DEPTHS)), pythons=" ".join(paths))
    scripts["plug"] = PLUG.format(name="plug", python=paths[0])
    scripts["all"] = ALL.format(name="all", first=paths[0], second=paths[-1], third=paths[len(paths) // 2])
    return scripts


def labels():
    chosen = os.environ.get("PYBPF_KERNELS", "").replace(",", " ").split() or list(packages.SERIES)
    unknown = set(chosen) - set(packages.SERIES)
    if unknown:
        raise pytest.UsageError(f"no such kernel: {', '.join(unknown)}; there are {', '.join(packages.SERIES)}")
    return chosen


def build_image(path):
    image = initramfs.Initramfs()
    image.file("/bin/busybox")
    image.device("/dev/console", 5, 1)
    with open(os.path.join(HERE, "init"), "rb") as file:
        image.data("/init", file.read(), 0o755)
    image.program(os.path.join(BUILD, "pybpf"), "/tests/bin/pybpf")
    image.program(os.path.join(BUILD, "tests", "verify"), "/tests/bin/verify")
    image.file(os.path.join(BUILD, "pybpf.bpf.o"), "/tests/pybpf.bpf.o")
    for name in ("mill.py", "dive.py", "pump.py"):
        image.file(os.path.join(HERE, name), f"/tests/{name}")
    for python in pythons().values():
        image.interpreter(python)
    for name, script in cases().items():
        image.data(f"/cases/{name}.sh", script.encode())
    image.write(path)


class Guest:
    """A kernel's results."""

    def __init__(self, label, entry, result):
        self.label, self.release = label, entry["version"]
        self.seconds, self.console = result.seconds, result.console
        self._result = result

    def text(self, name):
        return self._result.text(name)

    def passed(self, case):
        """What a case has printed; it must have ended well."""
        status = self.text(f"{case}.status").strip()
        assert status == "0", f"{case}: status {status or 'none: never run'}\n{self.text(case + '.err')}\n{self.console}"
        return self.text(f"{case}.out")

    def accounts(self, text):
        """A run's accounts, which must add up."""
        run = json.loads(text)
        samples = run["samples"]
        assert samples["taken"] == samples["written"] + samples["lost"]
        assert samples["lost"] == sum(run["lost"].values())
        assert samples["truncated"] == sum(run["truncated"].values())
        return run

    def stacks(self, name):
        """[(frames, outermost first; samples)] of a raw profile. No name in these tests holds a semicolon."""
        pairs = []
        for line in self.text(name).splitlines():
            frames, count = line.rsplit(" ", 1)
            pairs.append((frames.split(";"), int(count)))
        return pairs


def run(label, image, folder):
    if not vm.available():
        pytest.fail(f"{vm.QEMU} is not installed: make test-deps")
    try:
        entry = packages.Kernels().get(label)
    except packages.NoKernel as error:
        if os.environ.get("PYBPF_KERNELS"):
            pytest.fail(f"no kernel {label}: {error}")
        pytest.skip(f"no kernel {label}: {error}")
    return Guest(label, entry, vm.boot(entry["vmlinuz"], image, folder))


def function_of(frame):
    return re.sub(r" \(.*\)$", "", frame)
