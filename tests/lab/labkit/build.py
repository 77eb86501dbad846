# SPDX-License-Identifier: GPL-2.0
"""Builds everything that a host runs, outside the source tree."""
import os
import pathlib
import re
import shlex
import shutil

from . import kernels, paths
from .ui import LabError, run

# What Kbuild needs; it is copied, since 6.1 can only build where the sources are.
MODULE_SOURCES = ("Kbuild", "module", "uapi", "examples")
JOBS = str(os.cpu_count() or 1)


def sync(source, target):
    """Make TARGET's copy of SOURCE equal, leaving build products and times alone."""
    if source.is_file():
        old = target.read_bytes() if target.is_file() else None
        if old != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
            os.utime(target)
        return
    names = {p.name for p in source.iterdir() if not re.search(r"\.(o|ko|mod|mod\.c|cmd)$", p.name)
             and not p.name.startswith(".")}
    for name in sorted(names):
        sync(source / name, target / name)
    for old in target.iterdir() if target.is_dir() else ():
        if re.search(r"\.[chS]$|Kbuild$|Makefile$", old.name) and old.name not in names \
                and not old.name.endswith(".mod.c"):
            old.unlink()


def build_module(kernel, extra=(), directory=None):
    """Build the module for KERNEL into build/RELEASE; return make's words."""
    if not (paths.TOP / "Kbuild").exists():
        return "no Kbuild yet\n"
    directory = directory or kernel.build
    with paths.locked(directory / ".lock"):
        for name in MODULE_SOURCES:
            if (paths.TOP / name).exists():
                sync(paths.TOP / name, directory / name)
        return run(["make", "-C", kernel.headers, f"M={directory}", "-j", JOBS, "FERRY_EXAMPLES=m",
                    *extra, "modules"], f"building the module for {kernel.release}")


def build_suites(kernel):
    """The pure files and their suites as a module: what tests/kunit/graft puts into a tree."""
    directory = kernel.build / "kunit"
    with paths.locked(directory / ".lock"):
        for name in ("module", "uapi"):
            sync(paths.TOP / name, directory / name)
        sync(paths.TOP / "tests" / "kunit", directory / "kunit")
        sync(paths.TOP / "tests" / "kunit" / "Makefile", directory / "Makefile")
        run(["make", "-C", kernel.headers, f"M={directory}", "-j", JOBS, "modules"],
            f"building the unit tests for {kernel.release}")


def build_test_modules(kernel):
    """What tests load beside the module: tests/e2e/modules."""
    source = paths.E2E / "modules"
    with paths.locked(kernel.test_modules / ".lock"):
        sync(source, kernel.test_modules)
        run(["make", "-C", kernel.headers, f"M={kernel.test_modules}", "-j", JOBS, "W=1", "modules"],
            f"building the tests' modules for {kernel.release}")


def make_if_there(directory):
    if (paths.TOP / directory / "Makefile").exists():
        with paths.locked(paths.BUILD / f".{directory.replace('/', '-')}.lock"):
            run(["make", "-C", paths.TOP / directory, "-j", JOBS], f"building {directory}")


def c_header(path):
    """The "lab:" settings in the first comment of a test; None: it is no test."""
    settings = None
    with open(path, encoding="utf-8", errors="replace") as source:
        for _, line in zip(range(40), source):
            match = re.match(r"^(?:#|//|/\*|\s\*)\s*lab:\s*(.*?)\s*(?:\*/)?$", line)
            if match:
                settings = settings or {}
                settings.update(w.split("=", 1) if "=" in w else (w, "")
                                for w in shlex.split(match[1]))
    return settings


def build_host_programs():
    """What an emulated host itself needs; {path in the host: file}."""
    files = {}
    out = paths.RUNS / "host"
    out.mkdir(parents=True, exist_ok=True)
    with paths.locked(out / ".lock"):
        for source in sorted((paths.LAB / "host").glob("*.c")):
            target = out / source.stem
            if not target.exists() or target.stat().st_mtime <= source.stat().st_mtime:
                run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", target, source],
                    f"building {source.name}")
            files[f"lab/{source.stem}"] = target
    return files


