# SPDX-License-Identifier: GPL-2.0
"""
Tries "make dkms-install" and "make dkms-remove" for each stock kernel.

They run as they would on a real host, but in a mount namespace of their own,
where /usr/src, /lib/modules and /var/lib/dkms are empty file systems with no
more in them than the kernel's headers: the machine is left as it is. What DKMS
built is then loaded in an emulated host.
"""
import os
import re
import shutil

from . import initramfs, kernels, paths, runner, verdict
from .ui import LabError, run

SCRIPT = r"""set -e
mount -t tmpfs tmpfs /usr/src
mount -t tmpfs tmpfs /var/lib/dkms
mount -t tmpfs tmpfs /lib/modules
mkdir /lib/modules/$release
ln -s $headers /lib/modules/$release/build
cp $modules/modules.order $modules/modules.builtin /lib/modules/$release/
make dkms-install KVERSION=$release || {
	cat /var/lib/dkms/kvm-ferry/*/build/make.log
	exit 1
}
dkms status -m kvm-ferry -k $release | tee /dev/stderr | grep -q ': installed'
modinfo -k $release -F version kvm_ferry
cp "$(modinfo -k $release -F filename kvm_ferry)" $out/
make dkms-remove
left=$(find /lib/modules -name 'kvm_ferry*'; ls /usr/src; dkms status -m kvm-ferry)
test -z "$left" || { echo "dkms-remove left: $left"; exit 1; }
echo everything was removed
"""


def build_id(path):
    match = re.search(r"Build ID: ([0-9a-f]+)", run(["readelf", "-n", path], "readelf"))
    if not match:
        raise LabError(f"{path} has no build id")
    return match[1]


def install_and_remove(kernel):
    """Returns the module that DKMS installed."""
    out = paths.BUILD / "dkms" / kernel.release
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    env = dict(os.environ, release=kernel.release, headers=str(kernel.headers),
               modules=str(kernel.modules), out=str(out))
    env["PATH"] += ":/usr/sbin:/sbin"
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    script = out / "script"
    script.write_text(SCRIPT)
    log = run([*namespace, "sh", script], f"DKMS for {kernel.release}", cwd=paths.TOP, env=env,
              timeout=600)
    (out / "log").write_text(log)
    installed = [p for p in out.iterdir() if p.name.startswith("kvm_ferry.ko")]
    module = out / "kvm_ferry.ko"
    data = initramfs.unpacked_module(installed[0])
    installed[0].unlink()
    module.write_bytes(data)
    return module


class LoadedTest:
    """What the runner must know of the check in the host (see catalog.Test)."""

    def __init__(self, module):
        self.name, self.hosts, self.timeout, self.leak = "dkms: loaded is what it built", 1, 60, 0
        self.module, self.taps, self.dmesg_allowed, self.expect = "no", False, "", ""
        self.commands = [f"sh /lab/loaded.sh {build_id(module)}"]


def check(series=paths.KERNELS):
    """Print a line a test; return (passed, failed)."""
    passed = failed = 0
    directory = runner.new_run()
    for one in series:
        kernel = kernels.get(one)
        try:
            module = install_and_remove(kernel)
        except LabError as err:
            print(f"FAIL {one} dkms: install and remove\n{err}", flush=True)
            failed += 1
            continue
        print(f"ok {one} dkms: install and remove", flush=True)
        passed += 1
        files = {f"lib/modules/{kernel.release}/updates/dkms/kvm_ferry.ko": module,
                 "lab/loaded.sh": paths.LAB / "host" / "loaded.sh"}
        try:
            boot = runner.Boot(directory / one, one, files=files, module=False)
            try:
                result, _ = runner.run_one(boot, LoadedTest(module), one, 1)
            finally:
                boot.close()
        except LabError as err:
            result = verdict.Result(LoadedTest(module), one)
            result.problems, result.failed = [str(err)], 1
        runner.show(result, verbose=False)
        passed += result.passed
        failed += result.failed
    return passed, failed
