# SPDX-License-Identifier: Apache-2.0
"""Boots a kernel with an initramfs in QEMU, without KVM, and takes the guest's results back.

The first serial line is the console; the guest writes a tar of /out to the second one and powers off.
"""

import io
import os
import shutil
import subprocess
import tarfile
import time

QEMU = "qemu-system-x86_64"
# Mitigations cost a lot where every instruction is translated, and are not what is tested.
KERNEL_ARGUMENTS = "console=ttyS0 quiet panic=-1 mitigations=off rdinit=/init random.trust_cpu=on"


class VmError(Exception):
    """The guest gave no results; the text has the end of its console."""


class Result:
    """What a guest left: files of /out by name, seconds to init and in all."""

    def __init__(self, files, console, seconds):
        self.files = files
        self.console = console
        self.seconds = seconds

    def text(self, name, default=""):
        return self.files.get(name, default.encode()).decode("utf-8", "replace")


def available():
    return shutil.which(QEMU) is not None


def boot(vmlinuz, initramfs, folder, cpus=2, memory_mb=1024, timeout=900):
    """Runs the guest to its end. Raises VmError on a panic, a hang or results that are not whole."""
    console, results = os.path.join(folder, "console.log"), os.path.join(folder, "results.tar")
    for path in (console, results):
        if os.path.exists(path):
            os.unlink(path)
    command = [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "pc,hpet=on", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off",
        "-smp", str(cpus), "-m", str(memory_mb), "-kernel", vmlinuz, "-initrd", initramfs,
        "-append", KERNEL_ARGUMENTS, "-serial", f"file:{console}", "-serial", f"file:{results}",
    ]
    start = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as guest:
        try:
            said = guest.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            guest.kill()
            guest.communicate()
            raise VmError(f"no end after {timeout} s\n{_tail(console)}") from None
    if guest.returncode:
        raise VmError(f"{QEMU} failed: {said.strip()}")
    seconds = time.monotonic() - start
    files = {}
    try:
        with open(results, "rb") as file, tarfile.open(fileobj=io.BytesIO(file.read())) as tar:
            for member in tar:
                if member.isfile():
                    files[member.name[2:] if member.name.startswith("./") else member.name] = (
                        tar.extractfile(member).read())
    except (OSError, tarfile.TarError) as error:
        raise VmError(f"no results ({error})\n{_tail(console)}") from None
    with open(console, encoding="utf-8", errors="replace") as file:
        return Result(files, file.read(), seconds)


def _tail(path, lines=25):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "\n".join("    " + line for line in file.read().splitlines()[-lines:])
    except OSError:
        return "    (no console)"
