# SPDX-License-Identifier: Apache-2.0
"""Spends its time in the kernel, in a read called by pump() below main(), for the given seconds."""

import sys
import time


def pump(source, buffer):
    for _ in range(50):
        source.readinto(buffer)


def main(seconds):
    buffer = bytearray(1 << 20)
    end = time.monotonic() + seconds
    with open("/dev/zero", "rb", 0) as source:
        while time.monotonic() < end:
            pump(source, buffer)


main(float(sys.argv[1]))
