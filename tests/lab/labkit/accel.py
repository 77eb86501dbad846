# SPDX-License-Identifier: GPL-2.0
"""
Finds out whether this machine's KVM can carry an emulated host.

/dev/kvm that opens proves nothing: there are machines where creating a VM works
and no vCPU ever runs. So a vCPU must execute an instruction here, and the
processor must offer SVM or VMX to what runs inside.
"""
import ctypes
import fcntl
import mmap
import os
import pathlib
import struct
import subprocess
import sys

KVM_CREATE_VM = 0xAE01
KVM_GET_VCPU_MMAP_SIZE = 0xAE04
KVM_CREATE_VCPU = 0xAE41
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_SET_TSS_ADDR = 0xAE47
KVM_RUN = 0xAE80
KVM_GET_SREGS, KVM_SET_SREGS, SREGS_SIZE = 0x8138AE83, 0x4138AE84, 0x138
KVM_SET_REGS, REGS_SIZE = 0x4090AE82, 0x90
EXIT_REASON_OFFSET, KVM_EXIT_HLT = 8, 5


def vcpu_runs():
    """Create a VM with a page of HLT and see KVM_RUN come back with KVM_EXIT_HLT."""
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    fcntl.ioctl(vm, KVM_SET_TSS_ADDR, 0xFFFBD000)
    memory = mmap.mmap(-1, 4096)
    memory[:] = b"\xf4" * 4096
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, KVM_SET_USER_MEMORY_REGION, struct.pack("=IIQQQ", 0, 0, 0x1000, 4096, address))
    vcpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
    run = mmap.mmap(vcpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE))
    sregs = bytearray(SREGS_SIZE)
    fcntl.ioctl(vcpu, KVM_GET_SREGS, sregs)
    struct.pack_into("=Q", sregs, 0, 0)         # cs.base; its selector follows
    struct.pack_into("=H", sregs, 12, 0)
    fcntl.ioctl(vcpu, KVM_SET_SREGS, bytes(sregs))
    regs = bytearray(REGS_SIZE)
    struct.pack_into("=QQ", regs, 16 * 8, 0x1000, 2)    # rip, rflags
    fcntl.ioctl(vcpu, KVM_SET_REGS, bytes(regs))
    fcntl.ioctl(vcpu, KVM_RUN, 0)
    return struct.unpack_from("=I", run, EXIT_REASON_OFFSET)[0] == KVM_EXIT_HLT


def nests():
    for vendor in ("kvm_amd", "kvm_intel"):
        try:
            if pathlib.Path(f"/sys/module/{vendor}/parameters/nested").read_text()[0] in "1Y":
                return True
        except OSError:
            pass
    return False


def probe():
    """True if -accel kvm -cpu host gives a host that has KVM itself."""
    if not nests():
        return False
    try:    # in a process of its own: a vCPU that hangs must not hang the lab
        done = subprocess.run([sys.executable, __file__], timeout=10, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(0 if vcpu_runs() else 1)
