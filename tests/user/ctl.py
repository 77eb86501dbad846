# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of ferryctl share: running it, with a module or a VMM that is none.

All that it prints with --json is held against its schema, which for that allows no
keys that it does not name. Speaks TAP.
"""
import array
import fcntl
import json
import os
import pty
import socket
import struct
import subprocess
import termios
import threading
import time

import jsonschema

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..")
BUILD = os.environ.get("BUILD") or os.path.join(TOP, "build")
FERRYCTL = os.path.join(BUILD, "user", "ferryctl")
FAKE = os.path.join(BUILD, "tests", "user", "fake_module.so")
SCHEMA = os.path.join(TOP, "userspace", "ferryctl", "ferryctl.schema.json")
TIMEOUT = 60

(OK, ERROR, USAGE, NO_MODULE, NO_SESSION, NOT_READY, NOT_MOVED, IN_DOUBT, UNKNOWN,
 NOT_CHEAP) = range(10)

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


def done(tests):
    """Runs them; returns the exit code."""
    for test in tests:
        test()
    print(f"1..{count}")
    return 1 if failed else 0


# --- JSON ---------------------------------------------------------------------

def closed(schema):
    """The schema without room for keys that it does not name."""
    if isinstance(schema, list):
        return [closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object":
        result["additionalProperties"] = False
    return result


with open(SCHEMA, encoding="utf-8") as stream:
    whole = json.load(stream)
jsonschema.Draft202012Validator.check_schema(whole)
# By its kind: what is wrong with an object is said of the part that it has to follow.
validators = {part["properties"]["kind"]["const"]: jsonschema.Draft202012Validator(
    closed({**part, "$defs": whole["$defs"]}))
    for part in whole["$defs"].values() if "kind" in part["properties"]}
kinds = dict.fromkeys(validators, 0)


def objects(text):
    """The JSON objects in TEXT, one behind the other; each one follows the schema."""
    result, decoder, at = [], json.JSONDecoder(), 0
    while at < len(text):
        obj, at = decoder.raw_decode(text, at)
        result.append(obj)
        at += len(text[at:]) - len(text[at:].lstrip())
        kind = obj.get("kind")
        if kind not in validators:
            raise ValueError(f"an object of the kind {kind!r}")
        kinds[kind] += 1
        errors = list(validators[kind].iter_errors(obj))
        if errors:
            raise ValueError(f"{kind}: {'/'.join(map(str, errors[0].absolute_path))}: "
                             f"{errors[0].message[:200]}")
    return result


def checked(r):
    """A finished ferryctl, with what is wrong with its JSON in r.wrong."""
    r.wrong = ""
    if "--json" in r.args and r.stdout:
        try:
            objects(r.stdout)
        except ValueError as e:
            r.wrong = f"not after the schema: {e}"
            ok(False, f"JSON of {' '.join(r.args[1:])}", f"{r.wrong}\n{r.stdout}")
    return r


# --- ferryctl -----------------------------------------------------------------

def environment(fake="yes", **more):
    env = dict(os.environ, **more)
    if fake:
        env.update(LD_PRELOAD=FAKE, FAKE_FERRY=fake)
    return env


def ferryctl(*args, fake="yes", **more):
    """Runs ferryctl; fake=None is the machine as it is; MORE goes to its environment."""
    return checked(subprocess.run([FERRYCTL, *args], env=environment(fake, **more),
                                  capture_output=True, text=True, timeout=TIMEOUT, check=False))


def expect(what, code, *args, out=(), err=(), fake="yes", **more):
    r = ferryctl(*args, fake=fake, **more)
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


# --- a terminal ---------------------------------------------------------------

class Terminal:
    """ferryctl on a terminal of ROWS and COLUMNS; self.out is all that it wrote."""

    def __init__(self, *args, rows=24, columns=80, fake="yes", **more):
        self.parent, child = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(child)
        self.child = child
        self.out = b""
        env = environment(fake, TERM="xterm", LC_ALL="C.UTF-8")
        env.pop("NO_COLOR", None)
        env.update(more)
        # pylint: disable-next=consider-using-with
        self.p = subprocess.Popen([FERRYCTL, *args], env=env, stdout=child, stdin=child)

    def resize(self, rows, columns):
        fcntl.ioctl(self.parent, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        """What comes within that time goes to self.out; False: nothing."""
        end = time.monotonic() + seconds
        os.set_blocking(self.parent, False)
        while time.monotonic() < end:
            try:
                self.out += os.read(self.parent, 65536)
                return True
            except BlockingIOError:
                time.sleep(0.005)
        return False

    def until(self, wanted, since=0):
        """Waits for these bytes."""
        end = time.monotonic() + TIMEOUT
        while wanted not in self.out[since:] and time.monotonic() < end:
            self.read(0.1)
        return wanted in self.out[since:]

    def finish(self):
        """Its exit code; reads all that it has still written."""
        end = time.monotonic() + TIMEOUT
        while self.p.poll() is None and time.monotonic() < end:
            self.read(0.05)
        if self.p.returncode is None:
            self.p.kill()
            self.p.wait()
        while self.read(0.05):
            pass
        self.restored = termios.tcgetattr(self.child) == self.before
        os.close(self.child)
        os.close(self.parent)
        return self.p.returncode


# --- a VMM that is none -------------------------------------------------------

FIELDS = ("session_id role state error nr_channels total_time_ns downtime_ns ram_total "
          "ram_transferred ram_remaining dirty_sync_count").split()


class Guest:
    """What a fake VMM measures: DIRTY(seconds) gives the bytes that are dirty so long after a
    window's begin; a list of those: one a window, the last one again and again."""

    def __init__(self, dirty, memory=1 << 30, present=500000000, demand=(2000,), **told):
        self.curves = list(dirty) if isinstance(dirty, (list, tuple)) else [dirty]
        self.memory, self.present, self.demand = memory, present, demand
        self.told = told    # what newer VMMs say as well
        self.dirty, self.windows = self.curves[0], 0

    def begin(self):
        self.dirty = self.curves[min(self.windows, len(self.curves) - 1)]
        self.windows += 1


