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

# $1: where the modules shall go; then for each kernel its release, headers, modules.
SCRIPT = r"""set -e
out=$1
shift
mount -t tmpfs tmpfs /usr/src
mount -t tmpfs tmpfs /var/lib/dkms
mount -t tmpfs tmpfs /lib/modules
while [ $# -gt 0 ]; do
	mkdir -p "/lib/modules/$1" "$out/$1"
	ln -s "$2" "/lib/modules/$1/build"
	cp "$3/modules.order" "$3/modules.builtin" "/lib/modules/$1/"
	make dkms-install KVERSION="$1" || {
		cat /var/lib/dkms/kvm-ferry/*/build/make.log
		exit 1
	}
	dkms status -m kvm-ferry -k "$1" | grep ': installed'
	modinfo -k "$1" -F version kvm_ferry
	cp "$(modinfo -k "$1" -F filename kvm_ferry)" "$out/$1/"
	shift 3
done
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


def install_and_remove(chosen):
    """Installs for all CHOSEN kernels, then removes; {release: the module that was installed}."""
    out = paths.BUILD / "dkms"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    env["PATH"] += ":/usr/sbin:/sbin"
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    script = out / "script"
    script.write_text(SCRIPT)
    words = [w for k in chosen for w in (k.release, k.headers, k.modules)]
    log = run([*namespace, "sh", script, out, *words], "DKMS", cwd=paths.TOP, env=env,
              timeout=900)
    (out / "log").write_text(log)
    modules = {}
    for kernel in chosen:
        installed = next((out / kernel.release).glob("kvm_ferry.ko*"))
        data = initramfs.unpacked_module(installed)
        installed.unlink()
        modules[kernel.release] = out / kernel.release / "kvm_ferry.ko"
        modules[kernel.release].write_bytes(data)
    return modules


class LoadedTest:
    """What the runner must know of the check in the host (see catalog.Test)."""

    def __init__(self, module):
        self.name, self.hosts, self.timeout, self.leak = "dkms: loaded is what it built", 1, 60, 0
        self.module, self.taps, self.dmesg_allowed, self.expect = "no", False, "", ""
        self.commands = [f"sh /lab/loaded.sh {build_id(module)}"]


def check(series=paths.KERNELS):
    """Print a line a test; return (passed, failed)."""
    chosen = [kernels.get(one) for one in series]
    title = f"dkms-install for {', '.join(k.release for k in chosen)}, dkms-remove"
    try:
        modules = install_and_remove(chosen)
    except LabError as err:
        print(f"FAIL {title}\n{err}", flush=True)
        return 0, 1
    print(f"ok {title}", flush=True)
    passed, failed = 1, 0
    directory = runner.new_run()
    for kernel in chosen:
        test = LoadedTest(modules[kernel.release])
        files = {f"lib/modules/{kernel.release}/updates/dkms/kvm_ferry.ko":
                 modules[kernel.release], "lab/loaded.sh": paths.LAB / "host" / "loaded.sh"}
        try:
            boot = runner.Boot(directory / kernel.series, kernel.series, files=files, module=False)
            try:
                result, _ = runner.run_one(boot, test, kernel.series, 1)
            finally:
                boot.close()
        except LabError as err:
            result = verdict.Result(test, kernel.series)
            result.problems, result.failed = [str(err)], 1
        runner.show(result, verbose=False)
        passed += result.passed
        failed += result.failed
    return passed, failed
