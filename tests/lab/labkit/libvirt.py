# SPDX-License-Identifier: GPL-2.0
"""What a host needs for libvirt: the distribution's daemon and virsh, and what they read."""
import pathlib

from .ui import LabError

# Without libvirt-daemon-system, so that nothing is started on this machine.
PACKAGES = ("libvirt-clients", "libvirt-daemon", "libvirt-daemon-driver-qemu")
PROGRAMS = ("/usr/sbin/libvirtd", "/usr/bin/virsh")
DRIVER = "usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so"
HELPER = "usr/lib/libvirt/libvirt_iohelper"
CPUS = "usr/share/libvirt/cpu_map"


def files():
    """{path in the host: file}; the initramfs adds the shared libraries."""
    wanted = {f"usr/bin/{pathlib.Path(p).name}": pathlib.Path(p) for p in PROGRAMS}
    for name in (DRIVER, HELPER):
        wanted[name] = pathlib.Path("/") / name
    for path in (pathlib.Path("/") / CPUS).glob("*.xml"):
        wanted[f"{CPUS}/{path.name}"] = path
    missing = [str(path) for path in wanted.values() if not path.exists()]
    if missing or f"{CPUS}/index.xml" not in wanted:
        raise LabError(f"libvirt's packages ({', '.join(PACKAGES)}) have no "
                       f"{', '.join(missing) or CPUS}")
    return wanted
