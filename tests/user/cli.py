#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""ferryctl as people and programs meet it, without a kernel module.

Sessions come from fake_module.so (LD_PRELOAD), a VMM from a thread of this
program that answers at a control socket. Speaks TAP.
"""
import array
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

BUILD = os.environ.get("BUILD") or os.path.join(os.path.dirname(__file__), "..", "..", "build")
FERRYCTL = os.path.join(BUILD, "user", "ferryctl")
FAKE = os.path.join(BUILD, "tests", "user", "fake_module.so")
TIMEOUT = 60

OK, ERROR, USAGE, NO_MODULE, NO_SESSION, NOT_READY, NOT_MOVED, IN_DOUBT, UNKNOWN = range(9)

count = 0
failed = 0


def ok(good, what, detail=""):
    global count, failed
    count += 1
    print(f"{'ok' if good else 'not ok'} {count} - {what}", flush=True)
    if not good:
        failed += 1
        for line in str(detail).splitlines()[:30]:
            print(f"# {line}", flush=True)


def ferryctl(*args, fake="yes"):
    """Runs ferryctl; fake=None is the machine as it is."""
    env = dict(os.environ)
    if fake:
        env.update(LD_PRELOAD=FAKE, FAKE_FERRY=fake)
    return subprocess.run([FERRYCTL, *args], env=env, capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)


def expect(what, code, *args, out=(), err=(), fake="yes"):
    r = ferryctl(*args, fake=fake)
    good = (r.returncode == code and all(s in r.stdout for s in out)
            and all(s in r.stderr for s in err)
            and not (err and r.stdout) and not (code == OK and r.stderr))
    ok(good, what, f"exit {r.returncode}\nstdout: {r.stdout}\nstderr: {r.stderr}")
    return r


def parsed(what, r, *keys):
    try:
        obj = json.loads(r.stdout)
    except ValueError as e:
        ok(False, what, f"{e}: {r.stdout}")
        return {}
    ok(obj.get("version") == 1 and all(k in obj for k in keys), what, r.stdout)
    return obj


def usage():
    for cmd in ("status", "list", "watch", "stats", "set", "abort", "migrate", "receive", "check"):
        expect(f"{cmd} --help", OK, cmd, "--help", out=("ferryctl ", cmd, "Usage:"), fake=None)
    expect("--help lists the commands", OK, "--help", out=("migrate", "check", "abort"))
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
        ("set with a wrong time", ("set", "3", "--downtime", "5h")),
        ("an option without its argument", ("set", "3", "--downtime")),
        ("migrate without an address", ("migrate", "/nowhere")),
        ("migrate to no host", ("migrate", "/nowhere", "tcp:7000")),
        ("migrate over no channel", ("migrate", "/nowhere", "tcp:a:1", "--channels", "0")),
        ("migrate over 17 channels", ("migrate", "/nowhere", "tcp:a:1", "--channels", "17")),
        ("migrate by pigeon", ("migrate", "/nowhere", "pigeon:a:1")),
        ("receive with the source's option", ("receive", "/nowhere", "tcp:1", "--verify")),
        ("check with an argument", ("check", "now")),
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
           out=("session 9 (guest): source, live", "941 Mbit/s", "300 ms", "not known yet"))
    expect("stats", OK, "stats", "9", out=("ring_entries         4242", "state_bytes"))
    expect("no such session", NO_SESSION, "status", "4", err=("no session 4", "list"))
    obj = parsed("no sessions in JSON", ferryctl("list", "--json", fake="none"))
    ok(obj.get("sessions") == [], "an empty list", obj)
    obj = parsed("stats --json", ferryctl("stats", "9", "--json"))
    s = obj["sessions"][0]
    ok(s["session_id"] == 9 and s["state_name"] == "live" and s["role_name"] == "source"
       and s["ram_total"] == 512 << 20 and s["expected_downtime_ns"] is None
       and s["limits"]["downtime_limit_ns"] == 300000000 and s["limits"]["verify"] is False
       and s["name"] == "guest" and s["pass"] == 1, "its fields", s)
    obj = parsed("list --json", ferryctl("list", "--json"))
    ok([s["session_id"] for s in obj["sessions"]] == [3, 5, 6, 7, 9], "all sessions", obj)


def changes():
    expect("set", OK, "set", "9", "--bandwidth", "1Gbit", "--downtime", "50ms",
           out=("1.00 Gbit/s", "50.0 ms"))
    obj = parsed("set --json", ferryctl("set", "9", "--bandwidth", "100M", "--json"), "limits")
    ok(obj["limits"]["max_bandwidth"] == 100 << 20 and obj["session_id"] == 9,
       "the limits that hold", obj)
    expect("set what the module refuses", ERROR, "set", "9", "--bandwidth", "1",
           err=("at least 65536",))
    expect("set for nobody", NO_SESSION, "set", "4", "--downtime", "1s", err=("no session 4",))
    expect("abort", OK, "abort", "9", out=("session 9: aborted",))
    obj = parsed("abort --json", ferryctl("abort", "9", "--json"), "sessions")
    ok(obj["sessions"][0]["state_name"] == "aborted"
       and obj["sessions"][0]["error_name"] == "ECANCELED", "what abort left", obj)
    expect("abort of nobody", NO_SESSION, "abort", "4", err=("no session 4",))
    expect("abort after COMMIT", ERROR, "abort", "6", err=("COMMIT",))


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
    out = on_terminal("watch", "3", "--interval", "1ms")
    ok("\r" in out and "\033[K" in out and "The guest has moved" in out and "[###" in out,
       "a terminal's line is drawn over", out)


def on_terminal(*args):
    parent, child = pty.openpty()
    env = dict(os.environ, LD_PRELOAD=FAKE, FAKE_FERRY="yes")
    with subprocess.Popen([FERRYCTL, *args], env=env, stdout=child, stdin=child) as p:
        os.close(child)
        out = b""
        while True:
            try:
                piece = os.read(parent, 65536)
            except OSError:         # EIO: the other side is closed
                break
            if not piece:
                break
            out += piece
        p.wait(TIMEOUT)
    os.close(parent)
    return out.decode()


# --- a VMM that is none -------------------------------------------------------

FIELDS = ("session_id role state error nr_channels total_time_ns downtime_ns ram_total "
          "ram_transferred ram_remaining dirty_sync_count").split()


class FakeVmm(threading.Thread):
    """Answers at a control socket. `script` gives its state at each status
    request after the migration was begun; the last one holds."""

    def __init__(self, path, vm="running", script=(), refuse=None):
        super().__init__(daemon=True)
        self.path, self.vm, self.script, self.refuse = path, vm, list(script), refuse
        self.requests, self.fds, self.begun = [], [], threading.Event()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.bind(path)
        self.sock.listen(1)
        self.sock.settimeout(TIMEOUT)
        self.start()

    def status(self):
        state = {"vm": self.vm, "session": None}
        if self.begun.is_set():
            state = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return {"ok": True, "version": 1, "name": "fake", "pid": 1, **state}

    def run(self):
        conn, _ = self.sock.accept()
        conn.settimeout(TIMEOUT)
        while True:
            data, anc, _, _ = conn.recvmsg(4096, socket.CMSG_SPACE(17 * 4))
            if not data:
                break
            request = json.loads(data)
            self.requests.append(request)
            for _, _, raw in anc:
                fds = array.array("i")
                fds.frombytes(raw)
                self.fds += fds
            if request["cmd"] == "status":
                reply = self.status()
            elif self.refuse:
                reply = {"ok": False, "errno": "EBUSY", "error": self.refuse}
            else:
                reply = {"ok": True}
                if request["cmd"] in ("migrate", "receive"):
                    self.begun.set()
                elif request["cmd"] == "cancel":
                    self.script = [step("running", 8, 125)]
            if reply.get("vm") == "leaves":
                break
            conn.send(json.dumps(reply).encode())
        conn.close()
        self.sock.close()

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.join(TIMEOUT)


def step(vm, state, error=0, role=0, migrating=None, **more):
    session = dict.fromkeys(FIELDS, 0)
    session.update(state=state, error=error, role=role, ram_total=1 << 30, downtime_ns=9900000,
                   total_time_ns=2000000000, reason="", name="fake", **more)
    result = {"vm": vm, "session": session}
    if migrating is not None:
        result["migrating"] = migrating
    return result


LIVE, FINAL, DONE, FAILED, DOUBT = 2, 3, 6, 7, 9


def listener():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(32)
    return s, s.getsockname()[1]


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
        result = json.loads(out) if out else {}
        ok("listening" in line and p.returncode == OK and result.get("outcome") == "moved",
           "receive: a guest comes", f"{p.returncode}\n{out}\n{err}")
        got = [socket.socket(fileno=os.dup(fd)) for fd in vmm.fds]
        heads = [s.recv(200) for s in got]
        ok(heads == [messages[2], messages[3], messages[1]],
           "receive: control, data 0, data 1, with every byte", heads)
        for s in got + conns:
            s.close()
        vmm.close()
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
    for test in (usage, without_module, sessions, changes, watching, migrating, interrupted,
                 receiving):
        test()
    print(f"1..{count}")
    return 1 if failed else 0


sys.exit(main())
