# SPDX-License-Identifier: GPL-2.0
"""
The root of an emulated host: several cpio archives in a row.

The base (busybox, tools, kernel modules) changes hardly ever and is cached by
what it is made of; our own programs, tests and module follow it.
"""
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
import pathlib

from . import build, paths
from .ui import LabError, Step, run

# Debian's busybox, wherever it runs a program, prefers its own applet of that
# name ("timeout 5 ip link" is not iproute2's ip). So the shell, and all that run
# other programs, are the real ones.
TOOLS = ("/bin/dash", "/usr/bin/env", "/usr/bin/flock", "/usr/bin/nice", "/usr/bin/setsid",
         "/usr/bin/taskset", "/usr/bin/timeout", "/usr/bin/xargs", "/usr/sbin/ip", "/usr/sbin/tc", "/usr/bin/ss", "/usr/bin/iperf3",
         "/usr/bin/setpriv", "/usr/bin/prlimit", "/usr/bin/unshare", "/usr/bin/rdma",
         "/usr/bin/ib_write_bw", "/usr/bin/ibv_devinfo")
# What libibverbs loads by itself for a Soft-RoCE device.
VERBS = ("/etc/libibverbs.d/rxe.driver", "/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so")
BASE_VERSION = b"9"


class Cpio:
    """Writes a newc archive, all of it owned by root and dated 0."""

    def __init__(self):
        self.parts, self.inode, self.seen = [], 0, set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(encoded), 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + encoded
        self.parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def directory(self, name):
        if not name or name in self.seen:
            return
        if "/" in name:
            self.directory(name.rsplit("/", 1)[0])
        self.seen.add(name)
        self._entry(name, stat.S_IFDIR | 0o755)

    def _parent(self, name):
        if "/" in name:
            self.directory(name.rsplit("/", 1)[0])

    def file(self, name, data, mode=0o755):
        self._parent(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        self._parent(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name, major, minor):
        self._parent(name)
        self._entry(name, stat.S_IFCHR | 0o600, rdev=(major, minor))

    def bytes(self):
        self._entry("TRAILER!!!", 0)
        whole = b"".join(self.parts)
        return whole + b"\0" * (-len(whole) % 512)


class Tar:
    """The same calls, for a directory on a machine that has its own devices: an archive for tar."""

    def __init__(self):
        self.whole = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.whole, mode="w:gz", compresslevel=1)

    def _entry(self, name, mode, kind, data=b"", target=""):
        info = tarfile.TarInfo(name)
        info.mode, info.type, info.size, info.linkname = mode, kind, len(data), target
        self.tar.addfile(info, io.BytesIO(data))

    def directory(self, name):
        self._entry(name, 0o755, tarfile.DIRTYPE)

    def file(self, name, data, mode=0o755):
        self._entry(name, mode, tarfile.REGTYPE, data)

    def link(self, name, target):
        self._entry(name, 0o777, tarfile.SYMTYPE, target=target)

    def bytes(self):
        self.tar.close()
        return self.whole.getvalue()


def shared_libraries(program):
    """{path in the host: file} of what the loader of PROGRAM needs."""
    env = dict(os.environ, LD_LIBRARY_PATH=str(paths.BUILD / "user"))
    text = subprocess.run(["ldd", str(program)], capture_output=True, text=True, env=env,
                          check=False).stdout
    found = {}
    for line in text.splitlines():
        if "not found" in line:
            raise LabError(f"{program} needs a library that is not there: {line.strip()}")
        match = re.search(r"(?:=> )?(/\S+) \(0x", line)
        if match:
            path = pathlib.Path(match[1])
            name = "usr/lib/" + path.name if "=>" in line else match[1].lstrip("/")
            found[name] = path.resolve()
    return found


def module_names():
    lines = (paths.LAB / "host" / "modules.txt").read_text().splitlines()
    return [line.split()[-1] for line in lines if line and not line.startswith("#")]


def unpacked_module(path):
    """The bytes of a .ko, .ko.xz: busybox loads plain ones only."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def module_files(kernel, names):
    """The files of the modules NAMES and of all that they need, in the order of loading."""
    wanted = []
    for name in names:
        out = subprocess.run(["modprobe", "-d", str(kernel.root), "-S", kernel.release,
                              "--show-depends", "--ignore-install", name],
                             capture_output=True, text=True, check=False)
        for line in out.stdout.splitlines():
            if line.startswith("insmod ") and line.split()[1] not in wanted:
                wanted.append(line.split()[1])
    return [pathlib.Path(path) for path in wanted]


def kernel_modules(kernel):
    """{path in the host: bytes}: the modules, their dependencies, depmod's tables."""
    files = {}
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        prefix = f"lib/modules/{kernel.release}"
        for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
            target = root / prefix / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (kernel.modules / name).exists():
                shutil.copy(kernel.modules / name, target)
        for path in module_files(kernel, module_names()):
            inside = path.relative_to(kernel.modules) if path.is_relative_to(kernel.modules) \
                else pathlib.Path(str(path).split(f"/{kernel.release}/", 1)[1])
            target = root / prefix / str(inside).removesuffix(".xz")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(unpacked_module(path))
        run(["depmod", "-b", root, kernel.release], "depmod")
        for path in sorted(root.rglob("*")):
            if path.is_file():
                files[str(path.relative_to(root))] = path.read_bytes()
    return files


