# SPDX-License-Identifier: Apache-2.0
"""Burns CPU below a recursion of the given number of calls until killed; makes a file when it is down there."""

import sys


def burn(ready):
    open(ready, "w").close()
    while True:
        sum(range(500))


def dive(left, ready):
    if left > 1:
        dive(left - 1, ready)
    else:
        burn(ready)


sys.setrecursionlimit(20000)
dive(int(sys.argv[1]), sys.argv[2])
