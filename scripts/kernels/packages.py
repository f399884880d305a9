# SPDX-License-Identifier: Apache-2.0
"""Kernel images out of Debian's archive, verified by apt and kept in a cache outside of the tree.

apt works in a state directory of its own, on suites that the machine itself need not have configured; where
the archive is, the machine's own apt sources say (or PYBPF_DEBIAN_MIRROR, for machines that are not Debian).
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time

# What is tested: a name for it and the suites that have it; "" means the newest kernel there is.
SERIES = {
    "5.10": ("5.10.", ("bullseye-security", "bullseye")),
    "6.1": ("6.1.", ("bookworm-security", "bookworm")),
    "6.12": ("6.12.", ("trixie-security", "trixie")),
    "newest": ("", ("sid", "trixie-backports", "forky-backports")),
}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
FRESH_SECONDS = 14 * 24 * 3600


class NoKernel(Exception):
    """The kernel is not to be had; the text says why."""


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "pybpf", "kernels")


def _run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, **options)


def mirrors():
    """The addresses of Debian's archive and of its security archive that this machine uses."""
    main = os.environ.get("PYBPF_DEBIAN_MIRROR", "").rstrip("/")
    security = os.environ.get("PYBPF_DEBIAN_SECURITY_MIRROR", "").rstrip("/")
    if not main and shutil.which("apt-get"):
        listed = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).stdout.split()
        addresses = [address.rstrip("/") for address in listed]
        main = next((a for a in addresses if re.search(r"/debian$", a)), "")
        security = security or next((a for a in addresses if re.search(r"/debian-security$", a)), "")
    return main, security


class Archive:
    """A private apt state over the suites of SERIES for one architecture."""

    def __init__(self, directory, debian_arch):
        self.directory = directory
        self.arch = debian_arch
        for folder in ("lists/partial", "cache/archives/partial", "parts"):
            os.makedirs(os.path.join(directory, folder), exist_ok=True)
        with open(os.path.join(directory, "status"), "a", encoding="ascii"):
            pass
        self._write_sources()

    def _write_sources(self):
        main, security = mirrors()
        if not main or not os.path.exists(KEYRING):
            raise NoKernel("this machine's apt knows no Debian archive or lacks debian-archive-keyring"
                           " (PYBPF_DEBIAN_MIRROR names one)")
        with open(os.path.join(self.directory, "sources.list"), "w", encoding="ascii") as out:
            for suite in dict.fromkeys(s for _, suites in SERIES.values() for s in suites):
                address = security if suite.endswith("-security") else main
                if address:
                    out.write(f"deb [signed-by={KEYRING}] {address} {suite} main\n")

    def _apt(self, tool, *arguments, **options):
        d = self.directory
        settings = {
            "Dir::State": d, "Dir::State::lists": f"{d}/lists", "Dir::State::status": f"{d}/status",
            "Dir::Cache": f"{d}/cache", "Dir::Etc::sourcelist": f"{d}/sources.list",
            "Dir::Etc::sourceparts": f"{d}/parts", "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": f"{d}/parts", "APT::Architecture": self.arch,
            "APT::Architectures": self.arch, "Acquire::Languages": "none", "APT::Sandbox::User": "",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
            "Acquire::Retries": "2", "Acquire::http::Timeout": "30",
        }
        words = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return _run([tool, *words, *arguments], timeout=300, **options)

    def update(self):
        # A suite that the mirror does not have (any more) is an error to apt, but not to us.
        done = self._apt("apt-get", "-q", "update")
        if not any(name.endswith("_Packages") or "_Packages." in name
                   for name in os.listdir(os.path.join(self.directory, "lists"))):
            lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
            raise NoKernel("apt gets no package list: " + (lines[0] if lines else "no reason given"))

    def _control(self, package):
        """The stanzas of a package, newest version first, as dictionaries."""
        stanzas = []
        for stanza in self._apt("apt-cache", "show", package).stdout.strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[\w-]+: ", line))
            if "Version" in fields:
                stanzas.append(fields)
        return stanzas

    def find(self, prefix):
        """(package, version, release) of the newest kernel whose version starts with the prefix."""
        meta = f"linux-image-cloud-{self.arch}"
        for fields in self._control(meta):
            image = re.search(r"linux-image-(\d[^ ,]*)", fields.get("Depends", ""))
            if not image or not fields["Version"].startswith(prefix):
                continue
            # From 7.x on the image lies in a package of its own, linux-binary-*.
            for package in (f"linux-binary-{image.group(1)}", image.group(0)):
                have = [c for c in self._control(package) if c["Version"] == fields["Version"]]
                if have:
                    return package, fields["Version"], image.group(1)
        raise NoKernel(f"the archive has no {meta} {prefix or 'at all'}")

    def download(self, package, version, folder):
        """Puts vmlinuz (and config, where the package has one) into the folder."""
        with tempfile.TemporaryDirectory(dir=self.directory) as scratch:
            done = self._apt("apt-get", "-q", "download", f"{package}={version}", cwd=scratch)
            debs = [name for name in os.listdir(scratch) if name.endswith(".deb")]
            if done.returncode or not debs:
                raise NoKernel(f"apt cannot download {package}: {done.stderr.strip().splitlines()[-1:]}")
            unpacked = os.path.join(scratch, "unpacked")
            subprocess.run(["dpkg-deb", "-x", debs[0], unpacked], cwd=scratch, check=True)
            found = False
            for path, _, names in os.walk(unpacked):
                for name in names:
                    kind = re.match(r"(vmlinuz|config)(-\d|$)", name)
                    if kind and not os.path.islink(os.path.join(path, name)):
                        os.makedirs(folder, exist_ok=True)
                        shutil.move(os.path.join(path, name), os.path.join(folder, kind.group(1)))
                        found |= kind.group(1) == "vmlinuz"
            if not found:
                raise NoKernel(f"{package} {version} has no vmlinuz")