def base(kernel):
    """The cached base archive for KERNEL."""
    key = hashlib.sha256(BASE_VERSION)
    for text in (str(kernel.root), kernel.version, "\n".join(module_names())):
        key.update(text.encode() + b"\0")
    tools = tools_there()
    for tool in tools:
        info = os.stat(tool)
        key.update(f"{tool} {info.st_size} {info.st_mtime_ns}\0".encode())
    path = paths.RUNS / "cache" / f"base-{kernel.series}-{key.hexdigest()[:16]}.cpio"
    with paths.locked(paths.RUNS / "cache" / ".lock"):
        if path.exists():
            return path
        with Step(f"making the base of the {kernel.series} host"):
            for old in path.parent.glob(f"base-{kernel.series}-*.cpio"):
                old.unlink()
            paths.write_new(path, make_base(kernel, tools))
    return path


def tools_there():
    return ["/bin/busybox", *(t for t in TOOLS if os.path.exists(t))]


def put_tools(cpio, tools):
    """A root directory's frame, with TOOLS and what they need."""
    for name in ("dev", "proc", "sys", "run", "tmp", "etc", "root", "lab", "tests", "usr/lib"):
        cpio.directory(name)
    for name in ("bin", "sbin"):
        cpio.link(name, f"usr/{name}")
    cpio.link("lib64", "usr/lib64")
    files = {"usr/bin/" + pathlib.Path(t).name: pathlib.Path(t) for t in tools}
    for tool in tools[1:]:
        files.update(shared_libraries(tool))
    for name, path in files.items():
        name = re.sub(r"^lib64/", "usr/lib64/", name)
        cpio.file(name, path.read_bytes())
    for path in VERBS:
        if os.path.exists(path):
            cpio.file(path.lstrip("/"), pathlib.Path(path).read_bytes())
    applets = run(["/bin/busybox", "--list-full"], "busybox").split()
    have = {pathlib.Path(t).name for t in tools} | {"sh"}
    cpio.link("usr/bin/sh", "dash")
    for applet in applets:
        applet = applet if applet.startswith("usr/") else f"usr/{applet}"
        if pathlib.Path(applet).name not in have and applet not in files:
            cpio.link(applet, "/usr/bin/busybox")
    cpio.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    cpio.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    cpio.file("etc/hosts", b"127.0.0.1 localhost\n10.77.0.1 source\n10.77.0.2 sink\n")


def make_base(kernel, tools):
    cpio = Cpio()
    put_tools(cpio, tools)
    cpio.device("dev/console", 5, 1)
    cpio.device("dev/null", 1, 3)
    for name, data in kernel_modules(kernel).items():
        # usr-merged: /lib is a link in Debian, a plain directory here
        cpio.file(name, data, 0o644)
    return cpio.bytes()


def machine_programs(names):
    """{path in the host: file} of programs of this machine."""
    files = {}
    for name in names:
        path = shutil.which(name)
        if not path:
            raise LabError(f"{name} is not there: run \"tests/lab/lab setup\"")
        files[f"usr/bin/{name}"] = pathlib.Path(path)
    return files


def put_programs(cpio, files):
    """FILES ({path in the host: file}), and the libraries that they need."""
    libraries = {}
    for name, path in files.items():
        if name.startswith(("usr/bin/", "usr/lib/", "tests/")) and \
                path.read_bytes()[:4] == b"\x7fELF":
            libraries.update(shared_libraries(path))
    libraries = {re.sub(r"^lib64/", "usr/lib64/", n): path for n, path in libraries.items()}
    for name, path in sorted({**libraries, **files}.items()):
        cpio.file(name, path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)


def ours(kernel, module=None, extra=None):
    """
    The archive of what is built here: module, programs, tests, guest.

    MODULE is another module than the one in build/, or False for none; EXTRA
    is {path in the host: file} of more.
    """
    cpio = Cpio()
    files = {**build.user_files(), **build.build_host_programs(), **(extra or {})}
    files["init"] = paths.LAB / "host" / "init"
    files["lab/modules.txt"] = paths.LAB / "host" / "modules.txt"
    module = kernel.module if module is None else module
    if module and module.exists():
        files["lab/kvm_ferry.ko"] = module
        for beside in (module.with_name("kvm_ferry_rdma.ko"), *module.parent.glob("ferry_*.ko"),
                       *kernel.test_modules.glob("ferry_*.ko")):
            if beside.exists():
                files[f"lab/{beside.name}"] = beside
    if kernel.suites.exists():
        files["lab/kvm_ferry_kunit.ko"] = kernel.suites
    put_programs(cpio, files)
    return cpio.bytes()


def assemble(kernel, guest_kernel, directory, module=None, extra=None):
    """Write DIRECTORY/initramfs; return its path."""
    target = directory / "initramfs"
    guest = Cpio()
    guest.file("guest/bzImage", guest_kernel.vmlinuz.read_bytes(), 0o644)
    with open(target, "wb") as out:
        out.write(base(kernel).read_bytes())
        out.write(guest.bytes())
        out.write(ours(kernel, module, extra))
    return target
