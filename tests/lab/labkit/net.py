# SPDX-License-Identifier: GPL-2.0
"""
What joins two hosts.

A cable is two ends of a socket: it works everywhere, and its network cards can do
nothing but single packets of the MTU. A link is two taps on a bridge, in a network
namespace of its own: the hosts' cards cut large segments and check sums as real ones
do, and the rate is one that was chosen. It needs /dev/net/tun, and root.
"""
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading

from .ui import LabError

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454ca
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
MTU = 9000


def card(number):
    """A host's network card, as words for -device."""
    return f"virtio-net-pci,netdev=net,mac=52:54:00:77:00:0{number},host_mtu={MTU}"


class Cable:
    """Two ends of a socket."""

    def __init__(self):
        self.ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def plug(self, number):
        """(a descriptor for host NUMBER, QEMU's words for it)"""
        fd = self.ends[number - 1].fileno()
        return fd, ["-netdev", f"socket,id=net,fd={fd}", "-device", card(number)]

    def close(self):
        """The hosts have their ends."""
        for end in self.ends:
            end.close()


class Link:
    """Two taps and a bridge. RATE, in Mbit/s, is that of each direction; None: as it comes."""

    def __init__(self, rate=None):
        self.rate, self.taps, self.error = rate, [], None
        # The namespace is that thread's, and lasts as long as the taps do.
        maker = threading.Thread(target=self._make)
        maker.start()
        maker.join()
        if self.error:
            self.close()
            raise LabError(f"no network between the hosts: {self.error}")

    def _make(self):
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "no network namespace: are you root?")
            self._ip("link add name bridge0 type bridge")
            self._ip("link set bridge0 up mtu", MTU)
            for name in ("tap1", "tap2"):
                tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                self.taps.append(tap)
                fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(),
                                                        IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
                self._ip("link set", name, "master bridge0 mtu", MTU, "up")
                if self.rate:
                    # A segment is 64 KiB at most, and must fit.
                    self._run("tc qdisc add dev", name, "root tbf burst 192kb latency 20ms rate",
                              f"{self.rate}mbit")
        except (OSError, LabError) as err:
            self.error = err

    def _ip(self, *words):
        self._run("ip", *words)

    def _run(self, *words):
        command = " ".join(map(str, words))
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{command}: {done.stderr.strip()}")

    def plug(self, number):
        fd = self.taps[number - 1]
        return fd, ["-netdev", f"tap,id=net,fd={fd},vhost=off", "-device", card(number)]

    def close(self):
        for tap in self.taps:
            os.close(tap)
        self.taps = []
