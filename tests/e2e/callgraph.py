# SPDX-License-Identifier: Apache-2.0
"""A program that changes its stack every few hundred ns, and which stacks it can have."""
import random

FUNCTIONS = 40


def make(seed):
    """Which call each line of the program makes: {(caller, line): (kind, callee)}, and its text; line numbers are one more than
    in the text, for harness.Target's preamble. Calls go to functions of higher number only, by six kinds of call; every
    other function takes more arguments than it gets, which the interpreter calls another way."""
    rng, calls = random.Random(seed), {}
    lines = ["def end(n):", "    return n"]
    for i in reversed(range(FUNCTIONS)):
        lines.append("def f%d(n%s):" % (i, ", *more, **named" if i % 2 else ""))
        for _ in range(3):
            callee = rng.randrange(i + 1, FUNCTIONS + 1)
            name = "f%d" % callee if callee < FUNCTIONS else "end"
            kind = rng.choice(["plain", "plain", "generator", "lambda", "method", "raise", "c"])
            through = {
                "plain": ("n = %s(n)", {name}),
                "generator": ("n = [x for x in each_%s(n)][0]", None),
                "lambda": ("n = (lambda x: %s(x))(n)", None),
                "method": ("n = Method.call_%s(n)", None),
                "raise": ("n = %s(n) + catch(n)", {name, "catch"}),
                "c": ("n = max([n], key=%s)", {name}),
            }[kind]
            lines.append("    " + through[0] % name)
            # +1: the preamble's line
            calls["f%d" % i, len(lines) + 1] = (kind, name)
        lines.append("    return n")
    head = ["class Method:"]
    for name in ["f%d" % i for i in range(FUNCTIONS)] + ["end"]:
        head += ["    @staticmethod", "    def call_%s(n):" % name, "        return %s(n)" % name]
    for name in ["f%d" % i for i in range(FUNCTIONS)] + ["end"]:
        head += ["def each_%s(n):" % name, "    yield %s(n)" % name]
    head += ["def throw(n):", "    raise ValueError(n)",
             "def catch(n):", "    try:", "        throw(n)", "    except ValueError:", "        return 0"]
    text = "\n".join(head + lines + ["def main():", "    ready()", "    while True:", "        f0(1)", "main()", ""])
    return {(caller, line + len(head)): what for (caller, line), what in calls.items()}, text


def allows(frames, calls):
    """Whether the program can have this stack: frames with a name and a line, outermost first."""
    bare = [f.name.rpartition(".")[2] for f in frames]
    if bare[:2] != ["<module>", "main"]:
        return False
    for caller, callee, name in zip(frames[1:], frames[2:], bare[2:]):
        shown = caller.name.rpartition(".")[2]
        if shown == "main":
            fits = name == "f0"
        elif shown.startswith("f"):
            kind, goal = calls.get((shown, caller.line), (None, None))
            fits = {
                "plain": name == goal, "c": name == goal, "raise": name in (goal, "catch"),
                "generator": name in ("<listcomp>", "each_" + goal) if goal else False,
                "lambda": name == "<lambda>" and callee.line == caller.line,
                "method": name == "call_%s" % goal,
            }.get(kind, False)
        elif shown == "<listcomp>":
            fits = name.startswith("each_")
        elif shown == "<lambda>":
            fits = name == _goal(calls, caller.line)
        elif shown.startswith(("each_", "call_")):
            fits = name == shown.partition("_")[2]
        else:
            fits = (shown, name) == ("catch", "throw")
        if not fits:
            return False
    return True


def _goal(calls, line):
    return next((goal for (_, at), (_, goal) in calls.items() if at == line), None)
