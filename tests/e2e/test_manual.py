# SPDX-License-Identifier: Apache-2.0
"""The manual page and --help name the same options, and those of one command stand in its section."""
import pathlib
import re
import shutil
import subprocess

import pytest

import harness

PAGE = pathlib.Path(__file__).resolve().parents[2] / "user" / "pybpf.1"
OUTCOMES = PAGE.parents[1] / "include" / "pybpf" / "errors.def"
COMMANDS = re.findall(r"^  (\w+) ", harness.pybpf("--help").stdout.partition("Commands:")[2], re.M)


def help_options(command):
    """{long name: letter or None} of what --help lists."""
    text = harness.pybpf(command, "--help").stdout
    found = re.findall(r"^  (?:-(\w), |    )--([a-z-]+)", text, re.M)
    return {name: letter or None for letter, name in found if name != "help"}


def manual_options(section):
    """The same of one section of the page."""
    text = re.search(r"^\.Sh %s\n(.*?)(?=^\.Sh )" % section.upper(), PAGE.read_text(), re.M | re.S)[1]
    found = re.findall(r"^\.It Fl (?:(\w) , )?-([a-z][a-z-]+)", text, re.M)
    return {name: letter or None for letter, name in found}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("help", "version", "report")])
def test_options(command):
    assert manual_options(command) == help_options(command), "user/pybpf.1 and --help differ"


def test_report_has_options_of_record_only():
    """The page refers to record's for them."""
    record, report = help_options("record"), help_options("report")
    assert report and report.items() <= record.items()
    page = PAGE.read_text()
    named = {"Output", "Flame graph"}
    groups = re.findall(r"^(\w[\w ]*):$", harness.pybpf("report", "--help").stdout, re.M)
    assert named <= set(groups) and all(".Ss %s\n" % group in page for group in named)
    shown = set()
    for group in named:
        text = re.search(r"^\.Ss %s\n(.*?)(?=^\.S[sh] )" % group, page, re.M | re.S)[1]
        shown |= set(re.findall(r"^\.It Fl (?:\w , )?-([a-z][a-z-]+)", text, re.M))
    assert set(report) - {"quiet"} == shown


def test_every_command_has_a_section():
    sections = re.findall(r"^\.Sh (.*)$", PAGE.read_text(), re.M)
    assert {c.upper() for c in COMMANDS} - {"HELP", "VERSION"} <= set(sections)


def test_every_reason_is_explained():
    """What a user meets in `[truncated: REASON]` and in the accounts."""
    reasons = re.findall(r'^OUTCOME\(\w+, (?:TRUNCATED|LOST), "(\w+)"', OUTCOMES.read_text(), re.M)
    assert "ring_full" in reasons and "frame_bad" in reasons
    explained = [name for line in re.findall(r"^\.It (\w+(?: , \w+)*)$", PAGE.read_text(), re.M)
                 for name in line.split(" , ")]
    assert [r for r in reasons if r not in explained] == []


@pytest.mark.skipif(not shutil.which("mandoc"), reason="no mandoc")
def test_page_is_well_formed():
    done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", str(PAGE)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0 and not done.stdout, done.stdout
