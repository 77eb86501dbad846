# SPDX-License-Identifier: GPL-2.0
"""
Kernels that are built here: the distribution's newest LTS source ("debug") or
the newest one of its unstable suite ("newest"), with everything that notices
mistakes by itself (tests/lab/debug/*.config).

cache/debug-kernel/KEY/ has the shape of an unpacked stock kernel: boot/,
lib/modules/RELEASE, and build/, what modules are built against. KEY covers the
source's version, the options and the compiler. build/SERIES-kernel.json in the
source tree says which of them this tree uses.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

from . import kernels, paths
from .ui import LabError, Step, run, say

FRAGMENTS = {"debug": ("base", "debug"), "newest": ("base", "debug", "newest")}
LOCALVERSION = "-ferry-debug"
OBJECTS = 2060          # about as many as a build makes; for telling how far it is
BUILD_LIMIT = 7200      # seconds
TELL_EVERY = 20         # seconds
KEEP = 3                # kernels in the cache
LAYOUT = 1              # raise it when what is in the cache changes shape
# An external module's build reads these of the kernel's build directory.
KEPT = ("scripts", "tools/objtool/objtool", "include", "arch/x86/include", "Makefile", ".config",
        "Module.symvers", "System.map", "vmlinux", "source")


def fragments(series):
    """The files of options that are asked for."""
    return [paths.LAB / "debug" / f"{name}.config" for name in FRAGMENTS[series]]


def recipe(series):
    """A hash of the options that are asked for, and of the compiler."""
    compiler = run(["gcc", "--version"], "gcc").splitlines()[0]
    key = hashlib.sha256(f"{LAYOUT}\n{LOCALVERSION}\n{compiler}\n".encode())
    for path in fragments(series):
        key.update(path.read_bytes())
    return key.hexdigest()


def stamp(series):
    return paths.BUILD / f"{series}-kernel.json"


def as_kernel(series, root, release, version):
    kernel = kernels.Kernel(series, root, release, version)
    kernel.headers = root / "build"
    # Two with other options have the same release.
    kernel.build = paths.BUILD / f"{release}-{root.name[:8]}"
    return kernel


def find(series):
    """The kernel of SERIES that this source tree uses, or None."""
    try:
        data = json.loads(stamp(series).read_text())
    except (OSError, ValueError):
        return None
    root = paths.CACHE / "debug-kernel" / data["key"]
    if data["recipe"] != recipe(series) or not (root / "complete").exists():
        return None
    return as_kernel(series, root, data["release"], data["version"])


def fetch(series):
    """Build it if it is not in the cache; return it."""
    source = pathlib.Path(subprocess.run(
        [paths.LAB / "kernel-source", paths.DEBUG_KERNELS[series]], stdout=subprocess.PIPE, text=True, check=False,
        stdin=subprocess.DEVNULL).stdout.strip())
    if not (source / "Makefile").exists():
        raise LabError(f"there is no source for the {series} kernel; the reason is above")
    version, how = source.name, recipe(series)
    key = hashlib.sha256(f"{version}\n{how}".encode()).hexdigest()[:16]
    base = paths.CACHE / "debug-kernel"
    root = base / key
    with paths.locked(base / "lock"):
        if not (root / "complete").exists():
            # The unit tests graft their files into the same source.
            with paths.locked(source.with_name(f"{version}.lock")):
                make(series, source, root)
        os.utime(root / "complete")
        old = sorted(base.glob("*/complete"), key=lambda p: p.stat().st_mtime)
        for one in old[:-KEEP]:
            shutil.rmtree(one.parent, ignore_errors=True)
    release = (root / "complete").read_text().strip()
    paths.write_new(stamp(series), json.dumps({"key": key, "recipe": how, "release": release,
                                       "version": version}).encode())
    return as_kernel(series, root, release, version)


def make(series, source, root):
    """Configure, build, install and prune the kernel in ROOT."""
    begin = time.monotonic()
    shutil.rmtree(root, ignore_errors=True)
    out = root / "build"
    out.mkdir(parents=True)
    env = dict(os.environ, ARCH="x86_64", LC_ALL="C")
    command = ["make", "-C", source, f"O={out}", "ARCH=x86_64", f"LOCALVERSION={LOCALVERSION}",
               f"-j{os.cpu_count() or 1}"]
    text = run(["scripts/kconfig/merge_config.sh", "-n", "-O", out, *fragments(series)],
               f"configuring the {series} kernel", cwd=source, env=env)
    gone = unknown_options(source, series) if series == "newest" else ()
    check_options(series, (out / ".config").read_text(), text, gone)
    say(f"building the {series} kernel, which takes long the first time ...")
    compile_all([*command, "bzImage", "modules"], root / "build.log", begin)
    with Step(f"installing the {series} kernel into the cache"):
        release = run([*command, "-s", "kernelrelease"], "asking for its release").split()[-1]
        run([*command, "modules_install", f"INSTALL_MOD_PATH={root}", "INSTALL_MOD_STRIP=1"],
            "installing its modules")
        (root / "boot").mkdir()
        shutil.copy(out / "arch/x86/boot/bzImage", root / "boot" / f"vmlinuz-{release}")
        prune(out)
    (root / "complete.new").write_text(release + "\n")
    (root / "complete.new").rename(root / "complete")
    say(f"the {series} kernel {release} is built: {time.monotonic() - begin:.0f} s")


def unknown_options(source, series):
    """Options of the fragments that the kernel in SOURCE does not have (any more)."""
    wanted = {name for path in fragments(series)
              for name in re.findall(r"(?m)^CONFIG_(\w+)=", path.read_text())}
    text = run(["grep", "-rhoE", "--include=Kconfig*", r"^\s*(menu)?config\s+[A-Z0-9_]+", source],
               "looking for its options")
    gone = sorted(wanted - {line.split()[1] for line in text.splitlines()})
    if gone:
        say(f"options that {source.name} does not have: {' '.join(gone)}")
    return [f"CONFIG_{name}" for name in gone]


def check_options(series, config, said, gone):
    """
    Every option of the fragments but those that are GONE is as they ask, or a LabError that
    names the others.
    """
    have = dict(re.findall(r"(?m)^(CONFIG_\w+)=(.*)$", config))
    wrong = []
    for path in fragments(series):
        text = path.read_text()
        wanted = re.findall(r"(?m)^(CONFIG_\w+)=(.*)$", text)
        wanted += [(name, "n") for name in re.findall(r"(?m)^# (CONFIG_\w+) is not set$", text)]
        wrong += [f"{name} is {have.get(name, 'n')}, not {value} ({path.name})"
                  for name, value in wanted if have.get(name, "n") != value and name not in gone]
    if wrong:
        raise LabError("the kernel's configuration is not what was asked for; something "
                       "that these options depend on is missing:\n" + "\n".join(wrong) +
                       f"\n{said[-3000:]}")


def compile_all(command, log, begin):
    """Run make, and say now and then how far it is."""
    objects, told = 0, time.monotonic()
    with open(log, "wb") as errors, subprocess.Popen(
            [str(c) for c in command], stdout=subprocess.PIPE, stderr=errors,
            stdin=subprocess.DEVNULL, text=True, errors="replace") as process:
        watch = threading.Timer(BUILD_LIMIT, process.kill)
        watch.start()
        try:
            for line in process.stdout:
                objects += bool(re.match(r"\s+(CC|AS|AR|LD)\b", line))
                if time.monotonic() - told >= TELL_EVERY:
                    told = time.monotonic()
                    say(f"  {min(99, objects * 100 // OBJECTS)} %: {objects} objects, "
                        f"{told - begin:.0f} s")
        except BaseException:
            process.terminate()
            raise
        finally:
            watch.cancel()
    if process.returncode:
        raise LabError(f"the kernel does not build (make ended with {process.returncode}):\n"
                       + log.read_text(errors="replace")[-4000:])
    say(f"  {objects} objects, {time.monotonic() - begin:.0f} s")


def prune(out):
    """Remove what building modules against OUT does not need: most of a gigabyte."""
    keep = {out / name for name in KEPT}
    parents = {parent for path in keep for parent in path.parents}

    def visit(directory):
        for path in directory.iterdir():
            if path in keep:
                continue
            if path in parents:
                visit(path)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    visit(out)
