# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests.

A test that takes `python` runs once with each of the machine's own interpreters (Debian's and pyenv's) that pybpf
reads, one that takes `every_python` with those that scripts/interpreters.sh has gathered as well.
"""
import fcntl
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402

SUPPORTED = (3, 11), (3, 14)  # least, below


def pytest_configure(config):
    config.addinivalue_line("markers", "versions(least, below): of the interpreters that a test runs with")
    config.addinivalue_line("markers", "alone: of a test that disturbs others")


def pytest_generate_tests(metafunc):
    mark = metafunc.definition.get_closest_marker("versions")
    found = harness.interpreters.select(*(mark.args if mark else SUPPORTED))
    own = [i for i in found if harness.interpreters.is_own(i)]
    for fixture, those in ("python", own), ("every_python", found):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, those, ids=[i.id for i in those])


@pytest.fixture(scope="session", autouse=True)
def can_record():
    """Recording needs root; where there is none, or no binary, that is said instead of failing each test."""
    if not os.access(harness.PYBPF, os.X_OK):
        pytest.skip("%s is not built" % harness.PYBPF)
    if os.geteuid():
        pytest.skip("recording needs root")


@pytest.fixture(autouse=True)
def company(request, tmp_path_factory):
    """Whoever is to be alone waits for the others' tests to end, and none begins meanwhile: at the gate they wait in turn."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder
    with open(folder / "gate", "w") as gate, open(folder / "company", "w") as others:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(others, fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture
def target(tmp_path):
    """start(python, text, *args): a ready Target in a folder of its own; all are ended afterwards."""
    started = []

    def start(python, text, *args, **more):
        folder = tmp_path / ("target%d" % len(started))
        folder.mkdir()
        new = harness.Target(python, text, args, folder=folder, **more)
        started.append(new)
        return new.wait_ready()

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def any_python():
    """One interpreter, for tests that are not about interpreters: the newest."""
    found = [i for i in harness.interpreters.select(*SUPPORTED) if harness.interpreters.is_own(i)]
    if not found:
        pytest.skip("no interpreter that pybpf reads")
    return found[-1]


@pytest.fixture
def record(tmp_path):
    """record(*args, ...): harness.record into a raw file of its own unless output= says otherwise."""
    count = iter(range(1 << 30))

    def run(*args, **more):
        more.setdefault("output", tmp_path / ("out%d.raw" % next(count)))
        return harness.record(*args, **more)

    return run
