# SPDX-License-Identifier: GPL-2.0
"""
Tries "make dkms-install" and "make dkms-remove" for each stock kernel, and for one
without InfiniBand.

They run as they would on a real host, but in a mount namespace of their own,
where /usr/src, /lib/modules and /var/lib/dkms are empty file systems with no
more in them than the kernel's headers: the machine is left as it is. What DKMS
built is then loaded in an emulated host.
"""
import collections
import os
import re
import shutil

from . import initramfs, kernels, paths, runner, verdict
from .ui import LabError, run

CORE, RDMA = "kvm_ferry", "kvm_ferry_rdma"
ALIAS = "kvm-ferry-transport-2"     # what the module asks for when somebody adds such a channel
# What modinfo must say of each; None: something.
INFO = {CORE: {"license": "GPL", "description": None, "alias": set(), "depends": set()},
        RDMA: {"license": "GPL", "description": None, "alias": {ALIAS},
               "depends": {CORE, "ib_core", "rdma_cm"}}}

# What DKMS is to install for; MODULES is where the kernel has its own, NAMES what must come of it.
Target = collections.namedtuple("Target", "release headers modules names")

# $1: where the modules shall go; then for each target its release, headers, modules, names.
SCRIPT = r"""set -e
out=$1
shift
mount -t tmpfs tmpfs /usr/src
mount -t tmpfs tmpfs /var/lib/dkms
mount -t tmpfs tmpfs /lib/modules
first=$1
while [ $# -gt 0 ]; do
	mkdir -p "/lib/modules/$1" "$out/$1"
	ln -s "$2" "/lib/modules/$1/build"
	cp "$3/modules.order" "$3/modules.builtin" "/lib/modules/$1/"
	make dkms-install KVERSION="$1" || {
		cat /var/lib/dkms/kvm-ferry/*/build/make.log
		exit 1
	}
	dkms status -m kvm-ferry -k "$1" | grep ': installed'
	there=$(find "/lib/modules/$1" -name 'kvm_ferry*' -printf '%f\n' | sed 's/[.]ko.*//' | sort | xargs)
	test "$there" = "$4" || { echo "installed for $1: $there; it should be: $4"; exit 1; }
	for name in $4; do
		modinfo -k "$1" -F version "$name"
		cp "$(modinfo -k "$1" -F filename "$name")" "$out/$1/"
	done
	resolved=$(modprobe -S "$1" --resolve-alias ALIAS || :)
	case $4 in
	*rdma*) test "$resolved" = kvm_ferry_rdma ;;
	*) test -z "$resolved" ;;
	esac || { echo "depmod's tables for $1 give for the alias: $resolved"; exit 1; }
	shift 4
done
# Whoever removes a kernel removes its headers first, perhaps.
rm "/lib/modules/$first/build"
make dkms-remove
left=$(find /lib/modules -name 'kvm_ferry*'; ls /usr/src; dkms status -m kvm-ferry)
test -z "$left" || { echo "dkms-remove left: $left"; exit 1; }
echo everything was removed
""".replace("ALIAS", ALIAS)


def build_id(path):
    match = re.search(r"Build ID: ([0-9a-f]+)", run(["readelf", "-n", path], "readelf"))
    if not match:
        raise LabError(f"{path} has no build id")
    return match[1]


def without_infiniband(kernel, out):
    """A target like KERNEL, but configured without InfiniBand, as a distribution's may be."""
    headers = out / "headers-without-infiniband"
    shutil.copytree(kernel.headers, headers, symlinks=True)
    for name in ("scripts", "tools"):
        target = (kernel.headers / name).resolve()
        (headers / name).unlink()
        (headers / name).symlink_to(target)
    for name in (".config", "include/config/auto.conf", "include/generated/autoconf.h"):
        path = headers / name
        text, gone = re.subn(r"(?m)^(#define )?CONFIG_INFINIBAND.*\n", "", path.read_text())
        if not gone:
            raise LabError(f"{kernel.release} has no InfiniBand in its {name}")
        path.unlink()
        path.write_text(text)
    return Target(f"{kernel.release}-plain", headers, kernel.modules, [CORE])


def check_info(path, name, version):
    """modinfo says of the module at PATH what it must."""
    for field, wanted in {**INFO[name], "version": version}.items():
        said = run(["modinfo", "-F", field, path], "modinfo").split("\n")[:-1]
        if isinstance(wanted, set):
            good = {word for line in said for word in line.split(",") if word} == wanted
        else:
            good = bool(said and said[0]) if wanted is None else said == [wanted]
        if not good:
            raise LabError(f"modinfo -F {field} {name} says {said}, it should be {wanted}")


def install_and_remove(chosen):
    """Installs for all CHOSEN kernels, then removes; {release: {name: what was installed}}."""
    out = paths.BUILD / "dkms"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    targets = [Target(k.release, k.headers, k.modules, [CORE, RDMA]) for k in chosen]
    targets.append(without_infiniband(chosen[-1], out))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    env["PATH"] += ":/usr/sbin:/sbin"
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    script = out / "script"
    script.write_text(SCRIPT)
    words = [w for t in targets for w in (t.release, t.headers, t.modules, " ".join(t.names))]
    log = run([*namespace, "sh", script, out, *words], "DKMS", cwd=paths.TOP, env=env,
              timeout=1350)
    (out / "log").write_text(log)
    version = re.search(r'PACKAGE_VERSION="(.*)"', (paths.TOP / "dkms.conf").read_text())[1]
    modules = {}
    for target in targets:
        for name in target.names:
            installed = next((out / target.release).glob(f"{name}.ko*"))
            data = initramfs.unpacked_module(installed)
            installed.unlink()
            path = out / target.release / f"{name}.ko"
            path.write_bytes(data)
            check_info(path, name, version)
            modules.setdefault(target.release, {})[name] = path
    return modules


class LoadedTest:
    """What the runner must know of the check in the host (see catalog.Test)."""

    def __init__(self, modules):
        self.name, self.hosts, self.timeout, self.leak = "dkms: loaded is what it built", 1, 60, 0
        self.module, self.taps, self.dmesg_allowed, self.expect = "no", False, "", ""
        self.commands = [f"sh /lab/loaded.sh {build_id(modules[CORE])} "
                         f"{build_id(modules[RDMA])} {ALIAS}"]


def check(series=paths.KERNELS):
    """Print a line a test; return (passed, failed)."""
    chosen = [kernels.get(one) for one in series]
    title = (f"dkms-install for {', '.join(k.release for k in chosen)}, and without InfiniBand, "
             "dkms-remove")
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
        files = {f"lib/modules/{kernel.release}/updates/dkms/{path.name}": path
                 for path in modules[kernel.release].values()}
        files["lab/loaded.sh"] = paths.LAB / "host" / "loaded.sh"
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
