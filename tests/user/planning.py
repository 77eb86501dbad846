#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""ferryctl estimate, migrate --when-cheap and evacuate, with VMMs that are threads of this
program. Speaks TAP.
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import ctl
from ctl import (DONE, DOUBT, ERROR, FAILED, FERRYCTL, IN_DOUBT, LIVE, NOT_CHEAP, NOT_MOVED, OK,
                 TIMEOUT, USAGE, FakeVmm, Guest, expect, ferryctl, listener, ok, parsed, step)

GIB = 1 << 30


def live(times):
    return [step("running", LIVE)] * times


MOVES = [step("gone", DONE, ram_transferred=GIB)]


def even(rate=10e6, **more):
    """Dirties so many bytes a second, never the same twice."""
    return Guest(lambda after: rate * after, **more)


def hot(size=100e6, **more):
    """Has a set of that size, which it writes over and over."""
    return Guest(lambda after: size, demand=(1000000,), **more)


class Several:
    """VMMs named after how much memory they have, and what each was asked in what order."""

    def __init__(self, tmp, *vms, guests=None):
        self.log = []
        self.vms = [FakeVmm(os.path.join(tmp, f"{number}.ctl"), script=script, name=f"vm{number}",
                            memory=memory * GIB, guest=guests and guests[number])
                    for number, (memory, script) in enumerate(vms)]
        for vm in self.vms:
            vm.log = self.log
        self.paths = [vm.path for vm in self.vms]

    def begun(self):
        """In which order they were begun, and with which limit."""
        return [(name, r.get("bandwidth")) for name, r in self.log if r["cmd"] == "migrate"]

    def close(self):
        for vm in self.vms:
            vm.close()


def evacuated(what, code, *args):
    r = ferryctl("evacuate", *args, "--json", fake=None)
    obj = parsed(f"{what}: it reports", r, "vms", "moved", "not_moved", "time_ns",
                 "ram_transferred", "exit_code")
    ok(r.returncode == code == obj.get("exit_code") and not r.stderr, f"{what}: exit code {code}",
       f"{r.returncode}\n{r.stdout}\n{r.stderr}")
    return obj


def all_go():
    source, port = listener()
    to = ("--to", f"tcp:127.0.0.1:{port}") * 3
    with tempfile.TemporaryDirectory() as tmp:
        some = Several(tmp, (1, live(8) + MOVES), (3, live(3) + MOVES), (2, live(8) + MOVES))
        obj = evacuated("two at a time", OK, *to, *some.paths, "--jobs", "2", "--bandwidth", "100M")
        half, whole = 50 << 20, 100 << 20
        ok(some.begun() == [("vm1", half), ("vm2", half), ("vm0", half)],
           "the largest first, each with half of the bandwidth", some.begun())
        limits = [r["bandwidth"] for name, r in some.log if r["cmd"] == "set" and name == "vm0"]
        ok(limits and limits[-1] == whole, "the last one has all of it", some.log)
        ok([v["name"] for v in obj.get("vms", ())] == ["vm1", "vm2", "vm0"] and
           obj["moved"] == 3 and obj["ram_transferred"] == 3 * GIB and
           all(v["outcome"] == "moved" and v["time_ns"] for v in obj["vms"]),
           "all of them are in the report", obj)
        some.close()
    with tempfile.TemporaryDirectory() as tmp:
        some = Several(tmp, (1, live(2) + MOVES), (1, live(2) + MOVES))
        r = expect("for people", OK, "evacuate", *to, *some.paths, "--verify", "--channels", "3",
                   "--downtime", "50ms", fake=None,
                   out=("vm0: begins, to tcp:127.0.0.1", "vm0: moved in", "vm1: moved in",
                        "2 of 2 guests have moved in", "2.00 GiB sent"))
        asked = [request for _, request in some.log if request["cmd"] == "migrate"]
        ok(len(asked) == 2 and all(
            request == {"cmd": "migrate", "data_channels": 3, "verify": True, "downtime_ms": 50}
            for request in asked), "each with the same options", asked)
        ok(r.stdout.index("vm0: moved") < r.stdout.index("vm1: begins"), "one at a time", r.stdout)
        some.close()
    with tempfile.TemporaryDirectory() as tmp:
        # It leaves as soon as its guest has, and is not there to say so.
        some = Several(tmp, (1, live(1) + [step("running", DONE, migrating=True), {"vm": "leaves"}]))
        obj = evacuated("a VMM that leaves", OK, *to, *some.paths)
        ok(obj.get("moved") == 1, "a VMM that leaves once its guest has", obj)
        some.close()
    source.close()


