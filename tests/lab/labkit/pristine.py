# SPDX-License-Identifier: GPL-2.0
"""
A pristine root of this machine's distribution, and the packages that tests install in it.

apt-get of this machine, with its sources, its keys and its proxies, fetches whatever an
empty machine would have to; debootstrap makes the root from these files, and leaves the
rest of them in it as a repository, so that nothing in the root ever needs the network.
The root is a tar file in the cache: its owners are of no concern to whoever owns the cache.
"""
import functools
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import paths
from .ui import LabError, Step, run

DIRECTORY = paths.CACHE / "roots"
SCRIPTS = paths.LAB / "deb"


def codename():
    text = pathlib.Path("/etc/os-release").read_text()
    match = re.search(r'(?m)^VERSION_CODENAME="?(\w+)', text)
    if not match:
        raise LabError("/etc/os-release names no VERSION_CODENAME: is this Debian?")
    return match[1]


@functools.cache
def architecture():
    return run(["dpkg", "--print-architecture"], "dpkg").strip()


def as_root(cmd):
    """CMD in a mount and process namespace of its own, without the network, as root."""
    cmd = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", *cmd]
    if not os.geteuid():
        return cmd
    if not shutil.which("sudo"):
        raise LabError("packages are installed in a root of their own, which takes root or sudo")
    return ["sudo", *cmd]


def required():
    """What every machine has: the names that apt marks so."""
    text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True,
                          check=True).stdout
    names = set()
    for record in text.split("\n\n"):
        fields = dict(re.findall(r"(?m)^(Package|Architecture|Priority|Essential): (.*)", record))
        if fields.get("Architecture") in (architecture(), "all") and (
                fields.get("Priority") == "required" or fields.get("Essential") == "yes"):
            names.add(fields["Package"])
    if not names:
        raise LabError("apt knows no packages: run \"apt-get update\"")
    return sorted(names)


def apt_get(names, *args):
    """apt-get's words about what an empty machine needs for NAMES."""
    done = subprocess.run(
        ["apt-get", "-q", "-y", "-o", "Dir::State::status=/dev/null", "-o",
         "Dir::State::extended_states=/dev/null", "-o", "Debug::NoLocking=1", "-o",
         "APT::Sandbox::User=root", *args, "--no-install-recommends", "install", *names],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LabError(f"apt-get failed; \"apt-get update\" may help:\n{done.stderr}")
    return done.stdout


def closure(names):
    """(file name, size) of all packages behind NAMES."""
    lines = apt_get(names, "--print-uris").splitlines()
    found = [re.match(r"'[^']+' (\S+\.deb) (\d+)", line) for line in lines]
    return sorted((m[1], m[2]) for m in found if m)


def make(target, names, base):
    """Makes the root at TARGET: BASE of NAMES is installed, the rest is there as files."""
    with tempfile.TemporaryDirectory(dir=DIRECTORY) as tmp:
        tmp = pathlib.Path(tmp)
        pool = tmp / "repo" / "pool"
        (pool / "partial").mkdir(parents=True)
        # What root makes in a directory of ours we can take away again; a directory, not.
        (tmp / "root").mkdir()
        index = tmp / "repo" / "dists" / codename() / "main" / f"binary-{architecture()}"
        index.mkdir(parents=True)
        with Step("fetching the packages of a pristine root"):
            apt_get(names, "--download-only", "-o", f"Dir::Cache::archives={pool}/")
        (pool / "partial").rmdir()
        (pool / "lock").unlink(missing_ok=True)
        for deb in pool.glob("*%3a*"):      # apt would take it for an escaped colon
            deb.rename(deb.with_name(deb.name.replace("%3a", ".")))
        with Step("making a pristine root"):
            with open(tmp / "root.tar.zst", "wb") as out:
                done = subprocess.run(
                    as_root(["sh", SCRIPTS / "make.sh", tmp, codename(), *base]),
                    stdout=out, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
            if done.returncode:
                raise LabError("making a pristine root failed:\n" +
                               done.stderr.decode(errors="replace")[-4000:])
        (tmp / "root.tar.zst").rename(target)


def get(base, later):
    """The tar file of a root in which BASE is installed, and LATER can be."""
    # debootstrap adds usr-is-merged to what is required.
    names = [*required(), "usr-is-merged", "apt", *base, *later]
    key = hashlib.sha256(repr((closure(names), base, codename())).encode())
    for path in (pathlib.Path(__file__), SCRIPTS / "make.sh"):
        key.update(path.read_bytes())
    target = DIRECTORY / f"{codename()}-{key.hexdigest()[:16]}.tar.zst"
    with paths.locked(DIRECTORY / ".lock"):
        if not target.exists():
            for old in DIRECTORY.glob(f"{codename()}-*.tar.zst"):
                old.unlink()
            make(target, names, base)
    return target
