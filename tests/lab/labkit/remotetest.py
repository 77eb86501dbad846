# SPDX-License-Identifier: GPL-2.0
"""
"lab test-remote": two emulated hosts with an sshd play the real machines of "bench --hosts".

The hosts' first cards join them, their second ones are QEMU's user network, which forwards a
port of this machine to each sshd.
"""
import contextlib
import json
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import threading
import time

from . import bench, build, machine, net, paths, runner, setup
from .ui import LabError, run, say

LIMIT = 1500            # seconds for everything
MIB = 1536              # of a host
ADDRESSES = ("--addresses", "10.77.0.1,10.77.0.2")
BOTH = "root@one,root@two"
LINK = ("bench", "--only", "harvest,link", "--rounds", "1", "--link-mib", "16")
# Long enough to be interrupted.
LONG = ("bench", "--only", "link", "--rounds", "200", "--link-mib", "16")
PARTS = ("wrong", "link", "local", "qemu", "warned", "lost", "killed")   # methods of Trial
RESULTS = paths.BUILD / "bench-hosts" / "results.json"
# Whatever a benchmark leaves: directories, and processes of any kind.
LEFT = ("ls -d /tmp/kvm-ferry-bench.* 2>/dev/null; ps | grep -E "
        f"'ferrybench|iperf3|qemu-|unshare|remote.sh|[s]leep {machine.PATIENCE}' | grep -v grep")


class Forwarded(net.Cable):
    """And a second card, with a port of this machine that leads to the host's sshd."""

    def __init__(self, ports):
        super().__init__()
        self.ports = ports

    def plug(self, number):
        fd, words = super().plug(number)
        forward = f"hostfwd=tcp:127.0.0.1:{self.ports[number - 1]}-:22"
        return fd, [*words, "-netdev", f"user,id=ssh,restrict=on,{forward}", "-device",
                    f"virtio-net-pci,netdev=ssh,mac=52:54:00:78:00:0{number}"]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


