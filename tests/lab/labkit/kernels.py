# SPDX-License-Identifier: GPL-2.0
"""
Stock kernels, unpacked into the cache and never installed.

cache/kernels/SERIES/VERSION/ is a small root: boot/vmlinuz-RELEASE,
lib/modules/RELEASE, usr/src/linux-headers-*, usr/lib/linux-kbuild-*. The few
absolute paths in Debian's packages are rewritten to point into that root.
cache/kernels/SERIES/current.json says which VERSION is in use.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from . import paths
from .ui import LabError, Step, run, say

IMAGE_META = {"6.1": "linux-image-amd64", "6.12": "linux-image-6.12-amd64"}
HEADERS_META = {"6.1": "linux-headers-amd64", "6.12": "linux-headers-6.12-amd64"}
LAYOUT = 1      # raise it when what is in the cache changes shape

# What the debug kernel costs: time limits are multiplied, and KASAN's shadow and
# quarantine, kmemleak's records and lockdep's tables take memory.
DEBUG_SLOWNESS = 4


def debug_mem(mem):
    """MiB that a host with the debug kernel needs, for what is MEM MiB with a stock one."""
    return mem * 5 // 4 + 384


class Kernel:
    """One unpacked kernel."""

    def __init__(self, series, root, release, version):
        self.series, self.root = series, pathlib.Path(root)
        self.debug = series in paths.DEBUG_KERNELS
        self.release, self.version = release, version
        self.vmlinuz = self.root / "boot" / f"vmlinuz-{release}"
        self.modules = self.root / "lib" / "modules" / release
        self.headers = self.root / "usr" / "src" / f"linux-headers-{release}"
        self.build = paths.BUILD / release      # our module's build directory
        self.slowness = DEBUG_SLOWNESS if self.debug else 1

    @property
    def module(self):
        return self.build / "kvm_ferry.ko"

    @property
    def test_modules(self):
        return self.build / "test-modules"

    @property
    def suites(self):
        """The unit tests as a module, where the kernel has KUnit."""
        return self.build / "kunit" / "kvm_ferry_kunit.ko"


def find(series):
    """The cached kernel of SERIES, or None."""
    if series in paths.DEBUG_KERNELS:
        from . import debug
        return debug.find(series)
    stamp = paths.CACHE / "kernels" / series / "current.json"
    try:
        data = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return None
    if data.get("layout") != LAYOUT:
        return None
    kernel = Kernel(series, stamp.parent / data["dir"], data["release"], data["version"])
    return kernel if kernel.vmlinuz.exists() else None


def get(series):
    """The cached kernel of SERIES; it is an error if "lab setup" has not run."""
    kernel = find(series)
    if not kernel:
        raise LabError(f"no {series} kernel in {paths.CACHE}; "
                       f"run \"tests/lab/lab setup --kernel {series}\"")
    return kernel


def show(package):
    """apt's record of the candidate of PACKAGE, as a dict."""
    text = subprocess.run(["apt-cache", "show", "--no-all-versions", package], check=False,
                          capture_output=True, text=True).stdout
    fields = {}
    for line in text.split("\n\n")[0].splitlines():
        match = re.match(r"([A-Za-z0-9-]+): (.*)", line)
        if match:
            fields[match[1]] = match[2]
    return fields


def depends(package, pattern):
    """The names among PACKAGE's dependencies that match PATTERN."""
    record = show(package).get("Depends", "")
    names = [re.split(r"[\s(|]", d.strip())[0] for d in re.split(r"[,|]", record)]
    return [n for n in names if re.fullmatch(pattern, n)]


def resolve(series):
    """(release, version, [packages to fetch]) behind the metapackages of SERIES."""
    image = depends(IMAGE_META[series], r"linux-image-.*")
    headers = depends(HEADERS_META[series], r"linux-headers-.*")
    if not image or not headers:
        return None
    release = image[0].removeprefix("linux-image-")
    if headers[0] != f"linux-headers-{release}":
        raise LabError(f"{image[0]} and {headers[0]} do not belong together; "
                       "run \"apt-get update\" and try again")
    more = depends(headers[0], r"linux-headers-.*-common|linux-kbuild-.*")
    return release, show(image[0])["Version"], [image[0], headers[0], *more]


def download(packages, into):
    """Fetch PACKAGES with apt-get, saying how far it has come."""
    total = sum(int(show(p).get("Size", 0)) for p in packages)
    log = into / "apt.log"
    with open(log, "wb") as out, subprocess.Popen(
            ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages],
            cwd=into, stdout=out, stderr=out, stdin=subprocess.DEVNULL) as apt:
        told = time.monotonic()
        while True:
            try:
                apt.wait(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                pass
            if time.monotonic() - told >= 3:
                told = time.monotonic()
                have = sum(f.stat().st_size for f in into.rglob("*.deb*") if f.is_file())
                say(f"  {have >> 20} of {total >> 20} MiB")
    if apt.returncode:
        raise LabError(f"apt-get download failed:\n{log.read_text(errors='replace')}"
                       "run \"apt-get update\" and try again")
    log.unlink()
    return sorted(into.glob("*.deb"))


def relocate(root, release):
    """Make the unpacked headers work where they lie."""
    headers = root / "usr" / "src" / f"linux-headers-{release}"
    makefile = headers / "Makefile"
    text = re.sub(r"(?m)^include /usr/src/", f"include {root}/usr/src/", makefile.read_text())
    makefile.write_text(text)
    for name in ("build", "source"):
        link = root / "lib" / "modules" / release / name
        if link.is_symlink():
            target = os.readlink(link)
            link.unlink()
            link.symlink_to(os.path.relpath(root / target.lstrip("/"), link.parent))


def fetch(series):
    """Resolve, download and unpack the kernel of SERIES, or build it; return it."""
    if series in paths.DEBUG_KERNELS:
        from . import debug
        return debug.fetch(series)
    resolved = resolve(series)
    if not resolved:
        raise LabError(f"apt knows no {IMAGE_META[series]} or {HEADERS_META[series]}: "
                       "the lab needs Debian 12's main and security suites; "
                       "check them and run \"apt-get update\"")
    release, version, packages = resolved
    base = paths.CACHE / "kernels" / series
    base.mkdir(parents=True, exist_ok=True)
    directory = re.sub(r"[^A-Za-z0-9.+~-]", "_", version).replace(":", "_") + f".l{LAYOUT}"
    root = base / directory
    if not (root / "complete").exists():
        with tempfile.TemporaryDirectory(dir=base) as tmp:
            tmp = pathlib.Path(tmp)
            with Step(f"downloading kernel {release} ({version}) and its headers"):
                debs = download(packages, tmp)
            with Step(f"unpacking kernel {release}"):
                shutil.rmtree(root, ignore_errors=True)
                for deb in debs:
                    run(["dpkg", "-x", deb, root], f"unpacking {deb.name}")
                relocate(root, release)
                run(["depmod", "-b", root, release], "depmod")
                (root / "complete").touch()
    stamp = {"layout": LAYOUT, "dir": directory, "release": release, "version": version}
    paths.write_new(base / "current.json", json.dumps(stamp).encode())
    return find(series)
