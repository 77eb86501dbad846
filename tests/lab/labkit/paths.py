# SPDX-License-Identifier: GPL-2.0
"""Where things are: the source tree, its build directory, and the cache."""
import contextlib
import fcntl
import os
import pathlib

TOP = pathlib.Path(__file__).resolve().parents[3]
LAB = TOP / "tests" / "lab"
E2E = TOP / "tests" / "e2e"
QEMU = TOP / "tests" / "qemu"
SELFTEST = LAB / "selftest"
BUILD = TOP / "build"
RUNS = BUILD / "lab"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or
                     pathlib.Path.home() / ".cache") / "kvm-ferry"
KERNELS = ("6.1", "6.12")       # stock ones: what everything runs on unless told otherwise
# Those that debug.py builds with everything that notices mistakes, by the
# argument of tests/lab/kernel-source.
DEBUG_KERNELS = {"debug": "lts", "newest": "newest"}
SERIES = (*KERNELS, *DEBUG_KERNELS)


@contextlib.contextmanager
def locked(path):
    """Hold an exclusive lock on PATH, so that two labs may work side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_new(path, data):
    """Put DATA (bytes) at PATH in one step: readers see the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    tmp.write_bytes(data)
    tmp.rename(path)
