# SPDX-License-Identifier: Apache-2.0
"""Burns CPU in two methods below main() for the given seconds, then tells how much went into which."""

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
    grind = sift = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.process_time()
        mill.grind(6000)
        middle = time.process_time()
        mill.sift(3000)
        grind += middle - start
        sift += time.process_time() - middle
    print(grind, sift)


main(float(sys.argv[1]))
