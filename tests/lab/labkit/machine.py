# SPDX-License-Identifier: GPL-2.0
"""One real machine, over ssh: what it is, and what it is told (tests/lab/host/remote.sh)."""
import contextlib
import queue
import shlex
import subprocess
import threading

from . import paths
from .ui import LabError, say

SCRIPT = paths.LAB / "host" / "remote.sh"
OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15")
PORTS = (5201, *range(7000, 7101))      # what the scripts listen at
ROOM_MIB = 400          # what the directory takes
ALIVE = 10              # seconds between two signs of life; after PATIENCE without, it cleans up
PATIENCE = 60


def last_line(text):
    return (text.strip().splitlines() or ["it said nothing"])[-1]


class Machine:
    """A real machine, as ssh reaches it. Always close() it."""

    def __init__(self, number, name, ssh, relay):
        self.number, self.name, self.relay = number, name, relay
        self.ssh = [*ssh, *OPTIONS, name]
        self.root, self.facts, self.address, self.directory = "", {}, None, None
        self.release = ""       # of its module
        self.agent, self.lock, self.said, self.over = None, threading.Lock(), queue.Queue(), \
            threading.Event()

    def fail(self, words):
        raise LabError(f"{self.name}: {words}")

    def words(self, *command):
        return [*self.ssh, self.root + shlex.join(command)]

    def ask(self, *command, data=b"", limit=120):
        """(exit status, output, errors) of a command there."""
        try:
            done = subprocess.run(self.words(*command), input=data, capture_output=True,
                                  check=False, timeout=limit, start_new_session=True)
        except subprocess.TimeoutExpired:
            self.fail(f"no answer within {limit} s to: {' '.join(command)[:60]}")
        return (done.returncode, done.stdout.decode(errors="replace"),
                done.stderr.decode(errors="replace"))

    def must(self, *command, **more):
        status, out, errors = self.ask(*command, **more)
        if status:
            self.fail(f"\"{' '.join(command)[:60]}\" failed: {last_line(errors)}")
        return out

    def greet(self):
        """By which address it was reached, and how to be root there."""
        status, out, errors = self.ask("sh", "-c", "id -u; echo $SSH_CONNECTION")
        if status or not out:
            self.fail(f"ssh does not get there ({last_line(errors)}): make this work without "
                      f"a question: {shlex.join(self.ssh)} true")
        user, _, connection = out.partition("\n")
        self.address = (connection.split() + [None] * 3)[2]
        if user.strip() != "0":
            self.root = "sudo -n "
            if self.ask("true")[0]:
                self.fail(f"user {user.strip()} is not root and has no sudo without a password: "
                          "say root@..., or allow that")

    def look(self, peer):
        self.facts = {"name": self.name, "listens": [], "cpu_times": []}
        for line in self.must("sh", "-c", SCRIPT.read_text(), "sh", "look", peer).splitlines():
            key, _, value = line.partition(" ")
            if key == "listens":
                self.facts["listens"].append(int(value, 16))
            elif key == "cpu":
                self.facts.setdefault("cpu", value.strip())
                if value.split()[0].isdigit():
                    self.facts["cpu_times"].append([int(n) for n in value.split()])
            else:
                self.facts[key] = value.strip()

    def problems(self):
        """What must be changed there, as sentences."""
        f = self.facts
        taken = sorted(set(f["listens"]) & set(PORTS))
        for bad, words in (
                (f["machine"] != "x86_64", f"it is {f['machine']}: use an x86-64 machine"),
                (f["missing"], f"it has no {f['missing']}: install util-linux, iproute2, tar, gzip"),
                (not f["kvm"], "it has no /dev/kvm: enable virtualization in its firmware, then "
                               "\"modprobe kvm-amd\" or \"modprobe kvm-intel\""),
                (not f["module"], "the module is not loaded: \"make dkms-install\" there, then "
                                  "\"modprobe kvm_ferry\""),
                (taken, f"somebody listens at port {', '.join(map(str, taken))}: the benchmarks "
                        f"need 5201 and 7000 to 7100"),
                (int(f["place_mib"] or 0) < ROOM_MIB, f"{f['place']} has {f['place_mib']} MiB "
                 f"left: make room for {ROOM_MIB}, or set TMPDIR for its user"),
                (not f["nic"], "it has no way to the other machine: say --addresses")):
            if bad:
                yield f"{self.name}: {words}"

    def busy(self):
        """Processors that were not idle while nothing was asked of the machine."""
        before, after = self.facts["cpu_times"]
        idle = sum(after[3:5]) - sum(before[3:5])
        return (1 - idle / max(1, sum(after[:8]) - sum(before[:8]))) * int(self.facts["processors"])

    def open(self):
        """The connection on which all hangs."""
        self.agent = subprocess.Popen(
            self.words("sh", "-c", SCRIPT.read_text(), "sh", "serve", str(PATIENCE)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True)
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._live, daemon=True).start()
        word, self.directory = self.hear(60)
        if word != "dir":
            self.fail(f"it said \"{word}\" instead of making a directory")

    def _listen(self):
        for line in self.agent.stdout:
            word, _, rest = line.decode(errors="replace").strip().partition(" ")
            if word == "ask":
                answer = self.relay.answer(rest)
                if answer is not None:
                    self.tell(f"answer {answer}")
            else:
                self.said.put((word, rest))
        self.said.put(None)

    def _live(self):
        while not self.over.wait(ALIVE):
            self.tell("alive")

    def tell(self, line):
        with self.lock, contextlib.suppress(OSError, ValueError):
            self.agent.stdin.write(line.encode() + b"\n")
            self.agent.stdin.flush()

    def hear(self, limit):
        """What the machine says next, or ("late", "")."""
        try:
            said = self.said.get(timeout=limit)
        except queue.Empty:
            return "late", ""
        if said is None:
            self.said.put(None)
            self.fail("the connection ended; what ran there ends, and is removed, by itself")
        return said

    def fill(self, archive):
        self.must("tar", "-xzf", "-", "-C", self.directory, data=archive, limit=900)

    def start(self, command, addresses):
        self.tell(f"run LAB_HOST={self.number} LAB_NIC={self.facts['nic']} SOURCE_IP="
                  f"{addresses[0]} SINK_IP={addresses[1]} {command}")

    def close(self):
        self.over.set()
        if not self.agent:
            return
        with self.lock, contextlib.suppress(OSError):
            self.agent.stdin.close()
        try:
            self.agent.wait(60)
        except subprocess.TimeoutExpired:
            self.agent.kill()
            say(f"{self.name} does not say that it has cleaned up: look at {self.directory} there")