def keys(directory):
    """Keys and a configuration: {path in the host: file}."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key"], "ssh-keygen")
    run(["dropbearkey", "-t", "ed25519", "-f", directory / "hostkey"], "dropbearkey")
    return {"lab/authorized_keys": directory / "key.pub", "lab/hostkey": directory / "hostkey",
            "usr/bin/dropbear": pathlib.Path("/usr/sbin/dropbear"),
            "lab/sshd.sh": paths.LAB / "host" / "sshd.sh"}


def write_config(directory, ports):
    """Hosts one and two, and one where nobody listens."""
    config = directory / "config"
    config.write_text("".join(
        f"Host {name}\n\tHostName 127.0.0.1\n\tPort {port}\n" for name, port in
        zip(("one", "two", "nobody"), ports)) +
        f"Host *\n\tIdentityFile {directory / 'key'}\n\tIdentitiesOnly yes\n"
        "\tStrictHostKeyChecking no\n\tUserKnownHostsFile /dev/null\n\tLogLevel ERROR\n")
    return config


class Trial:
    """What is tried, and what came of it."""

    def __init__(self, config):
        self.ssh, self.passed, self.failed = f"ssh -F {config}", 0, 0

    def on(self, name, script, check=True):
        done = subprocess.run([*self.ssh.split(), f"root@{name}", script], text=True, check=False,
                              capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise LabError(f"{name}: {script}: {done.stderr}")
        return done.stdout

    def start(self, what, hosts=BOTH, more=ADDRESSES):
        return subprocess.Popen(
            [paths.LAB / "lab", what[0], "--hosts", hosts, "--ssh", self.ssh, *more, *what[1:]],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
            # In the background of a shell it would be ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    @staticmethod
    def end(process, limit):
        """What it printed; who is not done in time is killed."""
        try:
            return process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return f"not done in {limit} s:\n{process.communicate()[0]}"

    def call(self, *args, **more):
        process = self.start(*args, **more)
        out = self.end(process, 600)
        return process.returncode, out

    def see(self, good, what, out="", look=True):
        """A line of the report, with a LOOK at what is left behind."""
        left = self.left() if look else ""
        if left:
            good, out = False, f"left behind: {left}\n{out}"
        print(f"{'ok' if good else 'FAIL'} {what}", flush=True)
        if not good:
            print("".join(f"    {line}\n" for line in out.splitlines()[-60:]), flush=True)
        self.passed += bool(good)
        self.failed += not good

    def left(self):
        """What is left behind on either machine after half a minute."""
        end = time.monotonic() + 30
        while True:
            found = "".join(f"{name}: {line}\n" for name in ("one", "two")
                            for line in self.on(name, LEFT, check=False).splitlines())
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.5)

    def refused(self, words, what, **more):
        status, out = self.call(LINK, **more)
        self.see(status == 2 and re.search(words, out), what, out)

    def wait_for(self, name, script):
        end = time.monotonic() + 120
        while not self.on(name, script, check=False).strip():
            if time.monotonic() > end:
                raise LabError(f"{name}: waited in vain for: {script}")
            time.sleep(0.2)

    def half_way(self, what):
        """A benchmark whose programs run on both hosts now; on a busy machine that takes minutes."""
        process, end = self.start(what), time.monotonic() + 300
        while not self.on("two", "ps | grep 'ferrybench sink' | grep -v grep", check=False):
            if process.poll() is not None or time.monotonic() > end:
                raise LabError(f"it does not get half way: {self.end(process, 1)}")
            time.sleep(0.2)
        return process

    def wrong(self):
        self.refused("root@nobody: ssh does not get there .*refused", "a machine that is not reached",
                     hosts="root@one,root@nobody")
        self.refused("say --addresses", "addresses that ssh does not tell", more=())
        self.on("two", "rmmod kvm_ferry")
        self.refused("root@two: the module is not loaded: .*modprobe", "a module that is not loaded")
        self.on("two", "insmod /lab/kvm_ferry.ko; ( sleep 1000 | nc -l -p 7050 ) "
                "</dev/null >/dev/null 2>&1 &")
        self.wait_for("two", "netstat -ltn | grep :7050")
        self.refused("somebody listens at port 7050", "a port that is taken")
        self.on("two", "killall nc sleep")
        self.silent()

    def silent(self):
        """The connection stays, and nobody says anything: the machine cleans up by itself."""
        words = shlex.join(["sh", "-c", machine.SCRIPT.read_text(), "sh", "serve", "2"])
        with subprocess.Popen([*self.ssh.split(), "root@one", words], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as process:
            made = process.stdout.readline()
            process.wait(60)
        self.see(made.startswith("dir ") and process.returncode == 1, "a connection that is silent",
                 f"{made}\nexit status {process.returncode}")

    def killed(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            self.kill(number)

    def kill(self, number):
        process = self.half_way(LONG)
        process.send_signal(number)
        out = self.end(process, 120)
        self.see(process.returncode in (130, 143, -signal.SIGKILL),
                 f"{signal.Signals(number).name} half way", out)

    def warned(self):
        process = self.half_way(LONG[:4] + ("30",) + LONG[5:])
        self.on("two", "echo 'WARNING: this is a test' >/dev/kmsg")
        out = self.end(process, 600)
        self.see(process.returncode == 1 and "root@two complained" in out, "a warning of a kernel",
                 out)

    def lost(self):
        """One of the two ends fails: so does all, and soon."""
        process = self.half_way(LONG)
        self.on("two", "killall -9 iperf3 ferrybench")
        out = self.end(process, 120)
        self.see(process.returncode == 1 and "exit status" in out, "an end that fails", out)

    def link(self):
        status, out = self.call(LINK)
        rows = json.loads(RESULTS.read_text()) if status == 0 else []
        good = [r["name"] for r in rows] == ["throughput between two hosts"] and \
            rows[0]["hardware"] is False and "harvest is left out" in out and \
            [m["nic"] for m in rows[0]["machines"]] == ["eth0", "eth0"]
        self.see(good, "make bench HOSTS=", out)

    def local(self):
        status, out = self.call(("bench", "--only", "warm,gap", "--rounds", "1", "--mib", "32",
                                 "--modes", "ours:1,peer:64:copy:1"))
        rows = json.loads(RESULTS.read_text()) if status == 0 else []
        self.see(len(rows) == 3, "the parts on one machine", out)

    def qemu(self):
        status, out = self.call(("bench-qemu", "--only", "light,converges", "--rounds", "1",
                                 "--modes", "ferry1,plain/bitmap"))
        where = paths.BUILD / "bench-qemu-hosts"
        moves = json.loads((where / "moves.json").read_text())["light"] if status == 0 else []
        good = [(m["mode"], m["completed"], m["hardware"]) for m in moves] == [
            ("ferry1", True, False), ("plain/bitmap", True, False)]
        self.see(good and (where / "bars.png").exists() and "converges is left out" in out and
                 all(m["wire"] > 200 << 20 for m in moves), "make bench-qemu HOSTS=", out)


def test(series, only=""):
    """Returns the exit status."""
    parts = only.split(",") if only else PARTS
    if not set(parts) <= set(PARTS):
        raise LabError(f"there is: {', '.join(PARTS)}")
    setup.setup([series], more=("dropbear-bin", "openssh-client", "gnuplot-nox"))
    say("building ...")
    build.build([series])
    directory = runner.new_run()
    ports = free_ports(3)
    boot = runner.Boot(directory / "hosts", series, 2, 1, MIB, files=keys(directory),
                       cmdline=bench.SAME_COPIES, net=lambda: Forwarded(ports))
    results = []
    try:
        trial = Trial(write_config(directory, ports))
        script = bench.Script("remote", [f"sh /lab/sshd.sh {LIMIT}"] * 2, LIMIT + 60)
        script.dmesg_allowed = "this is a test"     # see warned()
        sshd = threading.Thread(target=lambda: results.extend(
            runner.run_one(boot, script, series, 1)))
        sshd.start()
        for name in ("one", "two"):
            trial.wait_for(name, "cat /proc/uptime")
        for part in parts:
            getattr(trial, part)()
        for name in ("one", "two"):
            trial.on(name, "touch /run/over")
        sshd.join(60)
        problems = results[0].problems if results else ["the hosts do not end"]
        trial.see(not problems, "the hosts' own logs", "\n".join(problems), look=False)
    finally:
        boot.close()
    print(f"{trial.passed} passed, {trial.failed} failed", flush=True)
    return 1 if trial.failed or not trial.passed else 0
