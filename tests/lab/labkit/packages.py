# SPDX-License-Identifier: GPL-2.0
"""
Builds the Debian packages twice, the second time as the next release, and installs,
upgrades and removes them in a pristine root.
"""
import os
import re
import shutil
import time

from . import kernels, paths, pristine
from .everything import external
from .ui import LabError, run, say

OUT = paths.BUILD / "packages"
# There before our packages are: what a host needs to build any module, without headers.
BASE = ("gcc", "make", "patch", "kmod", "dpkg-dev")
# What ours ask for, and what a program is built with; only their own names may pull it in.
LATER = ("dkms", "libjson-c5", "systemd", "openssl", "libc6-dev", "pkg-config")
# An info from lintian counts as well.
LINTIAN = ["lintian", "--allow-root", "--fail-on", "error,warning,info", "--display-info"]


def clean_env():
    return {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "DEB_"))}


def version(tree):
    return re.search(r'PACKAGE_VERSION="(.*)"', (tree / "dkms.conf").read_text())[1]


def next_version(old):
    head, last = old.rsplit(".", 1)
    return f"{head}.{int(last) + 1}"


def next_release(tree):
    """A copy of the source as the next release would be."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(paths.TOP, tree, symlinks=True,
                    ignore=lambda where, names: {"build", ".git"} & set(names)
                    if where == str(paths.TOP) else ())
    old = version(tree)
    new = next_version(old)
    for name, text, other in (
            ("dkms.conf", f'PACKAGE_VERSION="{old}"', f'PACKAGE_VERSION="{new}"'),
            ("module/ioctl.h", f'FERRY_RELEASE "{old}"', f'FERRY_RELEASE "{new}"')):
        path = tree / name
        before = path.read_text()
        if text not in before:
            raise LabError(f"{name} does not say {text}")
        path.write_text(before.replace(text, other))
    log = tree / "debian" / "changelog"
    first = log.read_text()
    entry = re.match(r"kvm-ferry .*?\n -- .*?\n", first, re.S)[0]
    log.write_text(re.sub(r"\(.*?\)", f"({new})", entry, count=1) + "\n" + first)


def build(tree, *flags, options=""):
    """Runs "make deb" in TREE; the names of what came of it."""
    env = clean_env()
    env["DEB_BUILD_OPTIONS"] = options
    log = run(["make", "-C", tree, "deb", *flags], "make deb", env=env)
    (OUT / f"make-deb-{version(tree)}.log").write_text(log)
    warnings = [line for line in log.splitlines() if re.search(r"\bwarning: ", line)]
    if warnings:
        raise LabError("make deb warns:\n" + "\n".join(warnings))
    found = sorted((tree / "build" / "deb").glob("*.deb"))
    return [deb for deb in found if "-dbgsym_" not in deb.name]


def git_status():
    text = run(["git", "-C", paths.TOP, "status", "--porcelain", "--ignored"], "git status")
    return [line for line in text.splitlines() if line != "!! build/"]


def built_here():
    """make deb, which leaves nothing beside build/."""
    before = git_status()
    debs = build(paths.TOP)
    names = sorted(deb.name.split("_")[0] for deb in debs)
    if names != ["ferryctl", "kvm-ferry-dkms", "libferry-dev", "libferry1"]:
        raise LabError(f"make deb made {names}")
    after = git_status()
    if before != after:
        raise LabError("make deb changed the source tree:\n" + "\n".join(after))
    return debs


def lint():
    changes = next((paths.TOP / "build" / "deb").glob("*.changes"))
    text = run([*LINTIAN, changes], "lintian")
    left = [line for line in text.splitlines() if re.match(r"[EWI]: ", line)]
    if left:
        raise LabError("\n".join(left))


def built_next():
    tree = OUT / "next"
    next_release(tree)
    return build(tree, "DEB_FLAGS=-b", options="nocheck noautodbgsym")


def gather(directory, debs):
    directory.mkdir(parents=True)
    for deb in debs:
        shutil.copy2(deb, directory)


def check(series=paths.KERNELS[:1]):
    """Print a line a test; return (passed, failed)."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    old = version(paths.TOP)
    passed = 0
    steps = (("make deb builds four packages and leaves the source tree clean",
              lambda: gather(OUT / old, built_here())),
             ("lintian finds nothing", lint),
             ("the next release builds from the same tree",
              lambda: gather(OUT / next_version(old), built_next())))
    for title, function in steps:
        begin = time.monotonic()
        try:
            function()
        except LabError as err:
            print(f"FAIL {title}\n{err}", flush=True)
            return passed, 1
        print(f"ok {title} {time.monotonic() - begin:.1f}s", flush=True)
        passed += 1
    headers = kernels.HEADERS_META[series[0]]
    release = kernels.resolve(series[0])[0]
    fake = paths.BUILD / "tests" / "user" / "fake_module.so"
    run(["make", "-s", "-C", paths.TOP / "tests" / "user", fake], "the stand-in for the module",
        env=clean_env())
    shutil.copy2(fake, OUT)
    for name in ("inside.sh", "vmm.c"):
        shutil.copy2(pristine.SCRIPTS / name, OUT)
    shutil.copy2(paths.TOP / "tests" / "user" / "check.sh", OUT)
    root = pristine.get(list(BASE), [*LATER, headers])
    say(f"in a pristine root, with {headers}")
    more = external(pristine.as_root(["sh", pristine.SCRIPTS / "enter.sh", root, OUT, "sh",
                                      "/test/inside.sh", old, next_version(old), headers,
                                      release]), "the packages in a pristine root")
    return passed + more[0], more[1]
