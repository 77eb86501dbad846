# SPDX-License-Identifier: GPL-2.0
"""What the machine needs: Debian packages and stock kernels."""
import os
import shutil
import subprocess

from . import kernels, paths
from .ui import LabError, Step, say

MOUNT_POINTS = ("/usr/src", "/lib/modules", "/var/lib/dkms")


def wanted_packages():
    lines = (paths.LAB / "packages.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def missing_packages(more=()):
    names = [*wanted_packages(), *more]
    out = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n", *names],
                         capture_output=True, text=True, check=False).stdout
    have = {line.split()[1] for line in out.splitlines() if line.startswith("ii")}
    return [n for n in names if n not in have]


def as_root(cmd, without):
    """Run CMD, by sudo if need be; WITHOUT says what a person can do who has no sudo."""
    if os.geteuid():
        if not shutil.which("sudo"):
            raise LabError(without)
        cmd = ["sudo", *cmd]
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    if subprocess.run(cmd, env=env, stdin=subprocess.DEVNULL, check=False, stdout=2).returncode:
        raise LabError(f"\"{' '.join(cmd)}\" failed; its messages are above")


def apt_get(*args, more=()):
    as_root(["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", *args],
            "packages are missing and this is not root: run \"apt-get install "
            f"{' '.join(missing_packages(more))}\" as root, then try again")


def mount_points():
    """
    The DKMS test mounts over these, in a namespace of its own. A machine that never had a
    kernel package (a container, a micro VM) has no /lib/modules.
    """
    missing = [p for p in MOUNT_POINTS if not os.path.isdir(p)]
    if missing:
        as_root(["mkdir", "-p", *missing],
                f"run \"mkdir -p {' '.join(missing)}\" as root, then try again")


def setup(series=paths.KERNELS, refresh=False, more=()):
    """Install what is missing, of MORE too; fetch the kernels that are not cached."""
    updated = False
    missing = missing_packages(more)
    if missing:
        with Step(f"installing {' '.join(missing)}"):
            apt_get("update", more=more)
            updated = True
            apt_get("install", "--no-install-recommends", *missing, more=more)
    mount_points()
    with paths.locked(paths.CACHE / "setup.lock"):
        for one in series:
            if one in paths.DEBUG_KERNELS or (kernels.find(one) and not refresh):
                continue
            if not updated and (refresh or not kernels.resolve(one)):
                apt_get("update")
                updated = True
            try:
                kernels.fetch(one)
            except LabError:
                if updated:
                    raise
                say("trying again with fresh package lists")
                apt_get("update")
                updated = True
                kernels.fetch(one)
    # Take long, and have a lock of their own.
    for one in series:
        if one in paths.DEBUG_KERNELS and (refresh or not kernels.find(one)):
            kernels.fetch(one)
    for one in series:
        kernel = kernels.get(one)
        say(f"kernel {one}: {kernel.release} ({kernel.version})")
