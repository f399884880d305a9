# SPDX-License-Identifier: Apache-2.0
"""For all tests: what they want to be read even when they pass.

A test that takes record_property and calls record_property("summary", TEXT) has its lines printed at the end of
the run, under the test's name.
"""


def pytest_terminal_summary(terminalreporter):
    said = {}
    for status in "passed", "failed":
        for report in terminalreporter.getreports(status):
            for name, text in getattr(report, "user_properties", ()):
                if name == "summary" and report.when == "call":
                    said.setdefault(report.nodeid.partition("[")[0], []).append(text)
    for test in sorted(said):
        terminalreporter.section(test.rpartition("::")[2], "-")
        for text in sorted(said[test]):
            terminalreporter.write_line(text)
