# SPDX-License-Identifier: Apache-2.0
"""Real containers, by runc: namespaces of their own, cgroups as Docker names them, a root that the test makes."""
import contextlib
import json
import os
import pathlib
import secrets
import shutil
import subprocess

import harness

RUNC = shutil.which("runc") or shutil.which("runc", path="/usr/sbin")
SYSTEM = ("/usr",)  # what a program of the host needs inside


class Container:
    """A Python program in a container of its own. It says things by files in /shared, which is `shared` outside.
    command: words of the interpreter as seen inside. binds: folders at their own places. root: made when not given."""

    PREAMBLE = ("import os as _os\n"
                "def ready():\n"
                "    _os.mkfifo('/shared/fifo'); open('/shared/ready', 'w').close(); open('/shared/fifo').close()\n")

    def __init__(self, folder, command, text, binds=SYSTEM, prepare=None):
        self.id = secrets.token_hex(32)
        self.name = "pybpf-test-" + self.id[:12]
        self.folder, self.shared = pathlib.Path(folder), pathlib.Path(folder) / "shared"
        self.root = self.folder / "rootfs"
        for d in "usr", "proc", "sys", "dev", "tmp", "etc", "root", "shared":
            (self.root / d).mkdir(parents=True, exist_ok=True)
        self.shared.mkdir()
        (self.shared / "program.py").write_text(self.PREAMBLE + text)
        if "/usr" in binds:
            for d in "lib", "lib64", "bin", "sbin":
                (self.root / d).symlink_to("usr/" + d)
        if prepare:
            prepare(self.root)
        self._configure(list(command) + ["/shared/program.py"], binds)

    def _configure(self, words, binds):
        subprocess.run([RUNC, "spec"], cwd=self.folder, check=True, timeout=60)
        path = self.folder / "config.json"
        config = json.loads(path.read_text())
        process = config["process"]
        process.update(terminal=False, args=words)
        process.pop("rlimits", None)
        process["env"] += ["PYTHONDONTWRITEBYTECODE=1"]
        config["root"]["readonly"] = False
        for d in binds:
            (self.root / d.lstrip("/")).mkdir(parents=True, exist_ok=True)
            config["mounts"].append({"destination": d, "type": "bind", "source": d, "options": ["rbind", "ro"]})
        config["mounts"].append({"destination": "/shared", "type": "bind", "source": str(self.shared),
                                 "options": ["rbind", "rw"]})
        linux = config["linux"]
        linux["cgroupsPath"] = "/docker/" + self.id
        linux["namespaces"] = [{"type": t} for t in ("pid", "mount", "uts", "ipc", "cgroup", "network")]
        path.write_text(json.dumps(config))

    def start(self):
        with open(self.shared / "said", "wb") as said:
            subprocess.run([RUNC, "run", "-d", "--bundle", str(self.folder), self.name], stdin=subprocess.DEVNULL,
                           stdout=said, stderr=said, check=True, timeout=harness.PATIENCE)
        state = subprocess.run([RUNC, "state", self.name], stdout=subprocess.PIPE, check=True, timeout=60)
        self.pid = json.loads(state.stdout)["pid"]
        return self

    def wait_ready(self):
        """Until the program calls ready(): it opens a FIFO, which nobody else does. Then it goes on."""
        fd, fifo = os.pidfd_open(self.pid), self.shared / "fifo"
        try:
            while not (self.shared / "ready").exists():
                assert not harness.select.select([fd], [], [], 0.02)[0], (self.shared / "said").read_text()
        finally:
            os.close(fd)
        with open(fifo, "w"):
            return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        subprocess.run([RUNC, "delete", "-f", self.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=harness.PATIENCE)
        for controller in os.scandir("/sys/fs/cgroup"):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(controller.path, "docker", self.id))


def of_interpreter(interpreter):
    """(command, binds) that run an interpreter of the host in a container."""
    prefix = subprocess.run(interpreter.command + ["-c", "import sys; print(sys.base_prefix)"],
                            stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode().strip()
    binds = SYSTEM if prefix.startswith("/usr") else SYSTEM + (prefix,)
    return interpreter.command, binds