def build_tests():
    """Compile tests/e2e/*.c and the programs of tests/qemu into build/tests."""
    out = paths.BUILD / "tests"
    out.mkdir(parents=True, exist_ok=True)
    programs = {p: c_header(p) or {} for directory in (paths.E2E, paths.SELFTEST, paths.QEMU)
                for p in sorted(directory.glob("*.c"))}
    names = {p.stem for p in programs}
    parts = {name for s in programs.values() for name in s.get("sources", "").split(",") if name}
    library = paths.BUILD / "user" / "libferry.a"
    headers = [*paths.E2E.glob("*.h"), *(paths.TOP / "uapi").rglob("*.h"),
               *(paths.TOP / "userspace" / "lib").glob("*.h")]
    if library.exists():
        headers.append(library)
    readme = paths.TOP / "README.md"        # a test builds and runs what it shows
    if readme.exists():
        headers.append(readme)
    with paths.locked(out / ".lock"):
        for old in out.iterdir():
            if old.is_file() and old.suffix == "" and not old.name.startswith(".") and \
                    old.name not in names:
                old.unlink()
        for source, settings in programs.items():
            if source.name in parts:
                continue
            beside, more = paths.E2E, ()
            if source.parent == paths.QEMU:
                beside = paths.QEMU
                more = [*beside.glob("*.h"), *(paths.TOP / "tests" / "guest").glob("*.h")]
            sources = [source] + [beside / n for n in settings.get("sources", "").split(",") if n]
            target = out / source.stem
            newest = max(p.stat().st_mtime for p in [*sources, *headers, *more])
            if target.exists() and target.stat().st_mtime > newest:
                continue
            libs = [library] if library.exists() else []
            libs += [f"-l{n}" for n in settings.get("libs", "").split(",") if n]
            flags = [f for f in settings.get("flags", "").split(",") if f]
            run(["gcc", "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", *flags,
                 f"-I{paths.TOP}/uapi", f"-I{paths.TOP}/userspace/lib", f"-I{paths.E2E}",
                 "-o", target, *sources, *libs, "-pthread"], f"building {source.name}")


def build(series=paths.KERNELS, module=True, user=True, tests=True):
    """Build the module for each kernel, user space once, and the tests, which link with it."""
    for one in series if module else ():
        build_module(kernels.get(one))
        build_test_modules(kernels.get(one))
        if one in paths.DEBUG_KERNELS:
            build_suites(kernels.get(one))
    if user:
        make_if_there("userspace")
        make_if_there("tests/guest")
    if tests:
        build_tests()


def user_files():
    """{path in the host: file on disk} of our programs, tests and the guest."""
    files = {}
    user = paths.BUILD / "user"
    for path in sorted(user.iterdir()) if user.is_dir() else ():
        if not path.is_file() or path.name.startswith(".") or re.search(r"\.(o|a|d)$", path.name):
            continue
        where = "usr/lib" if ".so" in path.name else "usr/bin"
        if where == "usr/lib" or os.access(path, os.X_OK):
            files[f"{where}/{path.name}"] = path
    for path in sorted((paths.BUILD / "tests").glob("*")):
        if path.is_file() and os.access(path, os.X_OK) and not path.name.startswith("."):
            files[f"tests/{path.name}"] = path
    guest = paths.BUILD / "guest"
    for path in sorted(guest.rglob("*")) if guest.is_dir() else ():
        if path.is_file() and not re.search(r"\.(o|d)$|^\.", path.name):
            files[f"guest/{path.relative_to(guest)}"] = path
    for path in sorted([*paths.E2E.glob("*.sh"), *paths.SELFTEST.glob("*.sh")]):
        files[f"tests/{path.name}"] = path
    for path in sorted((paths.TOP / "docs" / "research").iterdir()):
        files[f"tests/research/{path.name}"] = path
    for name in ("rdma-hw", "rdma-hw-end"):     # a test tries what is run on cards
        files[f"tests/{name}"] = paths.TOP / "tests" / name
    return files


def check_kernel_names(names):
    for name in names:
        if name not in paths.SERIES:
            raise LabError(f"unknown kernel {name}; the lab has {', '.join(paths.SERIES)}")
    return names


def outputs_for(kernel):
    return pathlib.Path(kernel.build).glob("*.ko")
