# SPDX-License-Identifier: GPL-2.0
"""One emulated host: a QEMU, its console, and its virtio ports."""
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time

from . import accel, kernels
from .ui import LabError

BOOT_LIMIT = 240        # seconds; a stock kernel takes 5 to 10 under TCG on a quiet machine
MARK = b"\x1e"
PULSE = 0.25            # seconds; see host/keepawake.c


def tcg_threads():
    """
    One thread for all vCPUs of a host: with a thread each, QEMU 7.2 now and then runs a
    breakpoint that the kernel has taken back ("Oops: int3" when a static key flips). Two
    hosts at a time keep two cores as busy. LAB_TCG=multi for measuring, or for more races.
    """
    return os.environ.get("LAB_TCG", "single")


class HostDied(Exception):
    """QEMU ended, or the host stopped answering."""


class Relay:
    """
    Answers the hosts' sync ports: a small store that the tests of a pair share.

    A request is "NUMBER put KEY VALUE" or "NUMBER get KEY"; the answer is
    "NUMBER ok", "NUMBER = VALUE" or "NUMBER none". The number lets a host tell
    an answer from a late one to a test that was killed.
    """

    def __init__(self):
        self.store, self.lock = {}, threading.Lock()

    def clear(self):
        with self.lock:
            self.store.clear()

    def answer(self, request):
        """The answer to a line, or None: it is no request."""
        words = request.split(None, 3)
        if len(words) < 3:
            return None
        with self.lock:
            if words[1] == "put":
                self.store[words[2]] = words[3].strip() if len(words) > 3 else ""
                return f"{words[0]} ok"
            value = self.store.get(words[2])
        return f"{words[0]} none" if value is None else f"{words[0]} = {value}"

    def serve(self, sock):
        with sock.makefile("rwb", buffering=0) as port:
            for line in port:
                answer = self.answer(line.decode(errors="replace"))
                if answer is None:
                    continue
                try:
                    port.write(f"{answer}\n".encode())
                except OSError:
                    return


