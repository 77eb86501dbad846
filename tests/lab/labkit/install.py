# SPDX-License-Identifier: GPL-2.0
"""Tries "make install" into a directory, and builds a program against what it put there."""
import os
import shutil

from . import kernels, paths
from .ui import LabError, run

PREFIX = "/usr"
WANTED = ("usr/lib/libferry.so", "usr/lib/libferry.a", "usr/lib/pkgconfig/libferry.pc",
          "usr/include/ferry.h", "usr/include/ferry_connect.h",
          "usr/include/linux/kvm_ferry.h", "usr/sbin/ferryctl", "usr/share/man/man8/ferryctl.8",
          "usr/share/kvm-ferry/ferryctl.schema.json")

# Opening the device fails where there is none, and libferry says why.
PROGRAM = r"""
#include <ferry.h>
#include <stdio.h>

int main(void)
{
	struct ferry_device *dev;
	int ret = ferry_device_open(&dev);

	if (!ret)
		return 0;
	puts(ferry_error());
	return *ferry_error() ? 0 : 1;
}
"""


def install(series):
    """Problems with "make install" against the headers of SERIES, as lines."""
    kernel = kernels.get(series)
    root = paths.BUILD / "check" / "root"
    shutil.rmtree(root, ignore_errors=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    try:
        with paths.locked(kernel.build / ".lock"):      # it builds where the lab does
            run(["make", "-C", paths.TOP, "install", f"DESTDIR={root}", f"PREFIX={PREFIX}",
                 f"KVERSION={kernel.release}", f"KDIR={kernel.headers}"], "make install", env=env)
        wanted = (*WANTED, *(f"lib/modules/{kernel.release}/updates/{name}.ko"
                             for name in ("kvm_ferry", "kvm_ferry_rdma")))
        missing = [w for w in wanted if not (root / w).exists() and
                   not (root / f"{w}.xz").exists()]
        if missing:
            return [f"make install did not install {w}" for w in missing]
        source, program = root / "try.c", root / "try"
        source.write_text(PROGRAM)
        env.update(PKG_CONFIG_PATH=str(root / "usr/lib/pkgconfig"),
                   PKG_CONFIG_SYSROOT_DIR=str(root), PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1",
                   PKG_CONFIG_ALLOW_SYSTEM_LIBS="1", LD_LIBRARY_PATH=str(root / "usr/lib"))
        flags = run(["pkg-config", "--cflags", "--libs", "libferry"], "pkg-config",
                    env=env).split()
        run(["gcc", "-Wall", "-Werror", source, *flags, "-o", program],
            "building against the installed library", env=env)
        run([program], "a program linked with the installed library", env=env)
        text = run([root / "usr/sbin/ferryctl", "--help"], "the installed ferryctl", env=env)
        return [] if "migrate" in text else ["the installed ferryctl gives no help"]
    except LabError as err:
        return str(err).splitlines()