class FakeVmm(threading.Thread):
    """Answers at a control socket. `script` gives its state at each status
    request after the migration was begun; the last one holds."""

    def __init__(self, path, vm="running", script=(), refuse=None, guest=None, **more):
        super().__init__(daemon=True)
        self.guest, self.window = guest, 0      # a Guest, to be measured
        self.path, self.vm, self.script, self.refuse = path, vm, list(script), refuse
        self.more = more    # keys of its status
        self.log = []       # what several of them were asked, by their names
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
        return {"ok": True, "version": 1, "name": "fake", "pid": 1, **state, **self.more}

    def measured(self, request):
        now = time.monotonic()
        after = now - self.window
        if request.get("window"):
            self.window = now
            self.guest.begin()
        return {"version": 1, "session_id": 1, "memory": self.guest.memory,
                "present": self.guest.present, "window_ns": int(after * 1e9),
                "dirty": int(self.guest.dirty(after)), "dirty_pages_rate": sum(self.guest.demand), **self.guest.told,
                "rings": [{"ring_id": n, "dirty_rate": rate}
                          for n, rate in enumerate(self.guest.demand)]}

    def run(self):
        conn, _ = self.sock.accept()
        conn.settimeout(TIMEOUT)
        while True:
            data, anc, _, _ = conn.recvmsg(4096, socket.CMSG_SPACE(17 * 4))
            if not data:
                break
            request = json.loads(data)
            self.requests.append(request)
            self.log.append((self.more.get("name"), request))
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
                elif request["cmd"] == "measure" and "stop" not in request:
                    reply.update(self.measured(request))
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
