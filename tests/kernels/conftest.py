# SPDX-License-Identifier: Apache-2.0
"""One boot of each kernel for all of its tests, and what was measured at the end."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import guests  # noqa: E402  (lies beside this file)

MEASURED = pytest.StashKey()


def pytest_configure(config):
    config.stash[MEASURED] = []


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[MEASURED]:
        terminalreporter.section("measured")
        for line in config.stash[MEASURED]:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """The initramfs that all guests boot with."""
    path = str(tmp_path_factory.mktemp("image") / "initramfs")
    guests.build_image(path)
    return path


@pytest.fixture(scope="session", params=guests.labels())
def guest(request, image, tmp_path_factory):
    """What a kernel has left behind once it has run all cases."""
    result = guests.run(request.param, image, str(tmp_path_factory.mktemp("guest")))
    request.config.stash[MEASURED].append(f"{result.label}: Linux {result.release}, ended after {result.seconds:.0f} s")
    return result


@pytest.fixture
def measured(request, guest):
    """Notes a line to be shown when all tests have ended."""
    return lambda text: request.config.stash[MEASURED].append(f"{guest.label}: {text}")
