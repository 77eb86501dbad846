# SPDX-License-Identifier: GPL-2.0
"""QEMU with the patches of userspace/qemu: built, and tested in emulated hosts."""
import pathlib
import subprocess
import types

from . import build, paths, runner, setup, verdict
from .ui import LabError, say

SOURCES = paths.TOP / "tests" / "qemu"
VERSION = "7.2"
# What a q35 machine with a VGA needs; the packages are those of the lab's own QEMU.
FIRMWARE = ("/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/vgabios-stdvga.bin",
            "/usr/share/qemu/kvmvapic.bin", "/usr/share/qemu/linuxboot_dma.bin")
LIMIT = 400             # seconds a host
MEM = 1500              # MiB a host: two guests
LEAK = 16384            # KiB: what they leave in the host's caches


def built(stock=False):
    """The path of qemu-system-x86_64, from the cache or built now."""
    command = [paths.TOP / "userspace" / "qemu" / "build", *["--stock"] * stock, VERSION]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    path = pathlib.Path(done.stdout.strip() or "/nothing")
    if done.returncode or not path.exists():
        raise LabError("QEMU was not built; the reason is above")
    return path


def moves(series, directory, program):
    """The result of tests/qemu/moves.sh on a kernel."""
    test = types.SimpleNamespace(
        name="qemu moves", hosts=1, timeout=LIMIT, leak=LEAK, module="yes", taps=False,
        dmesg_allowed="", expect="", commands=["sh /tests/moves.sh"])
    files = {"usr/bin/qemu-system-x86_64": program, "tests/moves.sh": SOURCES / "moves.sh",
             **{f"qemu/{pathlib.Path(p).name}": pathlib.Path(p).resolve() for p in FIRMWARE}}
    try:
        boot = runner.Boot(directory / series, series, cpus=1, mem=MEM, files=files)
        try:
            result, _ = runner.run_one(boot, test, series, 1)
        finally:
            boot.close()
    except LabError as err:
        result = verdict.Result(test, series)
        result.problems, result.failed = [str(err)], 1
    return result


def check(series):
    """Returns the exit status."""
    setup.setup(series)
    program = built()
    say("building ...")
    build.build(series)
    directory = runner.new_run()
    passed = failed = 0
    for one in series:
        result = moves(one, directory, program)
        runner.show(result, verbose=True)
        passed += result.passed
        failed += result.failed
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0
