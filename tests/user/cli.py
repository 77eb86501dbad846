#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""ferryctl as people and programs meet it, without a kernel module.

Sessions come from fake_module.so (LD_PRELOAD), a VMM from a thread of this
program that answers at a control socket. Speaks TAP.
"""
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile

import ctl
from ctl import (DONE, DOUBT, ERROR, FAILED, FERRYCTL, FINAL, IN_DOUBT, LIVE, NO_MODULE,
                 NO_SESSION, NOT_MOVED, NOT_READY, OK, TIMEOUT, UNKNOWN, USAGE, FakeVmm, Terminal,
                 expect, ferryctl, listener, ok, parsed, step)

RING_KEYS = ("ring_id ring_entries dirty_pages dirty_rate throttle_rate waits wait_ns "
             "throttle_ns").split()
REGION_KEYS = "region_id name pages dirty_pages dirty_rate working_set".split()


def usage():
    for cmd in ("status", "list", "watch", "stats", "set", "abort", "migrate", "receive", "estimate",
                "evacuate", "plot", "history", "metrics", "check", "unload"):
        expect(f"{cmd} --help", OK, cmd, "--help", out=("ferryctl ", cmd, "Usage:"), fake=None)
    expect("--help lists the commands", OK, "--help", out=("migrate", "plot", "metrics", "check", "abort"))
    expect("--version", OK, "--version", out=("ferryctl 0.",))
    rows = [
        ("an unknown command", ("frobnicate",)),
        ("an unknown option", ("list", "--frobnicate")),
        ("an argument too many", ("list", "3")),
        ("a session that is no number", ("status", "abc")),
        ("a negative session", ("abort", "-1")),
        ("watch without a session", ("watch",)),
        ("watch with a wrong interval", ("watch", "3", "--interval", "0")),
        ("set without a limit", ("set", "3")),
        ("set without a session", ("set", "--bandwidth", "1G")),
        ("set with a wrong size", ("set", "3", "--bandwidth", "fast")),
        ("set with a wrong final bandwidth", ("set", "3", "--final-bandwidth", "fast")),
        ("receive with a final bandwidth", ("receive", "/nowhere", "tcp:1", "--final-bandwidth",
                                            "1G")),
        ("migrate with a wrong final bandwidth", ("migrate", "/nowhere", "tcp:a:1",
                                                  "--final-bandwidth", "none")),
        ("host with a session", ("host", "3")),
        ("host with a wrong bandwidth", ("host", "--bandwidth", "same")),
        ("host without its value", ("host", "--bandwidth")),
        ("set with a wrong time", ("set", "3", "--downtime", "5h")),
        ("an option without its argument", ("set", "3", "--downtime")),
        ("set with a wrong throttle", ("set", "3", "--throttle", "sometimes")),
        ("set with a throttle of 0", ("set", "3", "--throttle", "0")),
        ("set with a throttle with a unit", ("set", "3", "--throttle", "20K")),
        ("set with a floor that is a word", ("set", "3", "--throttle-floor", "auto")),
        ("migrate with a wrong throttle", ("migrate", "/nowhere", "tcp:a:1", "--throttle", "-1")),
        ("migrate with a wrong floor", ("migrate", "/nowhere", "tcp:a:1", "--throttle-floor",
                                        "4294967297")),
        ("receive with a throttle", ("receive", "/nowhere", "tcp:1", "--throttle", "auto")),
        ("receive with a floor", ("receive", "/nowhere", "tcp:1", "--throttle-floor", "64")),
        ("migrate without an address", ("migrate", "/nowhere")),
        ("migrate to no host", ("migrate", "/nowhere", "tcp:7000")),
        ("migrate by RDMA to no host", ("migrate", "/nowhere", "rdma:7000")),
        ("migrate over no channel", ("migrate", "/nowhere", "tcp:a:1", "--channels", "0")),
        ("migrate over 17 channels", ("migrate", "/nowhere", "tcp:a:1", "--channels", "17")),
        ("migrate by pigeon", ("migrate", "/nowhere", "pigeon:a:1")),
        ("receive with the source's option", ("receive", "/nowhere", "tcp:1", "--verify")),
        ("receive that pins nothing", ("receive", "/nowhere", "rdma:1", "--max-pinned", "0")),
        ("receive that pins some", ("receive", "/nowhere", "rdma:1", "--max-pinned", "some")),
        ("receive that pins too much", ("receive", "/nowhere", "rdma:1", "--max-pinned",
                                        "9000000T")),
        ("migrate with the sink's option", ("migrate", "/nowhere", "rdma:a:1", "--max-pinned",
                                            "all")),
        ("check with an argument", ("check", "now")),
        ("unload with an argument", ("unload", "now")),
        ("plot without a file", ("plot",)),
        ("plot of two files", ("plot", "a", "b")),
        ("plot to what is no picture", ("plot", "a.json", "-o", "a.pdf")),
        ("plot to a suffix alone", ("plot", "a.json", "-o", ".png")),
        ("metrics with an argument", ("metrics", "3")),
        ("metrics as JSON", ("metrics", "--json")),
        ("migrate that records what it does not wait for",
         ("migrate", "/nowhere", "tcp:a:1", "--no-wait", "--record", "x")),
    ]
    for what, args in rows:
        expect(f"{what} is a usage error", USAGE, *args, err=("ferryctl: ", "--help"))


def without_module():
    if os.path.exists("/dev/kvm_ferry"):
        ok(True, "without a module # SKIP the module is loaded here")
        return
    for args in ((), ("list",), ("watch", "3"), ("abort", "3")):
        expect(f"{' '.join(args) or 'bare'}: no module", NO_MODULE, *args,
               err=("not loaded", "modprobe kvm_ferry"), fake=None)
    r = expect("check: not ready", NOT_READY, "check", out=("FAIL", "module", "modprobe"),
               fake=None)
    obj = parsed("check --json", ferryctl("check", "--json", fake=None), "ready", "checks")
    names = [c["name"] for c in obj["checks"]]
    ok(obj["ready"] is False and {"kernel", "module", "kvm"} <= set(names)
       and len(names) == len(set(names)), "check names what it looked at, each once", names)
    ok(all(c["status"] in ("ok", "warn", "fail") and c["detail"]
           and (c["advice"] or c["status"] == "ok" or c["name"] in ("device",))
           for c in obj["checks"]), "every check has findings, and advice where it is due", r.stdout)


def sessions():
    expect("a module of another version", ERROR, "list", err=("version 2", "same release"),
           fake="version")
    expect("somebody who is not root", ERROR, "list", err=("root",), fake="eperm")
    expect("no sessions", OK, out=("No sessions.",), fake="none")
    expect("bare ferryctl is status", OK, out=("session 3", "session 9", "guest"))
    expect("options without a command are status's", OK, "--json", out=('"sessions"',))
    expect("list", OK, "list", out=("ID", "ROLE", "source", "live", "guest"))
    expect("status of one", OK, "status", "9",
           out=("session 9 (guest): source, live", "941 Mbit/s", "300 ms", "not known yet",
                "at most 256 MiB pinned for RDMA", "250 ms of that to be held back",
                "throttle    1 vCPU may dirty 10.0 MiB/s (2,560 pages)"))
    expect("status of a sink with RDMA", OK, "status", "9", fake="rdma",
           out=("RDMA        1 of 2 data channels; 33 windows, 4.00 MiB pinned, at most 20.0 MiB",
                "all of memory pinned for RDMA"))
    obj = parsed("its status --json", ferryctl("status", "9", "--json", fake="rdma"))
    s = obj["sessions"][0]
    ok(s["pinned_bytes"] == 4 << 20 and s["pinned_most_bytes"] == 20 << 20 and s["windows"] == 33
       and s["rdma_channels"] == 1 and s["limits"]["max_pinned"] == "all", "what is pinned", s)
    r = expect("stats", OK, "stats", "9", out=("ring_entries         4242", "state_bytes",
                                               "throttled_rings      1"))
    ok([line.split() for line in r.stdout.splitlines()[-3:]] == [
        RING_KEYS, ["0", "4096", "42", "30", "0", "0", "0", "0"],
        ["1", "4096", "4200", "120000", "2560", "77", "300000000", "250000000"]],
       "a table of its rings", r.stdout)
    r = expect("stats of all", OK, "stats")
    ok(r.stdout.count("ring_id") == 5, "with their rings", r.stdout)
    r = expect("stats of a sink: it has no rings", OK, "stats", "9", fake="rdma")
    ok("ring_id" not in r.stdout, "and none are shown", r.stdout)
    expect("stats of rings that cannot be read", ERROR, "stats", "9", err=("the rings are wet",),
           fake="broken")
    expect("no such session", NO_SESSION, "status", "4", err=("no session 4", "list"))
    obj = parsed("no sessions in JSON", ferryctl("list", "--json", fake="none"))
    ok(obj.get("sessions") == [], "an empty list", obj)
    obj = parsed("stats --json", ferryctl("stats", "9", "--json"))
    s = obj["sessions"][0]
    ok(s["session_id"] == 9 and s["state_name"] == "live" and s["role_name"] == "source"
       and s["ram_total"] == 512 << 20 and s["expected_downtime_ns"] is None
       and s["limits"]["max_pinned"] == 256 << 20 and s["rdma_channels"] == 0
       and s["limits"]["downtime_limit_ns"] == 300000000 and s["limits"]["verify"] is False
       and s["name"] == "guest" and s["pass"] == 1, "its fields", s)
    ok(s["throttled_rings"] == 1 and s["throttle_rate"] == 2560 and s["throttle_ns"] == 250000000
       and s["limits"]["throttle"] == "never" and s["limits"]["throttle_floor"] == 0,
       "and who is held back", s)
    ok([list(r) for r in s["rings"]] == [RING_KEYS, RING_KEYS] and s["rings"][1]["waits"] == 77
       and s["rings"][0]["throttle_rate"] == 0 and s["rings"][1]["wait_ns"] == 300000000,
       "its rings", s["rings"])
    ok([sorted(r) for r in s["regions"]] == [sorted(REGION_KEYS)] * 2 and s["regions"][1]["name"] == "rom"
       and s["regions"][0]["working_set"] == 2400, "its regions", s["regions"])
    ok(s["predicted_downtime_ns"] is None and s["working_set"] == 2400 * 4096, "what is expected of it", s)
    obj = parsed("stats --json of one that is not started", ferryctl("stats", "7", "--json"))
    ok(obj["sessions"][0]["regions"] == [], "it has no regions yet", obj)
    expect("stats, for people", OK, "stats", "9", out=("working_set", "ram\n", "rom\n"))
    expect("regions that cannot be read", ERROR, "stats", "9", fake="dry", err=("the regions are dry",))
    obj = parsed("stats --json of a sink", ferryctl("stats", "9", "--json", fake="rdma"))
    ok(obj["sessions"][0]["rings"] is None, "a sink has none", obj)
    obj = parsed("status --json", ferryctl("status", "9", "--json"))
    ok("rings" not in obj["sessions"][0], "other commands do not read them", obj)
    obj = parsed("list --json", ferryctl("list", "--json"))
    ok([s["session_id"] for s in obj["sessions"]] == [3, 5, 6, 7, 9], "all sessions", obj)


def changes():
    expect("set", OK, "set", "9", "--bandwidth", "1Gbit", "--downtime", "50ms",
           out=("1.00 Gbit/s", "50.0 ms"))
    obj = parsed("set --json", ferryctl("set", "9", "--bandwidth", "100M", "--json"), "limits")
    ok(obj["limits"]["max_bandwidth"] == 100 << 20 and obj["session_id"] == 9,
       "the limits that hold", obj)
    for asked, told in (("never", "never"), ("auto", "auto"), ("64", 64),
                        ("4294967296", 1 << 32)):
        obj = parsed(f"set --throttle {asked} --json",
                     ferryctl("set", "9", "--throttle", asked, "--json"), "limits")
        ok(obj["limits"]["throttle"] == told and obj["limits"]["throttle_floor"] == 0,
           f"throttle {told}", obj)
    obj = parsed("set --throttle-floor", ferryctl("set", "9", "--throttle", "auto",
                                                  "--throttle-floor", "4096", "--json"), "limits")
    ok(obj["limits"]["throttle"] == "auto" and obj["limits"]["throttle_floor"] == 4096,
       "the floor", obj)
    expect("set --throttle auto, for people", OK, "set", "9", "--throttle", "auto", "--throttle-floor",
           "1024", out=("vCPUs are held back if passes do not shrink", "1,024 pages a second"))
    expect("a floor that suits the link", OK, "set", "9", "--throttle", "auto", "--throttle-floor", "0",
           out=("vCPUs are held back if passes do not shrink\n",))
    expect("set --state-time", OK, "set", "9", "--state-time", "25ms", out=("own state takes 25.0 ms",))
    expect("a state time that is none", USAGE, "set", "9", "--state-time", "soon", err=("'soon' is not a time",))
    expect("a state time at a sink", ERROR, "set", "9", "--state-time", "1ms", fake="rdma",
           err=("at the source",))
    expect("set --throttle of a rate, for people", OK, "set", "9", "--throttle", "20000",
           out=("each vCPU may dirty 20,000 pages a second",))
    expect("set a throttle that is too low", ERROR, "set", "9", "--throttle", "63",
           err=("throttle is too low",))
    expect("set a floor that is too low", ERROR, "set", "9", "--throttle-floor", "63",
           err=("throttle_floor is too low",))
    expect("set a throttle at a sink", ERROR, "set", "9", "--throttle", "auto", fake="rdma",
           err=("at a source with rings",))
    expect("set what the module refuses", ERROR, "set", "9", "--bandwidth", "1",
           err=("at least 65536",))
    for asked, told in (("same", "same"), ("0", 0), ("8Mbit", 1000000)):
        obj = parsed(f"set --final-bandwidth {asked} --json",
                     ferryctl("set", "9", "--final-bandwidth", asked, "--json"), "limits")
        ok(obj["limits"]["final_bandwidth"] == told and not obj["limits"]["max_bandwidth"],
           f"final_bandwidth {told}", obj)
    expect("set --final-bandwidth, for people", OK, "set", "9", "--final-bandwidth", "1Gbit",
           out=("bandwidth of the final pass 1.00 Gbit/s",))
    expect("set --final-bandwidth 0, for people", OK, "set", "9", "--final-bandwidth", "0",
           out=("bandwidth of the final pass unlimited",))
    r = expect("set --final-bandwidth same, for people", OK, "set", "9", "--final-bandwidth", "same")
    ok("final pass" not in r.stdout, "that is not worth a line", r.stdout)
    expect("set a final bandwidth that is too low", ERROR, "set", "9", "--final-bandwidth", "1",
           err=("final_bandwidth must be at least 65536",))
    expect("set a final bandwidth at a sink", ERROR, "set", "9", "--final-bandwidth", "0",
           err=("at the source",), fake="rdma")
    expect("set for nobody", NO_SESSION, "set", "4", "--downtime", "1s", err=("no session 4",))
    expect("abort", OK, "abort", "9", out=("session 9: aborted",))
    obj = parsed("abort --json", ferryctl("abort", "9", "--json"), "sessions")
    ok(obj["sessions"][0]["state_name"] == "aborted"
       and obj["sessions"][0]["error_name"] == "ECANCELED", "what abort left", obj)
    expect("abort of nobody", NO_SESSION, "abort", "4", err=("no session 4",))
    expect("abort after COMMIT", ERROR, "abort", "6", err=("COMMIT",))


def hosts():
    expect("host without a limit", OK, "host", out=("unlimited", "2 sessions", "5.00 GiB"))
    expect("host without sessions", OK, "host", fake="none", out=("0 sessions",))
    expect("host, of somebody who is not root", OK, "host", fake="eperm", out=("unlimited",))
    expect("host --bandwidth", OK, "host", "--bandwidth", "2Gbit",
           out=("all sources: 2.00 Gbit/s", "one may send 1.00 Gbit/s"))
    for asked, told in (("100M", 100 << 20), ("none", 0), ("0", 0)):
        obj = parsed(f"host --bandwidth {asked} --json",
                     ferryctl("host", "--bandwidth", asked, "--json"), "share")
        ok(obj["max_bandwidth"] == told and obj["share"] == told // 2 and obj["sessions"] == 2
           and obj["transferred"] == 5 << 30, "what holds", obj)
    expect("host: what the module refuses", ERROR, "host", "--bandwidth", "65535",
           err=("at least 65536",))
    expect("host: not root", ERROR, "host", "--bandwidth", "1G", fake="eperm", err=("root",))
    expect("host: an older module", ERROR, "host", fake="old", err=("older than ferryctl",))


def watching():
    expect("watch a session that moves", OK, "watch", "3", "--interval", "1ms",
           out=("live", "final", "done", "The guest has moved", "12.3 ms", "feedbeefcafe1234"))
    expect("watch one that fails", NOT_MOVED, "watch", "5", "--interval", "1ms",
           out=("failed", "whole at its source", "closed"))
    expect("watch one in doubt", IN_DOUBT, "watch", "6", "--interval", "1ms", out=("in doubt",))
    expect("watch one that is closed", UNKNOWN, "watch", "7", "--interval", "1ms",
           out=("not known",))
    r = expect("watch --json", OK, "watch", "3", "--interval", "1ms", "--json")
    lines = [json.loads(line) for line in r.stdout.splitlines()]
    ok(all(o["version"] == 1 for o in lines) and lines[-1]["outcome"] == "moved"
       and lines[-1]["exit_code"] == 0 and lines[-1]["session"]["state_name"] == "done"
       and all("session" in o for o in lines) and len(lines) > 2,
       "an object a line, the outcome last", r.stdout)
    t = Terminal("watch", "3", "--interval", "1ms", columns=132, TERM="dumb")
    code, out = t.finish(), t.out.decode()
    ok(code == OK and "\r" in out and "\033[K" in out and "The guest has moved" in out
       and "[###" in out, "a terminal that cannot be drawn on: a line is drawn over", out)
    t = Terminal("watch", "3", "--interval", "1ms", columns=80, TERM="dumb")
    code, out = t.finish(), t.out.decode()
    ok(code == OK and " %  left 7.00 MiB  link 941 Mbit/s  dirty 3.91 MiB/s" in out
       and all(len(line) < 80 for line in out.replace("\r", "\n").splitlines()),
       "and fits into 80 columns, with what matters", out)


def unloads():
    r = expect("unload names the sessions, and leaves the module alone", ERROR, "unload",
               err=("stays loaded, 5 sessions use it", "session 3 (guest): source, live",
                    "session 9 (guest)", "ferryctl abort ID"))
    ok(all(line.startswith("ferryctl: ") for line in r.stderr.splitlines()), "as sentences",
       r.stderr)
    expect("unload without sessions", OK, "unload", out=("kvm_ferry is unloaded",), fake="none")
    expect("unload of what something has open", ERROR, "unload",
           err=("kvm_ferry stays loaded", "fuser -v /dev/kvm_ferry"), fake="busy")
    expect("unload of what is not loaded", OK, "unload", out=("kvm_ferry is not loaded",),
           fake="away")
    expect("unload by somebody who is not root", ERROR, "unload", err=("only root",), fake="eperm")
    expect("unload of another release's module", OK, "unload", out=("unloaded",), fake="version")
    obj = parsed("unload --json", ferryctl("unload", "--json", fake="none"), "loaded")
    ok(obj["kind"] == "module" and obj["was_loaded"] is True and obj["loaded"] is False,
       "it says what was", obj)
    obj = parsed("unload --json of what is not loaded", ferryctl("unload", "--json", fake="away"))
    ok(obj["was_loaded"] is False and obj["loaded"] is False, "it was not", obj)
    r = ferryctl("unload", "--json")
    ok(r.returncode == ERROR and not r.stdout and "stays loaded" in r.stderr,
       "unload --json that is refused prints no object", r)


def migrate(what, code, script, *args, out=(), outcome=None, refuse=None, vm="running", err=()):
    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"), vm=vm, script=script, refuse=refuse)
        server, port = listener()
        r = ferryctl("migrate", vmm.path, f"tcp:127.0.0.1:{port}", *args, fake=None)
        server.close()
        good = (r.returncode == code and all(s in r.stdout for s in out)
                and all(s in r.stderr for s in err))
        if outcome:
            result = json.loads(r.stdout.splitlines()[-1])
            good = good and result["outcome"] == outcome and result["exit_code"] == code
        ok(good, what, f"exit {r.returncode}\n{r.stdout}\n{r.stderr}")
        vmm.close()
        return vmm


def migrating():
    moved = [step("running", LIVE), step("paused", FINAL), step("paused", DONE, migrating=True),
             step("gone", DONE)]
    vmm = migrate("migrate: a guest that moves", OK, moved, "--channels", "3", "--bandwidth",
                  "1Gbit", "--downtime", "20ms", "--verify", "--peer-timeout", "2s",
                  "--inflight", "1M", out=("live", "The guest has moved", "9.90 ms"))
    request = next(q for q in vmm.requests if q["cmd"] == "migrate")
    ok(request == {"cmd": "migrate", "data_channels": 3, "bandwidth": 125000000,
                   "downtime_ms": 20, "verify": True, "peer_timeout_ms": 2000,
                   "inflight_bytes": 1 << 20} and len(vmm.fds) == 4,
       "it asks the VMM for what was asked for, with four sockets", request)
    for how, asked in ((("--throttle", "auto", "--throttle-floor", "4096"),
                        {"throttle": "auto", "throttle_floor": 4096}),
                       (("--throttle", "never"), {"throttle": "never"}),
                       (("--final-bandwidth", "same"), {"final_bandwidth": "same"}),
                       (("--final-bandwidth", "80Mbit"), {"final_bandwidth": 10000000}),
                       (("--throttle", "20000"), {"throttle": 20000})):
        vmm = migrate(f"migrate: {' '.join(how)}", OK, moved, *how, "--json", outcome="moved")
        request = next(q for q in vmm.requests if q["cmd"] == "migrate")
        ok(request == {"cmd": "migrate", "data_channels": 2, **asked}, "the VMM is told",
           request)
    vmm = migrate("migrate: nothing asked for", OK, moved, "--json", outcome="moved")
    request = next(q for q in vmm.requests if q["cmd"] == "migrate")
    ok(request == {"cmd": "migrate", "data_channels": 2} and len(vmm.fds) == 3,
       "the defaults are the VMM's", request)
    failed_step = step("running", FAILED, 32)
    failed_step["session"]["reason"] = "the peer closed the control channel"
    migrate("migrate: a failure, in words", NOT_MOVED, [step("running", LIVE), failed_step],
            out=("whole at its source", "the peer closed the control channel"))
    migrate("migrate: a session that is gone again", NOT_MOVED,
            [step("running", LIVE), {"vm": "running", "session": None}], "--json",
            outcome="failed")
    migrate("migrate: in doubt", IN_DOUBT, [step("running", LIVE), step("in-doubt", DOUBT, 110)],
            "--json", outcome="in-doubt")
    migrate("migrate: the VMM dies", UNKNOWN, [step("running", LIVE), step("leaves", LIVE)],
            "--json", outcome="unknown")
    migrate("migrate: the VMM leaves after its guest", OK,
            [step("running", LIVE), step("paused", DONE, migrating=True), step("leaves", DONE)],
            "--json", outcome="moved")
    migrate("migrate --no-wait", OK, [step("running", LIVE)], "--no-wait", "--json",
            outcome="started")
    migrate("migrate: the VMM refuses", ERROR, [], refuse="the link is a hat",
            err=("the link is a hat",))
    migrate("migrate: no guest to give away", ERROR, [], vm="incoming", err=("incoming",))
    r = ferryctl("migrate", "/nonexistent/socket", "tcp:127.0.0.1:1", fake=None)
    ok(r.returncode == ERROR and "/nonexistent/socket" in r.stderr, "migrate: no VMM", r.stderr)
    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"))
        server, port = listener()
        server.close()
        r = ferryctl("migrate", vmm.path, f"tcp:127.0.0.1:{port}", fake=None)
        ok(r.returncode == ERROR and "does the receiver listen" in r.stderr
           and not vmm.begun.is_set(), "migrate: nobody listens", r.stderr)
        vmm.close()


def interrupted():
    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"), script=[step("running", LIVE)])
        server, port = listener()
        with subprocess.Popen([FERRYCTL, "migrate", vmm.path, f"tcp:127.0.0.1:{port}"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            begun = vmm.begun.wait(TIMEOUT)
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=TIMEOUT)
        server.close()
        ok(begun and p.returncode == NOT_MOVED and any(q["cmd"] == "cancel" for q in vmm.requests),
           "migrate: Ctrl-C cancels and tells how it ended", f"{p.returncode}\n{out}\n{err}")
        vmm.close()


def hello(token, channels):
    body = struct.pack("<HHIQ16sHHIQ32s", 1, 1, 12, 0, token, channels, 1, 10000, 0, b"")
    body += struct.pack("<QQQ32s", 0, 1 << 20, 0, b"ram")
    return struct.pack("<4sHHII", b"FrY1", 1, 0, len(body), 0) + body


def channel(token, index, channels):
    body = struct.pack("<16sHHI", token, index, channels, 0)
    return struct.pack("<4sHHII", b"FrY1", 3, 0, len(body), 0) + body


def rdma(pinned, asked, scheme="rdma", port_there=4711):
    """
    Both ends hand one socket over, or, with rdma+tcp, one more for each channel, and say
    what the VMM's session is to do. @port_there 0: the sink goes on by TCP.
    """
    sockets = 1 if scheme == "rdma" else 4
    with tempfile.TemporaryDirectory() as tmp:
        sink = FakeVmm(os.path.join(tmp, "sink"), vm="incoming", script=[
            step("incoming", LIVE, role=1), step("running", DONE, role=1)])
        source = FakeVmm(os.path.join(tmp, "source"), script=[
            step("running", LIVE), step("gone", DONE)])
        probe, port = listener()
        probe.close()
        receive = subprocess.Popen(
            [FERRYCTL, "receive", sink.path, f"{scheme}:127.0.0.1:{port}", "--json", *pinned],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        receive.stderr.readline()
        move = subprocess.Popen(
            [FERRYCTL, "migrate", source.path, f"{scheme}:127.0.0.1:{port}", "--channels", "3"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        sink_begun = sink.begun.wait(TIMEOUT)
        too_early = source.begun.wait(0.3)
        got = socket.socket(fileno=os.dup(sink.fds[0]))
        words = b"" if port_there else b"no device"
        got.sendall(struct.pack("<4sHHHHI", b"FrR1", 1, port_there, len(words), bool(words), 0)
                    + words)
        out = (*move.communicate(timeout=TIMEOUT), *receive.communicate(timeout=TIMEOUT))
        ok(sink_begun and not too_early and move.returncode == OK and receive.returncode == OK,
           f"{scheme}: a guest moves", out)
        ok(("goes on by TCP: no device" in out[1]) != bool(port_there),
           f"{scheme}: whether it goes on by TCP", out)
        for vmm, cmd, number, more in ((sink, "receive", port, asked),
                                       (source, "migrate", port_there, {})):
            request = next((q for q in vmm.requests if q["cmd"] == cmd), None)
            how = {"rdma": number} if number else {}
            ok(request == {"cmd": cmd, "data_channels": 3, **how, **more}
               and len(vmm.fds) == sockets, f"{scheme}: what {cmd} asks for, with its sockets",
               request)
        got.setblocking(False)
        try:
            left = got.recv(100)
        except BlockingIOError:
            left = b""
        ok(left == b"", f"{scheme}: nothing is left for the module that is not its own", left)
        got.close()
        sink.close()
        source.close()


def receiving():
    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"), vm="incoming", script=[
            step("incoming", LIVE, role=1), step("running", DONE, role=1)])
        # A free port: taken for a moment, then ferryctl's.
        probe, port = listener()
        probe.close()
        with subprocess.Popen([FERRYCTL, "receive", vmm.path, f"tcp:127.0.0.1:{port}", "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            line = p.stderr.readline()
            messages = [b"GET / HTTP/1.1\r\n\r\n" + b" " * 40, channel(b"t" * 16, 1, 2),
                        hello(b"t" * 16, 2), channel(b"t" * 16, 0, 2)]
            conns = []
            for message in messages:
                conns.append(socket.create_connection(("127.0.0.1", port), TIMEOUT))
                conns[-1].sendall(message)
            out, err = p.communicate(timeout=TIMEOUT)
        result = ctl.objects(out)[0] if out else {}
        ok("listening" in line and p.returncode == OK and result.get("outcome") == "moved",
           "receive: a guest comes", f"{p.returncode}\n{out}\n{err}")
        got = [socket.socket(fileno=os.dup(fd)) for fd in vmm.fds]
        heads = [s.recv(200) for s in got]
        ok(heads == [messages[2], messages[3], messages[1]],
           "receive: control, data 0, data 1, with every byte", heads)
        for s in got + conns:
            s.close()
        vmm.close()
    for pinned, asked in (((), {}), (("--max-pinned", "64M"), {"max_pinned": 64 << 20}),
                          (("--max-pinned", "all"), {"max_pinned": "all"})):
        rdma(pinned, asked)
    rdma((), {}, "rdma+tcp")
    rdma((), {}, "rdma+tcp", 0)
    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"), vm="incoming")
        r = ferryctl("receive", vmm.path, "tcp:127.0.0.1:0", "--timeout", "100ms", fake=None)
        ok(r.returncode == ERROR and "no migration came in time" in r.stderr
           and not vmm.begun.is_set(), "receive: nobody comes", r.stderr)
        vmm.close()
    with tempfile.TemporaryDirectory() as tmp:
        vmm = FakeVmm(os.path.join(tmp, "ctl"), vm="running")
        r = ferryctl("receive", vmm.path, "tcp:127.0.0.1:0", fake=None)
        ok(r.returncode == ERROR and "--incoming" in r.stderr, "receive: a VMM with a guest",
           r.stderr)
        vmm.close()


def main():
    return ctl.done((usage, without_module, sessions, unloads, changes, hosts, watching, migrating,
                     interrupted, receiving))


sys.exit(main())