def some_fail():
    source, port = listener()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    to = ("--to", f"tcp:127.0.0.1:{port}")
    with tempfile.TemporaryDirectory() as tmp:
        some = Several(tmp, (3, ()), (2, live(2) + [step("running", FAILED, 32)]),
                       (1, live(2) + MOVES))
        paths = [*some.paths, os.path.join(tmp, "none.ctl")]
        obj = evacuated("one that nobody waits for", NOT_MOVED, "--to", f"tcp:127.0.0.1:{closed}",
                        *to, *to, *to, *paths)
        said = {v["socket"]: v for v in obj.get("vms", ())}
        ok(obj.get("moved") == 1 and obj["not_moved"] == 3 and
           [said[p]["outcome"] for p in paths] == ["failed", "failed", "moved", "failed"],
           "it goes on past those that fail", obj)
        ok("refused" in said[paths[0]]["reason"] and "closed" in said[paths[1]]["reason"] and
           "does the VMM run" in said[paths[3]]["reason"] and said[paths[3]]["time_ns"] is None and
           said[paths[3]]["session"] is None, "and says why each one did", obj)
        some.close()
    with tempfile.TemporaryDirectory() as tmp:
        some = Several(tmp, (2, [step("in-doubt", DOUBT, 110)]), (1, [step("running", FAILED, 32)]))
        obj = evacuated("one in doubt, one failed", IN_DOUBT, *to, *to, *some.paths)
        ok([v["outcome"] for v in obj.get("vms", ())] == ["in-doubt", "failed"],
           "both are told", obj)
        some.close()
    with tempfile.TemporaryDirectory() as tmp:
        some = Several(tmp, (1, MOVES), (1, ()))
        some.vms[1].vm = "incoming"
        obj = evacuated("a VMM without a guest", NOT_MOVED, *to, *some.paths)
        ok(obj.get("moved") == 1 and "it is incoming" in obj["vms"][1]["reason"],
           "a VMM without a guest", obj)
        some.close()
    source.close()


def addresses():
    source, port = listener()
    with tempfile.TemporaryDirectory() as tmp:
        some = Several(tmp, (1, MOVES), (1, ()), (1, MOVES), (1, ()))
        obj = evacuated("two addresses for four", NOT_MOVED, "--to", f"tcp:127.0.0.1:{port}",
                        "--to", "tcp:127.0.0.1:1", *some.paths)
        # Nobody listens at the ports behind these two.
        ok([v["to"] for v in obj.get("vms", ())] ==
           [f"tcp:127.0.0.1:{p}" for p in (port, 1, port + 1, 2)], "in turn, then the next port",
           obj)
        some.close()
    source.close()
    for what, words, args in (
            ("no address", "where receivers listen", ("a.ctl",)),
            ("no VMM", "control sockets", ("--to", "tcp:a:1")),
            ("a bad address", "is not an address", ("--to", "a:1", "a.ctl")),
            ("a port without a next", "no port 1 behind", ("--to", "tcp:a:65535", "a", "b")),
            ("a port with a name", "no port 1 behind", ("--to", "tcp:a:http", "a", "b")),
            ("no jobs", "from 1 to 64", ("--to", "tcp:a:1", "a", "--jobs", "0")),
            ("a bad bandwidth", "not a bandwidth", ("--to", "tcp:a:1", "a", "--bandwidth", "x")),
            ("a bad throttle", "'never', 'auto'", ("--to", "tcp:a:1", "a", "--throttle", "x")),
            ("an option of receive", "not understood", ("--to", "tcp:a:1", "a", "--max-pinned",
                                                        "1M"))):
        expect(f"evacuate: {what}", USAGE, "evacuate", *args, err=(words,), fake=None)


