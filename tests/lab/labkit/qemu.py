# SPDX-License-Identifier: GPL-2.0
"""QEMU with the patches of userspace/qemu: built, and tested in emulated hosts."""
import pathlib
import subprocess
import types

from . import build, guest, kernels, libvirt, paths, runner, setup, verdict
from .ui import LabError, say

VERSION = "7.2"         # unless another one is asked for
OTHER = {"7.2": "10.0", "10.0": "7.2"}  # that a guest also moves to
# What a q35 machine with a VGA needs; the packages are those of the lab's own QEMU.
FIRMWARE = ("/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/vgabios-stdvga.bin",
            "/usr/share/qemu/kvmvapic.bin", "/usr/share/qemu/linuxboot_dma.bin",
            "/usr/lib/ipxe/qemu/efi-virtio.rom", "/usr/lib/ipxe/qemu/efi-e1000.rom")
LEAK = 16384            # KiB: what they leave in a host's caches
DISK = 64               # MiB of the disk that both hosts see


def scenario(name, hosts, timeout, words):
    """What the runner must know (see catalog.Test)."""
    return types.SimpleNamespace(
        name=f"qemu {name}", hosts=hosts, timeout=timeout, leak=LEAK, module="yes", taps=False,
        dmesg_allowed="", expect="", commands=[f"sh /tests/{words}"] * hosts)


# A part of QEMU's own test takes up to a minute and a half on a busy machine.
OWN = scenario("own migration-test", 1, 3600, "own.sh 180")
# libvirt asks each QEMU what it can do, which takes a while.
LIBVIRT = scenario("libvirt", 2, 900, "libvirt.sh")
# One host: 1500 MiB, two guests. Two hosts: 1024 MiB each, one guest.
EDGES = (scenario("edges of the machine", 1, 900, "edges.sh vcpus reset"),
         scenario("edges of memory", 1, 900, "edges.sh memory"),
         scenario("edges of a migration", 1, 600, "edges.sh ends refusals versions"))
RDMA = scenario("rdma", 1, 900, "rdma.sh refusals ends moves")
HOSTS = scenario("hosts", 2, 900, "hosts.sh 5 all")
ALL = (scenario("moves", 1, 400, "moves.sh"), RDMA, *EDGES, HOSTS, LIBVIRT, OWN)
SHORT = (scenario("there and back", 2, 300, "hosts.sh 1"),)


def built(version, *options):
    """The path of what userspace/qemu/build makes, from the cache or built now."""
    command = [paths.TOP / "userspace" / "qemu" / "build", *options, version]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    path = pathlib.Path(done.stdout.strip() or "/nothing")
    if done.returncode or not path.exists():
        raise LabError("QEMU was not built; the reason is above")
    return path


def files(version, stock, own=False, other=False):
    """{path in the host: file}: the programs, the scripts, the firmware."""
    wanted = {"usr/bin/qemu-system-x86_64": built(version), "guest/modules.cpio": guest.modules(),
              **{f"usr/share/qemu/{pathlib.Path(p).name}": pathlib.Path(p).resolve() for p in FIRMWARE}}
    if stock:
        wanted["usr/bin/qemu-stock"] = built(version, "--stock")
    if own:
        wanted["usr/bin/migration-test"] = built(version, "--stock", "--migration-test")
    if other:
        wanted["usr/bin/qemu-other"] = built(OTHER[version])
    for script in paths.QEMU.glob("*.sh"):
        wanted[f"tests/{'qemu' if script.stem == 'lib' else script.stem}.sh"] = script
    return wanted


class Progress:
    """Tells what a host says has been done, as it says so: some scenarios take half an hour."""

    def __init__(self, name):
        self.name, self.rest = name, {}

    def __call__(self, host, data):
        *lines, rest = (self.rest.get(host.number, b"") + data).split(b"\n")
        self.rest[host.number] = rest
        for line in lines:
            if line.startswith((b"ok: ", b"/")):
                say(f"{self.name}: {line.decode(errors='replace')}")


def run_scenario(test, series, directory, wanted):
    """The result of TEST on a kernel."""
    try:
        if test is LIBVIRT:
            wanted = {**wanted, **libvirt.files()}
        boot = runner.Boot(directory / series / test.name.replace(" ", "-"), series, test.hosts,
                           cpus=1, mem=1500 if test.hosts == 1 else 1024, files=wanted,
                           disk=DISK, on_output=Progress(f"{series} {test.name}"))
        try:
            result, _ = runner.run_one(boot, test, series, 1)
        finally:
            boot.close()
    except LabError as err:
        result = verdict.Result(test, series)
        result.problems, result.failed = [str(err)], 1
    return result


def check(series, version=VERSION, short=False, only=""):
    """Returns the exit status."""
    scenarios = [t for t in (SHORT if short else ALL) if only in t.name]
    setup.setup(series, more=libvirt.PACKAGES if LIBVIRT in scenarios else ())
    if not kernels.find("6.12"):
        setup.setup(["6.12"])       # the guest's kernel
    if not scenarios:
        raise LabError(f"there is no scenario named {only}; there is: "
                       f"{', '.join(t.name for t in ALL)}")
    wanted = files(version, HOSTS in scenarios or OWN in scenarios, OWN in scenarios,
                   EDGES[-1] in scenarios)
    say("building ...")
    build.build(series)
    directory = runner.new_run()
    passed = failed = 0
    for one in series:
        for test in scenarios:
            result = run_scenario(test, one, directory, wanted)
            runner.show(result, verbose=True)
            passed += result.passed
            failed += result.failed
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0
