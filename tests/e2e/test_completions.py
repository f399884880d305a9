# SPDX-License-Identifier: Apache-2.0
"""The completion scripts, sourced and asked by the shells themselves."""
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

import harness

SHELLS = ("bash", "zsh", "fish")
COMMANDS = re.findall(r"^  (\w+) ", harness.pybpf("--help").stdout.partition("Commands:")[2], re.M)


@pytest.fixture(params=SHELLS)
def shell(request):
    if not shutil.which(request.param):
        pytest.skip("no %s" % request.param)
    return request.param


@pytest.fixture
def script(shell, tmp_path):
    text = harness.pybpf("completions", shell)
    assert text.status == 0 and not text.stderr, text
    path = tmp_path / "script"
    path.write_text(text.stdout)
    return path


def bash(script, *words):
    """What bash offers for the last word."""
    run = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pybpf; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", run, "bash", str(script), harness.PYBPF, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done
    return set(done.stdout.split())


def fish(script, *words):
    # quoted, for an empty word has to stay one
    line = "pybpf " + " ".join(words)
    done = subprocess.run(["fish", "--no-config", "-c", 'source $argv[1]; complete -C $argv[2]', str(script), line],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          env=dict(os.environ, PATH="%s:%s" % (os.path.dirname(harness.PYBPF), os.environ["PATH"])))
    assert done.returncode == 0 and not done.stderr, done
    return {each.split("\t")[0] for each in done.stdout.splitlines()}


class Zsh:
    """An interactive zsh, for its completions work nowhere else."""

    def __init__(self, script, home):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.environ.update(HOME=str(home), TERM="dumb", PS1="> ", COLUMNS="500",
                              PATH="%s:%s" % (os.path.dirname(harness.PYBPF), os.environ["PATH"]))
            os.execvp("zsh", ["zsh", "-f", "-i"])
        self.said = ""
        self.ask("autoload -U compinit; compinit -D -u; source %s; echo re''ady\n" % script, "ready")

    def ask(self, text, until):
        """Types and waits for an answer; what was said since."""
        os.write(self.fd, text.encode())
        end, said = time.monotonic() + harness.PATIENCE, ""
        while until not in said:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], "zsh never said %r: %r" % (until, said)
            said += os.read(self.fd, 1 << 16).decode()
        return said

    def close(self):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def test_syntax(shell, script):
    check = [shell, "-n", str(script)]
    done = subprocess.run(check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0 and not done.stdout, done


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck")
def test_bash_script_is_clean(tmp_path):
    path = tmp_path / "script"
    path.write_text(harness.pybpf("completions", "bash").stdout)
    done = subprocess.run(["shellcheck", "-s", "bash", str(path)], stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("shell", ("bash", "fish"), indirect=True)
def test_every_command_and_option(shell, script):
    ask = {"bash": bash, "fish": fish}[shell]
    assert set(COMMANDS) <= ask(script, "")
    for command in set(COMMANDS) - {"help", "version"}:
        options = set(re.findall(r"--[a-z][a-z-]+", harness.pybpf(command, "--help").stdout.partition("  -h, ")[0]))
        options = {o for o in options if re.search(r"^ .{0,5}%s\b" % o, harness.pybpf(command, "--help").stdout, re.M)}
        offered = {o.split("=")[0] for o in ask(script, command, "--")}
        assert options <= offered, (command, options - offered)


@pytest.mark.parametrize("shell", ("bash", "fish"), indirect=True)
def test_values(shell, script, tmp_path):
    ask = {"bash": bash, "fish": fish}[shell]
    assert {"svg", "speedscope", "raw", "pybpf"} <= ask(script, "record", "-f", "")
    assert ask(script, "record", "--colors", "bl") == {"blue"}
    assert "root" in ask(script, "record", "--user", "roo")
    (tmp_path / "one.pybpf").touch()
    assert ask(script, "report", str(tmp_path / "one")) == {str(tmp_path / "one.pybpf")}
    assert ask(script, "completions", "") >= set(SHELLS)
    assert "record" in ask(script, "help", "rec")


@pytest.mark.parametrize("shell", ("bash", "fish"), indirect=True)
def test_pids(shell, script, target, any_python):
    program = target(any_python, "ready()\nhear()\n")
    assert str(program.pid) in {"bash": bash, "fish": fish}[shell](script, "record", "-p", "")


def test_bash_equals_sign_and_command(tmp_path):
    script = tmp_path / "script"
    script.write_text(harness.pybpf("completions", "bash").stdout)
    assert bash(script, "record", "--colors", "=", "bl") == {"blue"}
    assert {"raw", "svg"} <= bash(script, "record", "--format", "=")
    assert "bash" in bash(script, "record", "--", "bas")
    assert bash(script, "record", "-d", "") == set()


@pytest.mark.parametrize("shell", ("zsh",), indirect=True)
def test_zsh(shell, script, tmp_path, target, any_python):
    program = target(any_python, "ready()\nhear()\n")
    zsh = Zsh(script, tmp_path)
    clear = "\x15"  # Control-U
    try:
        zsh.ask("pybpf comp\t", "pybpf completions ")
        zsh.ask(clear + "pybpf record --forc\t", "--force ")
        zsh.ask(clear + "pybpf record --colors=bl\t", "--colors=blue ")
        zsh.ask(clear + "pybpf record -f spee\t", "speedscope ")
        assert str(program.pid) in zsh.ask(clear + "pybpf record -p %d\t" % program.pid, "%d " % program.pid)
        zsh.ask(clear + "pybpf record -- true\t", "true ")
    finally:
        zsh.close()


def test_bad_usage():
    for words in ((), ("ksh",), ("bash", "zsh"), ("--shell",)):
        assert "completions" in harness.one_line(harness.pybpf("completions", *words), 2)
