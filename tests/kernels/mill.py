# SPDX-License-Identifier: Apache-2.0
"""Burns CPU in two methods below main() for the given seconds, then ends."""

import sys
import time


class Mill:
    def grind(self, n):
        total = 0
        for i in range(n):
            total += i * i
        return total

    def sift(self, n):
        total = 0
        for i in range(n):
            total ^= i << 1
        return total


def main(seconds):
    mill = Mill()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        mill.grind(3000)
        mill.sift(3000)


main(float(sys.argv[1]))