def interrupted():
    source, port = listener()
    with tempfile.TemporaryDirectory() as tmp:
        some = Several(tmp, (2, live(1)), (1, MOVES))
        to = ("--to", f"tcp:127.0.0.1:{port}") * 2
        with subprocess.Popen([FERRYCTL, "evacuate", *to, *some.paths, "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            some.vms[0].begun.wait(TIMEOUT)
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=TIMEOUT)
        obj = ctl.objects(out)[0] if out else {}
        ok(p.returncode == NOT_MOVED and [v["outcome"] for v in obj.get("vms", ())] ==
           ["failed", "failed"] and "interrupted" in obj["vms"][1]["reason"],
           "an interrupt ends it", f"{p.returncode}\n{out}\n{err}")
        ok([r["cmd"] for name, r in some.log if name == "vm0"].count("cancel") == 1 and
           not some.vms[1].begun.is_set(), "one is cancelled, the other not begun", some.log)
        some.close()
    source.close()


def sleeping(process):
    """It waits for something; at most TIMEOUT is waited for that."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
            if f.read().rpartition(")")[2].split()[0] == "S":
                return True
    return False


def half_open(port):
    """How many connections to PORT wait for the first answer."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


def interrupted_connect(what, way, port, under_way):
    with tempfile.TemporaryDirectory() as tmp:
        some = Several(tmp, (2, MOVES), (1, MOVES))
        to = ("--to", f"{way}:127.0.0.1:{port}") * 2
        with subprocess.Popen([FERRYCTL, "evacuate", *to, *some.paths, "--json", "--timeout", "50s"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            begun = under_way() and sleeping(p)
            p.send_signal(signal.SIGINT)
            since = time.monotonic()
            out, err = p.communicate(timeout=TIMEOUT)
            took = time.monotonic() - since
        obj = ctl.objects(out)[0] if out else {}
        ok(begun and p.returncode == NOT_MOVED and took < 25 and
           [v["reason"] for v in obj.get("vms", ())] ==
           ["interrupted while it was being connected", "interrupted before its turn came"] and
           not any(vm.begun.is_set() for vm in some.vms), f"an interrupt ends {what}",
           f"{begun} {took} {p.returncode}\n{out}\n{err}")
        some.close()


def connects_interrupted():
    # Its queue is full, and so it does not answer.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fill = []
        while not half_open(port):
            fill.append(socket.socket())
            fill[-1].setblocking(False)
            fill[-1].connect_ex(("127.0.0.1", port))
        before = half_open(port)

        def another():
            end = time.monotonic() + TIMEOUT
            while half_open(port) <= before and time.monotonic() < end:
                pass
            return half_open(port) > before

        interrupted_connect("a connect", "tcp", port, another)
        for one in fill:
            one.close()
    # It takes the connection, and does not say where it listens for RDMA.
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(1)
        mute.settimeout(TIMEOUT)
        taken = []

        def offered():
            taken.append(mute.accept()[0])
            taken[0].settimeout(TIMEOUT)
            return taken[0].recv(1) != b""

        interrupted_connect("waiting for an answer", "rdma", mute.getsockname()[1], offered)
        taken[0].close()


def measured_order():
    """By what they were measured to need, not by their memory."""
    source, port = listener()
    to = ("--to", f"tcp:127.0.0.1:{port}") * 4
    guests = (hot(200e6), even(present=100000000), hot(400e6), even(present=900000000))
    with tempfile.TemporaryDirectory() as tmp:
        some = Several(tmp, *((4 - n, live(3) + MOVES) for n in range(4)), guests=guests)
        obj = evacuated("measured", OK, *to, *some.paths, "--jobs", "2", "--bandwidth",
                        "1000MB", "--downtime", "250ms", "--measure", "1")
        half, whole = 500000000, 1000000000
        # 200 MB in 230 ms want more than a half of it; 400 MB in 230 ms more than all.
        ok(some.begun() == [("vm3", half), ("vm1", half), ("vm0", whole), ("vm2", whole)],
           "the longest first, then what needs the link for itself, then what needs more",
           some.begun())
        windows = [r for name, r in some.log if r["cmd"] == "measure" and name == "vm2"]
        ok(windows[0] == {"cmd": "measure", "window": True} and
           windows[-1] == {"cmd": "measure", "stop": True}, "measured, and stopped", windows)
        ok(obj.get("moved") == 4, "all have moved", obj)
        some.close()
    source.close()
    for bad in ("0", "0.5", "3601", "100ms", "x", ""):
        expect(f"measured for '{bad}'", USAGE, "evacuate", "--to", "tcp:a:1", "a", "--measure", bad,
               err=("from 0.5s to 3600",), fake=None)


def estimated(what, guest, *args):
    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"), guest=guest)
        r = ferryctl("estimate", vmm.path, "--seconds", "1", "--json", *args, fake=None)
        obj = parsed(f"{what}: JSON", r, "name", "memory", "present", "dirtied", "policy",
                     "least_bandwidth")
        ok(r.returncode == OK and not r.stderr, f"{what}: exit code 0", r.stderr)
        asked = [request for request in vmm.requests if request["cmd"] == "measure"]
        vmm.close()
        return obj, asked


def about(have, want, part=0.05):
    return have is not None and abs(have - want) <= want * part


def estimates():
    link = ("--bandwidth", "100MB", "--downtime", "250ms")
    obj, asked = estimated("even", even(), *link)
    # 5 s for 500 MB, 0.5 s for 50 MB, and 5 MB in 50 ms, of a pause of 73.
    one = obj["unthrottled"]
    ok(one["converges"] and one["passes"] == 2 and about(one["time_ns"], 5.573e9) and
       about(one["bytes"], 555e6) and about(one["downtime_ns"], 73e6), "even: time, bytes, pause", obj)
    ok(obj["policy"] == "never" and obj["throttle"] is None and obj["throttled"] == one and
       about(obj["least_bandwidth"], 10.1e6), "even: needs nothing", obj)
    ok([p["bytes"] for p in obj["dirtied"]] == sorted(p["bytes"] for p in obj["dirtied"]) and
       about(obj["dirtied"][-1]["ns"], 0.625e9, 0.3) and obj["dirtied"][0]["ns"] < 30e6 and
       all(about(p["bytes"], p["ns"] / 100) for p in obj["dirtied"]), "even: a curve", obj)
    ok([r.get("window") for r in asked].count(True) == 4 and asked[-1].get("stop"),
       "three short windows and a long one, and stopped", asked)

    ok(obj["rings_ns"] is None and obj["state_ns"] is None and obj["round_trip_ns"] == 1000000 and
       obj["fixed_ns"] == 23000000, "what the VMM does not tell is guessed", obj)
    obj, _ = estimated("a VMM that tells more", even(rings_ns=4000000, state_ns=60000000), *link,
                       "--round-trip", "2ms")
    ok(obj["rings_ns"] == 4000000 and obj["state_ns"] == 60000000 and
       obj["round_trip_ns"] == 2000000 and obj["fixed_ns"] == 70000000 and
       about(obj["unthrottled"]["downtime_ns"], 120e6), "what it tells counts, and the link", obj)
    obj, _ = estimated("a link without length", even(rings_ns=4000000, state_ns=0), *link,
                       "--round-trip", "0")
    ok(obj["state_ns"] is None and obj["fixed_ns"] == 14000000, "a round trip of 0", obj)

    obj, _ = estimated("hot", hot(), *link)
    one = obj["unthrottled"]
    ok(not one["converges"] and one["time_ns"] is None and about(one["downtime_ns"], 1.023e9) and
       about(obj["least_bandwidth"], 440.5e6), "hot: does not converge", obj)
    ok(obj["policy"] == "auto" and obj["throttle"] > 1024 and obj["throttled"]["converges"] and
       obj["throttled"]["downtime_ns"] <= 250e6, "hot: held back it does", obj)
    obj, _ = estimated("hot, with a floor", hot(), *link, "--floor", "1000000")
    ok(obj["policy"] == "rate", "below auto's floor", obj)
    obj, _ = estimated("a short pause", even(), "--downtime", "10ms")
    ok(obj["policy"] == "none" and obj["least_bandwidth"] is None, "no link would do", obj)

    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"), guest=even())
        expect("for people", OK, "estimate", vmm.path, "--seconds", "0.5s", *link, fake=None,
               out=("about 477 MiB have to be carried", "At 800 Mbit/s",
                    "converges   yes, after 2 passes", "throttle    never",
                    "10.0 ms (a guess) for the rings, 10.0 ms (a guess) for the VMM's state",
                    "3.00 ms for round trips"))
        vmm.close()


def not_estimated():
    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"), refuse="a migration is under way")
        expect("a VMM that refuses", ERROR, "estimate", vmm.path, fake=None,
               err=("a migration is under way",))
        vmm.close()
        vmm = FakeVmm(os.path.join(tmp, "odd"), guest=Guest(lambda after: 0, memory=0))
        expect("a VMM that measures nonsense", ERROR, "estimate", vmm.path, "--seconds", "0.5s",
               fake=None, err=("make no sense",))
        vmm.close()
        path = os.path.join(tmp, "qmp")
        with socket.socket(socket.AF_UNIX) as stream:
            stream.bind(path)
            stream.listen(1)
            expect("QEMU's monitor", ERROR, "estimate", path, fake=None,
                   err=("EOPNOTSUPP", "calc-dirty-rate"))
        expect("nobody", ERROR, "estimate", os.path.join(tmp, "none"), fake=None,
               err=("does the VMM run",))
        vmm = FakeVmm(os.path.join(tmp, "killed"), guest=even())
        with subprocess.Popen([FERRYCTL, "estimate", vmm.path, "--seconds", "100"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            while not vmm.guest.windows:
                pass
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=TIMEOUT)
        ok(p.returncode == ERROR and "interrupted; the guest runs on" in err, "an interrupt", err)
        vmm.close()
    for what, words, args in (
            ("nothing", "one VMM", ()), ("two", "one VMM", ("a", "b")),
            ("no time", "from 0.5s", ("a", "--seconds", "0")),
            ("no bandwidth", "not a bandwidth", ("a", "--bandwidth", "0")),
            ("no pause", "not a time", ("a", "--downtime", "0")),
            ("no round trip", "not a time", ("a", "--round-trip", "far")),
            ("no floor", "not pages a second", ("a", "--floor", "0")),
            ("another option", "not understood", ("a", "--channels", "2"))):
        expect(f"estimate: {what}", USAGE, "estimate", *args, err=(words,), fake=None)


def cheap(what, code, guest, *args, deadline="5s", out=(), err=()):
    source, port = listener()
    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"), script=[step("gone", DONE)], guest=guest)
        expect(what, code, "migrate", vmm.path, f"tcp:127.0.0.1:{port}", "--when-cheap=200ms",
               "--deadline", deadline, "--bandwidth", "100MB", "--downtime", "250ms", *args,
               fake=None, out=out, err=err)
        windows, moved = guest.windows, vmm.begun.is_set()
        vmm.close()
    source.close()
    return windows, moved


def when_cheap():
    def curve(rate):
        return lambda after: rate * after

    little = curve(2e6)
    windows, moved = cheap("always the same", OK, Guest(lambda after: 5e6),
                           out=("waiting: it would take", "The guest has moved"))
    ok(moved and windows == 5, "always the same is cheap enough, once five were seen", windows)
    rising = [curve(n * 1e6) for n in (20, 30, 40, 50, 60, 70, 1, 80)]
    windows, moved = cheap("a quiet moment", OK, Guest(rising), out=("The guest has moved",))
    ok(moved and windows == 7, "dearer each time, until the seventh is cheap", windows)
    windows, moved = cheap("it converges at last", OK, Guest([lambda after: 1e8] * 2 + [little]),
                           out=("would not converge now", "The guest has moved"))
    ok(moved and windows == 3, "one that does not converge waits until it does", windows)
    windows, moved = cheap("the deadline", OK, Guest(lambda after: 1e8), deadline="700ms",
                           out=("would not converge now", "The guest has moved"))
    ok(moved and windows in (2, 3), "at the deadline it is started anyway", windows)
    windows, moved = cheap("the deadline, or not", NOT_CHEAP, Guest(lambda after: 1e8), "--or-not",
                           "--json", deadline="700ms", err=("no cheap moment", "nothing was started"))
    ok(not moved and windows in (2, 3), "or it is not", windows)
    windows, moved = cheap("held back", OK, Guest(lambda after: 1e8, demand=(1000000,)), "--throttle",
                           "auto", out=("would take", "The guest has moved"))
    # How far they would have to be, and so what it would send, is a matter of milliseconds.
    ok(moved and windows >= 5, "with vCPUs held back it converges", windows)
    for what, words, args in (
            ("no deadline", "needs a --deadline", ("--when-cheap",)),
            ("only a deadline", "need --when-cheap", ("--deadline", "5s")),
            ("only --or-not", "need --when-cheap", ("--or-not",)),
            ("a short window", "from 200ms", ("--when-cheap=10ms", "--deadline", "5s")),
            ("a short deadline", "as one window", ("--when-cheap", "--deadline", "1s")),
            ("a long deadline", "7 days", ("--when-cheap", "--deadline", "20000min"))):
        expect(f"--when-cheap: {what}", USAGE, "migrate", "a", "tcp:b:1", *args, err=(words,),
               fake=None)
    expect("receive has no --when-cheap", USAGE, "receive", "a", "tcp:1", "--when-cheap",
           err=("not understood",), fake=None)


def main():
    return ctl.done((all_go, some_fail, addresses, interrupted, connects_interrupted, measured_order, estimates,
                     not_estimated, when_cheap))


sys.exit(main())
