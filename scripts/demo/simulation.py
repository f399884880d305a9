#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo's pure-Python process: planets move, what happens is written down as text and counted again."""
import math
import random
import sys


class Body:
    def __init__(self, name, position, velocity, mass):
        self.name, self.position, self.velocity, self.mass = name, position, velocity, mass

    def pull(self, other, step):
        """What the other body does to this one's velocity."""
        delta = [b - a for a, b in zip(self.position, other.position)]
        square = sum(d * d for d in delta) + 0.01
        factor = other.mass * step / (square * math.sqrt(square))
        self.velocity = [v + d * factor for v, d in zip(self.velocity, delta)]

    def move(self, step):
        self.position = [p + v * step for p, v in zip(self.position, self.velocity)]

    def energy(self):
        return self.mass * sum(v * v for v in self.velocity) / 2


def advance(bodies, step):
    for body in bodies:
        for other in bodies:
            if other is not body:
                body.pull(other, step)
    for body in bodies:
        body.move(step)


def describe(bodies):
    return "\n".join("%s at %s with energy %.3f" % (b.name, ", ".join("%.2f" % p for p in b.position), b.energy())
                     for b in bodies)


def count_words(text, counts):
    for word in text.split():
        word = word.strip(".,").lower()
        counts[word] = counts.get(word, 0) + 1


def most_common(counts):
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]


def simulate(bodies):
    counts = {}
    while True:
        for _ in range(20):
            advance(bodies, 0.01)
        count_words(describe(bodies), counts)
        if len(counts) > 2000:
            most_common(counts)
            counts.clear()


def main():
    draw = random.Random(1)
    names = "Mercury Venus Earth Mars Jupiter Saturn".split()
    bodies = [Body(n, [draw.uniform(-5, 5) for _ in range(3)], [draw.uniform(-1, 1) for _ in range(3)],
                   draw.uniform(0.1, 2)) for n in names]
    print("ready")
    sys.stdout.flush()
    simulate(bodies)


if __name__ == "__main__":
    main()