class Host:
    """A running emulated host. Always close() it."""

    def __init__(self, kernel, initramfs, directory, number=1, cpus=2, mem=1024, relay=None,
                 net=None, share_root=False, on_output=None, cmdline="", disk=None, touched=False):
        self.kernel, self.number, self.directory = kernel, number, directory
        self.on_output = on_output
        self.console_log = directory / f"console{number}.log"
        self.console_at = 0     # what was there when the test began
        self.answers = queue.Queue()
        self.output = bytearray()
        self.output_moved = threading.Condition()
        self.shell_out = None
        fds = []

        def channel():
            mine, theirs = socket.socketpair()
            fds.append(theirs.fileno())
            return mine, theirs

        self.ctl, ctl_fd = channel()
        self.out, out_fd = channel()
        self.sync, sync_fd = channel()
        self.console, console_fd = channel()
        self.pulse, pulse_fd = channel()
        append = (f"console=ttyS0 loglevel=4 panic=-1 oops=panic tsc=nowatchdog mitigations=off "
                  # It looks at ten ticks in a time that a busy machine may not give it.
                  f"no_timer_check "
                  f"random.trust_cpu=on lab.host={number} lab.kernel={kernel.series} "
                  f"lab.slow={kernel.slowness} ")
        if kernel.debug:
            append += "loglevel=5 panic_on_warn=1 kmemleak=on kunit.enable=1 "
            mem = kernels.debug_mem(mem)
        append += cmdline
        cmd = ["qemu-system-x86_64", "-name", f"ferry-host{number}", "-nodefaults",
               "-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc",
               *(("-accel", "kvm", "-cpu", "host") if accel_kvm()
                 else ("-accel", f"tcg,thread={tcg_threads()}", "-cpu", "max")),
               "-smp", str(cpus), "-m", f"{mem}M", *self._memory(mem, touched),
               "-kernel", str(kernel.vmlinuz), "-initrd", str(initramfs), "-append", append,
               "-chardev", f"socket,id=con,fd={console_fd.fileno()},logfile={self.console_log}",
               "-serial", "chardev:con", "-device", "virtio-rng-pci",
               "-device", "virtio-serial-pci"]
        for name, theirs in (("ctl", ctl_fd), ("out", out_fd), ("sync", sync_fd),
                             ("pulse", pulse_fd)):
            cmd += ["-chardev", f"socket,id={name},fd={theirs.fileno()}",
                    "-device", f"virtserialport,chardev={name},name=lab.{name}"]
        if net is not None:
            fd, words = net.plug(number)
            fds.append(fd)
            cmd += words
        if disk is not None:
            # Like a LUN of a storage network: both hosts see the same, nobody locks it, and a
            # flush need not reach the machine's own disk, which may be slow and busy: QEMU
            # flushes when it stops a guest, so that would be in every downtime.
            cmd += ["-drive", f"file={disk},if=none,id=disk,format=raw,file.locking=off,"
                    "cache.no-flush=on",
                    "-device", "virtio-blk-pci,drive=disk,share-rw=on,serial=shared"]
        if share_root:
            cmd += ["-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,"
                    "multidevs=remap"]
        self.qemu_log = directory / f"qemu{number}.log"
        if not shutil.which(cmd[0]):
            raise LabError(f"{cmd[0]} is not there: install qemu-system-x86")
        with open(self.qemu_log, "wb") as log:
            self.process = subprocess.Popen(cmd, pass_fds=fds, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True,
                                            preexec_fn=die_with_parent)
        for theirs in (ctl_fd, out_fd, sync_fd, console_fd, pulse_fd):
            theirs.close()
        relay = relay or Relay()
        for target, args in ((self._read_ctl, ()), (self._read_out, ()),
                             (self._read_console, ()), (relay.serve, (self.sync,))):
            threading.Thread(target=target, args=args, daemon=True).start()
        if not accel_kvm():
            threading.Thread(target=self._keep_awake, daemon=True).start()

    @staticmethod
    def _memory(mem, touched):
        """With TOUCHED this machine has given all of the memory before anything is measured."""
        return ["-object", f"memory-backend-ram,id=ram,size={mem}M,prealloc=on", "-machine",
                "memory-backend=ram"] if touched else []

    def _keep_awake(self):
        """TCG loses an interrupt now and then (host/keepawake.c): send another."""
        self.pulse.setblocking(False)
        while True:
            try:
                self.process.wait(PULSE)
                return
            except subprocess.TimeoutExpired:
                pass
            try:
                self.pulse.send(b"\n")
            except BlockingIOError:
                pass    # nobody reads: no test runs
            except OSError:
                return

    # The ports' readers. A port's end means that QEMU is gone.

    def _read_ctl(self):
        with self.ctl.makefile("rb") as port:
            for line in port:
                self.answers.put(line.decode(errors="replace").strip())
        self.answers.put(None)

    def _read_out(self):
        while True:
            try:
                data = self.out.recv(65536)
            except OSError:
                data = b""
            with self.output_moved:
                if data:
                    self.output += data
                else:
                    self.out_ended = True
                self.output_moved.notify_all()
            if not data:
                return
            if self.on_output:
                self.on_output(self, data)

    out_ended = False

    def _read_console(self):
        while True:
            try:
                data = self.console.recv(65536)
            except OSError:
                return
            if not data:
                return
            sink = self.shell_out
            if sink:
                sink(self, data)

    def request(self, text):
        try:
            self.ctl.sendall(text.encode() + b"\n")
        except OSError as err:
            raise HostDied(f"host {self.number} is gone") from err

    def begin_test(self):
        self.console_at = self.console_log.stat().st_size if self.console_log.exists() else 0

    def answer(self, limit):
        """The next line on the control port, or HostDied."""
        try:
            line = self.answers.get(timeout=limit)
        except queue.Empty:
            raise HostDied(f"host {self.number} does not answer") from None
        if line is None:
            self.answers.put(None)
            raise HostDied(f"host {self.number} ended")
        return line

    def wait_up(self):
        try:
            line = self.answer(BOOT_LIMIT * self.kernel.slowness)
        except HostDied as err:
            raise LabError(f"{err} during its boot\n{self.last_words()}") from err
        if not line.startswith("up "):
            raise LabError(f"host {self.number} said \"{line}\" instead of being up")

    def take_output(self, mark, limit=30):
        """What was printed up to the record mark MARK, without it."""
        needle = MARK + mark.encode() + b"\n"
        end = time.monotonic() + limit
        with self.output_moved:
            while True:
                at = self.output.find(needle)
                if at >= 0:
                    data = bytes(self.output[:at])
                    del self.output[:at + len(needle)]
                    return data.decode(errors="replace")
                left = end - time.monotonic()
                if left <= 0 or self.out_ended:
                    raise HostDied(f"host {self.number} stopped talking")
                self.output_moved.wait(left)

    def rest_of_output(self):
        with self.output_moved:
            data = bytes(self.output)
            self.output.clear()
        return data.decode(errors="replace")

    def last_words(self, lines=120):
        """The tail of QEMU's own messages, and of the console since the test began."""
        text = ""
        for path, begin in ((self.qemu_log, 0), (self.console_log, self.console_at)):
            try:
                tail = path.read_bytes()[begin:].decode(errors="replace").splitlines()[-lines:]
            except OSError:
                continue
            if tail:
                text += f"--- {path}:\n" + "\n".join(tail) + "\n"
        return text

    def close(self):
        """End QEMU for certain."""
        if self.process.poll() is None:
            try:
                self.request("off")
                self.process.wait(timeout=3)
            except (HostDied, subprocess.TimeoutExpired):
                pass
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for sock in (self.ctl, self.out, self.sync, self.console, self.pulse):
            sock.close()


def die_with_parent():
    """In the child: be killed when the lab is, however it ends (PR_SET_PDEATHSIG)."""
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


_KVM = []


def accel_kvm():
    if not _KVM:
        _KVM.append(os.environ.get("LAB_ACCEL", "") != "tcg" and accel.probe())
    return _KVM[0]