class Kernels:
    """The kernels of one architecture in the cache; fetches what is not there."""

    def __init__(self, debian_arch="amd64", refresh=False):
        self.arch = debian_arch
        self.directory = os.path.join(cache_directory(), debian_arch)
        self.refresh = refresh
        self._archive = None
        self._failure = None

    def _index(self, label):
        return os.path.join(self.directory, f"{label}.json")

    def _cached(self, label):
        try:
            with open(self._index(label), encoding="utf-8") as file:
                entry = json.load(file)
            entry["vmlinuz"] = os.path.join(self.directory, entry["release"], "vmlinuz")
            return entry if os.path.getsize(entry["vmlinuz"]) else None
        except (OSError, ValueError, KeyError):
            return None

    def _open(self):
        if self._failure:
            raise NoKernel(self._failure)
        if not self._archive:
            try:
                archive = Archive(os.path.join(self.directory, "apt"), self.arch)
                archive.update()
            except (NoKernel, OSError, subprocess.SubprocessError) as error:
                self._failure = str(error)
                raise NoKernel(self._failure) from None
            self._archive = archive
        return self._archive

    def get(self, label):
        """{"release", "version", "vmlinuz"} of a member of SERIES; raises NoKernel."""
        entry = self._cached(label)
        if entry and not self.refresh and time.time() - entry["fetched"] < FRESH_SECONDS:
            return entry
        try:
            archive = self._open()
            package, version, release = archive.find(SERIES[label][0])
            folder = os.path.join(self.directory, release)
            if not (entry and entry["version"] == version):
                archive.download(package, version, folder)
        except (NoKernel, OSError, subprocess.SubprocessError) as error:
            if entry:
                return entry  # older than we would like, yet the right series
            raise NoKernel(str(error)) from None
        fresh = {"release": release, "version": version, "fetched": time.time()}
        with open(self._index(label) + ".new", "w", encoding="utf-8") as file:
            json.dump(fresh, file)
        os.replace(self._index(label) + ".new", self._index(label))
        if entry and entry["release"] != release:
            shutil.rmtree(os.path.join(self.directory, entry["release"]), ignore_errors=True)
        return self._cached(label)
