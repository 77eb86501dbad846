# SPDX-License-Identifier: GPL-2.0
"""What the guest of tests/guest needs of its stock kernel where it has devices."""
from . import initramfs, kernels, paths
from .ui import LabError

# Those that the kernel has built in are skipped.
NAMES = ("virtio_pci", "virtio_console", "virtio_net", "virtio_blk", "virtio_balloon")
VERSION = 1     # raise it when the archive changes shape


def modules(series="6.12"):
    """
    The path of build/qemu/modules.cpio, made now or before: the drivers of the
    stock kernel of SERIES, plain files in the order of loading.

    It comes in front of initrd.cpio.gz (a plain archive must begin at a multiple
    of four bytes, a compressed one need not): "cat modules.cpio initrd.cpio.gz".
    """
    kernel = kernels.get(series)
    target = paths.BUILD / "qemu" / "modules.cpio"
    stamp = target.with_name(".modules.cpio.key")
    key = f"{VERSION} {kernel.release} {kernel.version} {' '.join(NAMES)}\n".encode()
    with paths.locked(target.with_name(".modules.cpio.lock")):
        if target.exists() and stamp.exists() and stamp.read_bytes() == key:
            return target
        cpio, order = initramfs.Cpio(), []
        for path in initramfs.module_files(kernel, NAMES):
            name = path.name.removesuffix(".xz")
            cpio.file(f"modules/{name}", initramfs.unpacked_module(path), 0o644)
            order.append(name)
        if not {"virtio_net.ko", "virtio_blk.ko"} <= set(order):
            raise LabError(f"the {series} kernel has no modules virtio_net and virtio_blk")
        cpio.file("modules/order", "".join(f"{n}\n" for n in order).encode(), 0o644)
        paths.write_new(target, cpio.bytes())
        paths.write_new(stamp, key)
    return target
