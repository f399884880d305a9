# SPDX-License-Identifier: Apache-2.0
"""How many samples a recording takes, and that each is whole."""
import harness

SPIN = """
def leaf(n):
    s = 0
    for i in range(n):
        s += i
    return s
def main():
    ready()
    while True:
        leaf(20000)
main()
"""


def test_a_busy_thread_is_sampled_at_the_rate(python, target, record):
    busy = target(python, SPIN)
    result = record("-p", busy.pid, "-d", 1, "--json")
    assert result.status == 0, result
    assert harness.complete(result.stacks) == result.samples > 0, result.stacks
