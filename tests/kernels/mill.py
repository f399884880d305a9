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


def median(values):
    return sorted(values)[len(values) // 2]


def main(seconds):
    mill, size = Mill(), 1
    done = {mill.grind: [], mill.sift: []}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for work, rounds in done.items():
            size = size * 1103515245 + 12345 & 0x7FFFFFFF
            n = 1000 + (size >> 8) % 8000  # no period that the timer's could be
            start = time.process_time()
            work(n)
            rounds.append((n, time.process_time() - start))
    # by the median, as the clock charges a pause of the whole machine to whoever runs
    print(*(sum(n for n, _ in rounds) * median([used / n for n, used in rounds]) for rounds in done.values()))


main(float(sys.argv[1]))
