#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""How a migration is seen: ferryctl's screen, its records, its pictures, its figures for
Prometheus, and its JSON and exit codes as they are documented.

The migrations are those of fake_moving.c; with FAKE_STEP_MS they are the same on any
machine. Speaks TAP.
"""
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

import ctl
from ctl import (DONE, ERROR, FERRYCTL, FINAL, IN_DOUBT, LIVE, NO_MODULE, NOT_MOVED, OK, TIMEOUT,
                 TOP, UNKNOWN, FakeVmm, Terminal, expect, ferryctl, listener, ok, step)
import promtext

MOVES, FAILS, DOUBT, LONG, SINK, WILD = "21", "22", "23", "24", "25", "26"
SAME = (1 << 64) - 1    # KVM_FERRY_BANDWIDTH_SAME
QUICK = {"FAKE_STEP_MS": "20"}
ENTER, LEAVE = b"\033[?1049h", b"\033[?1049l"


# --- the screen ---------------------------------------------------------------

def picture(frame, rows, columns):
    """What a terminal shows of one frame, as lines; raises ValueError if it would scroll."""
    screen = [[" "] * columns for _ in range(rows)]
    row = column = 0
    for piece in re.findall(r"\033\[[?0-9;]*[A-Za-z]|[^\033]", frame):
        if piece == "\033[H":
            row = column = 0
        elif piece == "\033[K":
            screen[row][column:] = [" "] * (columns - column)
        elif piece == "\033[J":
            for lower in range(row, rows):
                screen[lower][column if lower == row else 0:] = \
                    [" "] * (columns - (column if lower == row else 0))
        elif piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            if row == rows:
                raise ValueError("the frame is higher than the terminal")
        elif piece[0] != "\033":
            if column == columns:
                raise ValueError(f"line {row} is wider than the terminal")
            screen[row][column] = piece
            column += 1
    return ["".join(line).rstrip() for line in screen]


def frames(out):
    """The frames that were drawn on the other screen."""
    return out.decode().partition("\033[?1049h")[2].partition("\033[?1049l")[0] \
        .split("\033[H")[1:]


def good_frames(t, rows, columns):
    """The pictures of all frames, or what is wrong with them as a text."""
    try:
        return [picture(f, rows, columns) for f in frames(t.out)]
    except ValueError as e:
        return str(e)


def has(pictures, *words):
    return any(all(w in "\n".join(p) for w in words) for p in pictures)


def screen():
    t = Terminal("watch", MOVES, "--interval", "1ms", fake="moving", **QUICK)
    code = t.finish()
    seen = good_frames(t, 24, 80)
    ok(isinstance(seen, list) and len(seen) > 10, "watch: every frame fits into 80x24", seen)
    ok(code == OK and t.restored and t.out.count(ENTER) == 1 and t.out.count(LEAVE) == 1
       and b"\033[?25h" in t.out, "the terminal is left as it was", t.out[-300:])
    ok(has(seen, "LIVE   web-7", "session 21, source (it leaves)", "8.00 GiB in all", "% there",
           "Gbit/s", "if the guest were paused now; the limit is 300 ms", "Pass ",
           "bandwidth unlimited", "q or Ctrl-C"), "what a migration looks like", seen[-3:])
    ok(has(seen, "Downtime   not known yet; the limit is 300 ms"), "what is not known yet", seen[:3])
    ok(has(seen, "within the limit: the VMM may pause the guest"), "that it converges", seen[-9:])
    ok(has(seen, "Switchover", "the guest is down for", "final pass"), "the switchover", seen[-3:])
    ok(has(seen[-1:], "DONE", "the guest was down for"), "and when it is over", seen[-1:])
    ok(has(seen, "   3 ", "   2 ", "   1 "), "a row a pass", seen[-3:])
    after = t.out.partition(LEAVE)[2].decode()
    ok("Session 21, source of web-7" in after and "The guest has moved" in after
       and "switchover  final pass" in after and all(len(line) <= 80 for line in
                                                     after.splitlines()),
       "what remains on the shell's screen", after)
    rows = [
        ("a larger one", MOVES, 40, 120, {}, ("at most", "pages a second")),
        ("a small one", MOVES, 10, 40, {}, ("Memory", "Link")),
        ("a guest that is not left alone", LONG, 24, 80, {"FAKE_STEP_MS": "150"},
         ("this may never end", "build-farm-worker-14-of-the-poo", "vCPUs met a full one")),
        ("a sink", SINK, 24, 80, {}, ("(it comes here)", "Received", "RDMA", "4 of 4", "silent for 10.0 s", "; pinned: 256 MiB")),
        ("a vCPU that is held back", WILD, 24, 80, {},
         ("LIVE   wild-4", "1 vCPU may dirty no more than 469 MiB/s", "to be held back",
          "downtime 300 ms, throttle auto; verify is off")),
        ("a vCPU that is held back, on a small one", WILD, 10, 40, {}, ("Memory", "Link")),
    ]
    rows += [
        ("limits of the host and of the pause", MOVES, 24, 80,
         {"FAKE_BANDWIDTH": "1250000000,125000000,250000000"},
         ("Bandwidth  all sources 10.0 Gbit/s, one 5.00 Gbit/s; while paused 2.00 Gbit/s\n", "Limits     bandwidth 1.00 Gbit/s, downtime 300 ms; verify is off")),
        ("a paused guest has all of the link", MOVES, 24, 80, {"FAKE_BANDWIDTH": "0,125000000,0"},
         ("Bandwidth  while paused unlimited\n",)),
        ("the host's limit alone", MOVES, 24, 80,
         {"FAKE_BANDWIDTH": f"1250000000,0,{SAME}"},
         ("Bandwidth  all sources 10.0 Gbit/s, one 5.00 Gbit/s\n",)),
    ]
    for what, session, high, wide, more, words in rows:
        t = Terminal("watch", session, "--interval", "1ms", fake="moving", rows=high,
                     columns=wide, **{**QUICK, **more})
        t.finish()
        seen = good_frames(t, high, wide)
        ok(isinstance(seen, list) and has(seen, *words), f"{what}: {wide}x{high}", seen[-2:])
    t = Terminal("watch", MOVES, "--interval", "1ms", fake="moving", LC_ALL="C", NO_COLOR="1",
                 **QUICK)
    t.finish()
    ok(t.out.isascii() and b"\033[3" not in t.out and b"####" in t.out,
       "ASCII and no colours, if so wanted", t.out[:2000])
    t = Terminal("watch", MOVES, "--interval", "1ms", fake="moving", **QUICK)
    t.finish()
    ok("█".encode() in t.out and b"\033[36m" in t.out, "blocks and colours else", t.out[:2000])


def left_alone():
    """It goes, or makes room, whenever it is asked to, and leaves the terminal whole."""
    for what, leave in (("the key q", lambda t: os.write(t.parent, b"q")),
                        ("Ctrl-C", lambda t: t.p.send_signal(signal.SIGINT)),
                        ("SIGTERM", lambda t: t.p.send_signal(signal.SIGTERM)),
                        ("SIGHUP", lambda t: t.p.send_signal(signal.SIGHUP))):
        t = Terminal("watch", LONG, fake="moving")
        shown = t.until(b"LIVE")
        leave(t)
        code = t.finish()
        after = t.out.partition(LEAVE)[2].decode()
        ok(shown and code == UNKNOWN and t.restored and "watching it was stopped" in after,
           f"watch ends with {what}", f"{code} {after}")
    t = Terminal("watch", LONG, fake="moving")
    t.until(b"LIVE")
    seen = len(t.out)
    t.resize(30, 100)
    t.p.send_signal(signal.SIGWINCH)
    end = time.monotonic() + TIMEOUT
    wide = False
    while not wide and time.monotonic() < end:
        t.read(0.1)
        wide = any(f.count("\n") == 29 for f in frames(t.out[:seen] + t.out[seen:])[:-1])
    ok(wide, "another size: another frame", t.out[-2000:])
    t.p.send_signal(signal.SIGTSTP)
    left = t.until(LEAVE)
    state = ""
    while state != "T" and time.monotonic() < end:
        with open(f"/proc/{t.p.pid}/stat", encoding="ascii") as f:
            state = f.read().rpartition(")")[2].split()[0]
    seen = len(t.out)
    t.p.send_signal(signal.SIGCONT)
    back = t.until(ENTER, seen) and t.until(b"LIVE", seen)
    t.p.send_signal(signal.SIGTERM)
    ok(left and state == "T" and back and t.finish() == UNKNOWN and t.restored,
       "Ctrl-Z gives the shell its screen, fg takes it again", t.out[seen:])


def lines():
    r = expect("watch without a terminal", OK, "watch", MOVES, fake="moving", FAKE_SPEED="4",
               out=("live       pass 1", "final", "done", "The guest has moved"))
    ok("\033" not in r.stdout and "\r" not in r.stdout, "has no escape sequences", r.stdout)
    r = expect("watch of a vCPU that is held back", OK, "watch", WILD, "--interval", "1ms",
               fake="moving", out=("  1 vCPU held to 469 MiB/s\n", "The guest has moved"), **QUICK)
    ok(not [line for line in r.stdout.splitlines() if "held to" in line and " live " not in line],
       "but no longer when the guest is paused", r.stdout)
    for wide, words in ((80, "  1 held to 469 MiB/s"), (160, "  1 vCPU held to 469 MiB/s")):
        t = Terminal("watch", WILD, "--interval", "1ms", columns=wide, fake="moving", TERM="dumb",
                     **QUICK)
        t.finish()
        drawn = t.out.decode().replace("\r", "\n").splitlines()
        ok(any(words in line for line in drawn) and all(len(line.replace("\033[K", "")) < wide
                                                        for line in drawn),
           f"in a line of {wide} columns", drawn[-30:])
    with subprocess.Popen([FERRYCTL, "watch", LONG, "--json"], stdout=subprocess.PIPE, text=True,
                          env=ctl.environment("moving")) as p:
        first = p.stdout.readline()
        p.send_signal(signal.SIGINT)
        out = ctl.objects(first + p.communicate(timeout=TIMEOUT)[0])
    ok(p.returncode == UNKNOWN and out[-1]["kind"] == "result"
       and out[-1]["outcome"] == "unknown" and "stopped" in out[-1]["reason"],
       "an interrupt: the last line says so", out[-1:])


# --- records ------------------------------------------------------------------

def record(session, where, code, **more):
    r = ferryctl("watch", session, "--interval", "1ms", "--record", where, "--json",
                 fake="moving", **{**QUICK, **more})
    with open(where, encoding="utf-8") as f:
        text = f.read()
    written = ctl.objects(text)
    ok(r.returncode == code and len(written) > 20 and written[-1]["kind"] == "result"
       and all(o["kind"] == "sample" for o in written[:-1]), f"a record of session {session}",
       f"{r.returncode} {r.stderr} {text[-500:]}")
    return written, r


def records(tmp):
    path = os.path.join(tmp, "moves.json")
    written, r = record(MOVES, path, OK)
    samples = [o["session"] for o in written[:-1]]
    times = [s["total_time_ns"] for s in samples]
    ok(times == sorted(times) and times[0] == 0 and samples[-1]["state_name"] == "done",
       "its samples are in order", times)
    events = [e for o in written[:-1] for e in o["events"]]
    ok(events.count("begin") == 1 and events.count("state") == 6
       and events.count("pass") == samples[-1]["pass"] > 3, "every state and pass is there", events)
    printed = ctl.objects(r.stdout)
    keys = [{k: v for k, v in o.items() if k != "time"} for o in (printed[-1], written[-1])]
    ok(keys[0] == keys[1] and len(printed) > 20, "watch --json prints the same lines", keys)
    path = os.path.join(tmp, "seldom.json")
    ferryctl("watch", MOVES, "--interval", "10min", "--record", path, fake="moving",
             FAKE_STEP_MS="150")
    with open(path, encoding="utf-8") as f:
        seldom = ctl.objects(f.read())
    ok(len(seldom) > 6 and all(o["events"] for o in seldom[:-1])
       and seldom[-2]["session"]["state_name"] == "done", "with a long interval: what changes",
       [o.get("events") for o in seldom])
    record(FAILS, os.path.join(tmp, "fails.json"), NOT_MOVED, FAKE_STEP_MS="50")
    record(DOUBT, os.path.join(tmp, "doubt.json"), IN_DOUBT)
    record(SINK, os.path.join(tmp, "sink.json"), OK)
    written, _ = record(WILD, os.path.join(tmp, "wild.json"), OK)
    rates = [o["session"]["throttle_rate"] for o in written if o["session"]["throttled_rings"]]
    ok(len(rates) > 5 and rates == sorted(rates, reverse=True), "with what is held back", rates)
    with open(os.path.join(tmp, "printed.json"), "w", encoding="utf-8") as f:
        f.write(r.stdout)
    r = expect("a record that cannot be", ERROR, "watch", MOVES, "--record",
               os.path.join(tmp, "no", "where"), fake="moving", err=("record to", "No such file"))
    r = ferryctl("watch", MOVES, "--interval", "1ms", "--record", "/dev/full", fake="moving",
                 **QUICK)
    ok(r.returncode == OK and "not whole" in r.stderr and "The guest has moved" in r.stdout,
       "a record on a full disk is told of, and the watching goes on", r.stderr)
    migrating(tmp)


def migrating(tmp):
    path = os.path.join(tmp, "migrate.json")
    script = []
    for n in range(8):
        state = LIVE if n < 6 else FINAL
        script.append(step("running", state, dirty_sync_count=1 + n // 2, link_rate=10 ** 9))
        script[-1]["session"].update(total_time_ns=n * 10 ** 9, ram_transferred=n << 27,
                                     downtime_ns=0 if n < 6 else 10 ** 7, name="")
    script.append(step("gone", DONE))
    vmm = FakeVmm(os.path.join(tmp, "ctl"), script=script)
    server, port = listener()
    r = ferryctl("migrate", vmm.path, f"tcp:127.0.0.1:{port}", "--record", path, "--json",
                 fake=None)
    server.close()
    vmm.close()
    with open(path, encoding="utf-8") as f:
        written = ctl.objects(f.read())
    ok(r.returncode == OK and len(ctl.objects(r.stdout)) == 1 and len(written) > 4
       and written[-1]["outcome"] == "moved", "migrate --record", f"{r} {written[-1:]}")
    ok(all(o["session"]["name"] == "fake" for o in written),
       "with the name that the VMM has", written[:1])
    expect("and plot draws it", OK, "plot", path, fake=None, out=("migrate.png",))


# --- pictures -----------------------------------------------------------------

def size_of(path):
    with open(path, "rb") as f:
        head = f.read(24)
    return struct.unpack(">II", head[16:24]) if head[:8] == b"\x89PNG\r\n\x1a\n" else None


def texts(path):
    """All texts of an SVG."""
    root = xml.etree.ElementTree.parse(path).getroot()
    return ["".join(e.itertext()).strip() for e in root.iter()
            if e.tag.endswith("}text")]


def svg(tmp, source, what, *wanted, absent=()):
    out = os.path.join(tmp, "out.svg")
    r = ferryctl("plot", os.path.join(tmp, source), "--output", out, fake=None)
    shown = texts(out) if r.returncode == OK else []
    every = "\n".join(shown)
    ok(r.returncode == OK and all(w in every for w in wanted)
       and not any(w in every for w in absent), what, f"{r}\n{every}")


def pictures(tmp):
    r = expect("plot: PNG, beside its record", OK, "plot", os.path.join(tmp, "moves.json"),
               "--json", fake=None)
    drawn = json.loads(r.stdout)
    ok(drawn["file"] == os.path.join(tmp, "moves.png") and size_of(drawn["file"]) == (1200, 1000),
       "it is a picture of 1200 by 1000", r.stdout)
    phases = drawn["phases"]
    ok([p["state_name"] for p in phases] == ["final", "paused", "committing"]
       and all(a["end_ns"] == b["begin_ns"] for a, b in zip(phases, phases[1:]))
       and all(p["begin_ns"] < p["end_ns"] for p in phases), "its phases follow each other", phases)
    svg(tmp, "moves.json", "SVG of a guest that leaves", 'Guest "web-7" left this host in',
        "source, session 21", "GiB", "GiB/s", "Gbit/s", "ms", "seconds since the start", "sent",
        "left to send", "what the guest dirties", "predicted", "its limit", "final pass ",
        "VMM state ", "commit ", absent=("limit of a vCPU",))
    svg(tmp, "wild.json", "one with a vCPU that is held back", "limit of a vCPU")
    svg(tmp, "printed.json", "what watch --json printed", 'Guest "web-7" left this host')
    svg(tmp, "fails.json", "one that fails", 'Guest "db-2 "primary"" did not leave this host: failed',
        "the peer closed, reset or aborted the connection", "guest never paused",
        absent=("Switchover",))
    svg(tmp, "doubt.json", "one in doubt", 'Guest "mail\\1" was to leave this host: in doubt')
    svg(tmp, "sink.json", "one that comes", 'Guest "web-8" came to this host', "received",
        absent=("left to send", "predicted"))
    made_up(tmp)
    refused(tmp)
    gnuplots(tmp)


def rewrite(tmp, name, change, keep=None):
    """A record made from another one."""
    with open(os.path.join(tmp, "moves.json"), encoding="utf-8") as f:
        records_ = [json.loads(line) for line in f][:keep]
    for obj in records_:
        change(obj)
    with open(os.path.join(tmp, name), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(obj) + "\n" for obj in records_)


def made_up(tmp):
    # Such a limit holds back nobody, and would make all else a line at the bottom.
    rewrite(tmp, "throttle.json",
            lambda o: o["session"].update(throttled_rings=4, throttle_rate=1 << 32))
    svg(tmp, "throttle.json", "a throttle far beyond what anybody does", "limit of a vCPU", "GiB/s",
        absent=("TiB/s",))
    rewrite(tmp, "old.json", lambda o: [o["session"].pop(key) for key in (
        "throttled_rings", "throttle_rate", "throttle_ns")])
    svg(tmp, "old.json", "a record of a ferryctl that knew no throttle", "what the guest dirties",
        absent=("limit of a vCPU",))
    # What gnuplot or a shell could take for something else.
    name = "a'b\"`id`$(id)@x\\n{/*}|"
    rewrite(tmp, "name.json", lambda o: o["session"].update(name=name))
    svg(tmp, "name.json", "a guest's name is a text", f'Guest "{name}" left')
    rewrite(tmp, "cut.json", lambda o: None, 30)
    svg(tmp, "cut.json", "a record without its end", "not to the end")
    with open(os.path.join(tmp, "cut.json"), "a", encoding="utf-8") as f:
        f.write('{"version":1,"kind":"sam')
    svg(tmp, "cut.json", "one whose last line is half written", "not to the end")
    rewrite(tmp, "early.json", lambda o: None, 4)
    svg(tmp, "early.json", "one that never sent a page", "0 passes, 0 B sent", "Memory", "Rates",
        absent=("predicted",))
    rewrite(tmp, "types.json",
            lambda o: o["session"].update(link_rate="x", state=[1], ram_remaining=None, limits=3))
    svg(tmp, "types.json", "figures of the wrong type are not known", "web-7")
    for odd in ("a b.json", "a'\"b;touch x.json", "|touch x.json", "-.json", "no suffix"):
        with open(os.path.join(tmp, "moves.json"), encoding="utf-8") as f, \
                open(os.path.join(tmp, odd), "w", encoding="utf-8") as g:
            g.write(f.read())
        r = subprocess.run([FERRYCTL, "plot", "--", odd], cwd=tmp, capture_output=True, text=True,
                           timeout=TIMEOUT, check=False)
        ok(r.returncode == OK and size_of(os.path.join(tmp, odd.removesuffix(".json") + ".png"))
           and not os.path.exists(os.path.join(tmp, "x")), f"a file named {odd}", r)


def refused(tmp):
    rewrite(tmp, "newer.json", lambda o: o.update(version=2))
    rewrite(tmp, "single.json", lambda o: None, 1)
    rewrite(tmp, "two.json", lambda o: o["session"].update(
        session_id=21 + (o["session"]["pass"] > 2)))
    rewrite(tmp, "without.json", lambda o: o.pop("version"))
    with open(os.path.join(tmp, "list.json"), "w", encoding="utf-8") as f:
        f.write(ferryctl("list", "--json").stdout)
    for name, text in (("empty.json", ""), ("text.json", "hello\n"), ("half.json", '{"version":'),
                       ("number.json", "5 "), ("bytes.json", "\0\0\0")):
        with open(os.path.join(tmp, name), "w", encoding="utf-8") as f:
            f.write(text)
    rows = [("newer", "version 2"), ("single", "a single sample"), ("two", "session 22"),
            ("without", "without a version"), ("list", "other output"), ("empty", "no samples"),
            ("text", "not JSON"), ("half", "not JSON"), ("number", "without a version"),
            ("bytes", "not JSON"), ("nothing", "No such file")]
    for name, words in rows:
        expect(f"plot: {name}", ERROR, "plot", os.path.join(tmp, name + ".json"), fake=None,
               err=(words, name + ".json"))
    expect("plot: a directory", ERROR, "plot", tmp, fake=None, err=("Is a directory",))
    expect("plot: no place for it", ERROR, "plot", os.path.join(tmp, "moves.json"), "-o",
           os.path.join(tmp, "no", "where.png"), fake=None, err=("No such file",))


def gnuplots(tmp):
    """Other gnuplots than one that works. What was there before is still there."""
    old = os.path.join(tmp, "old.png")
    with open(old, "w", encoding="utf-8") as f:
        f.write("old")
    path = os.path.join(tmp, "bin")
    os.mkdir(path)
    args = ("plot", os.path.join(tmp, "moves.json"), "-o", old)
    expect("plot: no gnuplot", ERROR, *args, fake=None, PATH=path,
           err=("needs gnuplot", "install gnuplot-nox"))
    for what, script, words in (
            ("one that fails", "#!/bin/sh\necho 'line 1: I am a teapot' >&2\nexit 1\n", "teapot"),
            ("one that dies", "#!/bin/sh\nkill -9 $$\n", "signal 9"),
            ("one that draws nothing", "#!/bin/sh\nexit 0\n", "status 0"),
            ("one that is none", "teapot", "gnuplot")):
        with open(os.path.join(path, "gnuplot"), "w", encoding="utf-8") as f:
            f.write(script)
        os.chmod(os.path.join(path, "gnuplot"), 0o755)
        expect(f"plot: {what}", ERROR, *args, fake=None, PATH=path, err=(words,))
    with open(old, encoding="utf-8") as f:
        ok(f.read() == "old" and not [n for n in os.listdir(tmp) if n.startswith("old.png.")],
           "nothing is left of a picture that failed", os.listdir(tmp))


# --- Prometheus ---------------------------------------------------------------

def prometheus(tmp):
    families = {}
    for fake in ("yes", "rdma", "none", "moving"):
        r = expect(f"metrics: {fake}", OK, "metrics", fake=fake)
        try:
            families[fake] = promtext.parse(r.stdout)
            ok(True, f"metrics: {fake}: what Prometheus reads")
        except ValueError as e:
            ok(False, f"metrics: {fake}: what Prometheus reads", f"{e}\n{r.stdout}")
            families[fake] = {}
    m = families["yes"]
    session = {"session": "9", "name": "guest", "role": "source"}
    s = json.loads(ferryctl("stats", "9", "--json").stdout)["sessions"][0]
    for name, value in (("memory_bytes", s["ram_total"]), ("remaining_bytes", s["ram_remaining"]),
                        ("transferred_bytes_total", s["ram_transferred"]),
                        ("duration_seconds", s["total_time_ns"] / 1e9),
                        ("dirty_bytes_per_second", s["dirty_pages_rate"] * 4096),
                        ("ring_entries_total", s["ring_entries"]),
                        ("throttled_vcpus", 1), ("throttle_bytes_per_second", 10 << 20),
                        ("throttle_seconds_total", 0.25),
                        ("downtime_limit_seconds", 0.3),
                        ("data_channels", s["nr_channels"])):
        got = promtext.value(m, f"kvm_ferry_session_{name}", session)
        ok(got == value, f"metrics: {name} is {value}", got)
    ok(promtext.value(m, "kvm_ferry_session_expected_downtime_seconds", session) is None,
       "what is not known is missing")
    ok([promtext.value(m, "kvm_ferry_session_state", {**session, "state": state})
        for state in ("live", "done")] == [1, 0]
       and sum(v for labels, v in m["kvm_ferry_session_state"]["samples"]
               if labels["session"] == "9") == 1, "it is in one state")
    ok(promtext.value(m, "kvm_ferry_sessions", {"role": "source", "state": "live"}) == 5
       and promtext.value(m, "kvm_ferry_up", {}) == 1
       and promtext.value(m, "kvm_ferry_transport_available", {"transport": "rdma"}) == 0,
       "and the host's figures")
    bandwidths()
    names = {labels["name"] for labels, _ in
             families["moving"]["kvm_ferry_session_memory_bytes"]["samples"]}
    ok('db-2 "primary"' in names and "mail\\1" in names, "names come whole", names)
    ok(promtext.value(families["rdma"], "kvm_ferry_session_pinned_bytes",
                      {**session, "role": "sink"}) == 4 << 20
       and "kvm_ferry_session_remaining_bytes" not in
       {n for n, f in families["rdma"].items() if f["samples"]}, "a sink has its own")
    to_file(tmp)


def bandwidths():
    """What the host, the session and the pause are limited to: (host, session, paused)."""
    own = {"session": "9", "name": "guest", "role": "source"}
    figures = (("host_bandwidth_limit_bytes_per_second", {}),
               ("host_share_bytes_per_second", {}),
               ("session_bandwidth_limit_bytes_per_second", own),
               ("session_final_bandwidth_limit_bytes_per_second", own))
    for what, said, wanted in (
            ("no limit", f"0,0,{SAME}", (None, None, None, None)),
            ("all of them", "8000000,2000000,3000000", (8000000, 4000000, 2000000, 3000000)),
            ("a paused guest as another", f"0,2000000,{SAME}", (None, None, 2000000, 2000000)),
            ("a paused guest has no limit", "0,2000000,0", (None, None, 2000000, None))):
        m = promtext.parse(ferryctl("metrics", FAKE_BANDWIDTH=said).stdout)
        got = tuple(promtext.value(m, f"kvm_ferry_{name}", labels) for name, labels in figures)
        ok(got == wanted, f"metrics: bandwidth limits: {what}", got)
    ok(promtext.value(m, "kvm_ferry_host_sending_sessions", {}) == 2
       and promtext.value(m, "kvm_ferry_host_transferred_bytes_total", {}) == 5 << 30,
       "metrics: what all sources send", m)
    m = promtext.parse(ferryctl("metrics", fake="rdma", FAKE_BANDWIDTH="1,2000000,0").stdout)
    ok(not m["kvm_ferry_session_bandwidth_limit_bytes_per_second"]["samples"],
       "metrics: a sink has no limit", m)
    m = promtext.parse(ferryctl("metrics", fake="old").stdout)
    ok(not any(name.startswith("kvm_ferry_host") for name in m) and "kvm_ferry_session_state" in m,
       "metrics: a module that knows no limit of the host", m)


def to_file(tmp):
    where = os.path.join(tmp, "collect")
    os.mkdir(where)
    path = os.path.join(where, "ferry.prom")
    expect("metrics --output", OK, "metrics", "--output", path)
    with open(path, encoding="ascii") as f:
        first = os.fstat(f.fileno())
        expect("and again", OK, "metrics", "-o", path)
        ok("kvm_ferry_up 1" in f.read() and os.stat(path).st_ino != first.st_ino,
           "whoever reads it meanwhile has the whole one before")
    mask = os.umask(0)
    os.umask(mask)
    ok(os.stat(path).st_mode & 0o777 == 0o666 & ~mask and os.listdir(where) == ["ferry.prom"],
       "others may read it, and nothing else is there", os.listdir(where))
    expect("metrics where there is no place", ERROR, "metrics", "-o",
           os.path.join(where, "no", "where"), err=("No such file",))
    r = ferryctl("metrics", fake="eperm")
    ok(r.returncode == ERROR and promtext.value(promtext.parse(r.stdout), "kvm_ferry_up", {}) == 0
       and "root" in r.stderr, "metrics of somebody who is not root", r)
    if not os.path.exists("/dev/kvm_ferry"):
        r = ferryctl("metrics", "-o", path, fake=None)
        with open(path, encoding="ascii") as f:
            text = f.read()
        ok(r.returncode == NO_MODULE and promtext.value(promtext.parse(text), "kvm_ferry_up", {})
           == 0 and not r.stdout, "metrics without a module say so", f"{r}\n{text}")


# --- what is written about it -------------------------------------------------

def documents():
    with open(os.path.join(TOP, "userspace", "ferryctl", "ctl.h"), encoding="ascii") as f:
        codes = sorted(int(n) for n in re.findall(r"^\tCTL_\w+ = (\d+),", f.read(), re.M))
    with open(os.path.join(TOP, "userspace", "ferryctl", "ferryctl.8"), encoding="ascii") as f:
        section = f.read().partition(".Sh EXIT STATUS")[2].partition(".Sh EXAMPLES")[0]
    told = [int(n) for n in re.findall(r"^\.It (\d+)$", section, re.M)]
    ok(told == codes == list(range(len(codes))), "ferryctl(8) tells of every exit code",
       f"{told} {codes}")
    with open(os.path.join(TOP, "docs", "json.md"), encoding="utf-8") as f:
        text = f.read()
    named = {part["$ref"].removeprefix("#/$defs/") for part in ctl.whole["oneOf"]}
    ok({ctl.whole["$defs"][name]["properties"]["kind"]["const"] for name in named} ==
       set(ctl.kinds), "every kind is one of the schema's alternatives", named)
    missing = [k for k in ctl.kinds if f'`"{k}"`' not in text]
    ok(not missing, "docs/json.md tells of every kind of object", missing)
    for cmd in ("status", "list", "stats", "abort", "set"):
        args = ("--bandwidth", "1G") if cmd == "set" else ()
        ferryctl(cmd, "9", *args, "--json") if cmd != "list" else ferryctl("list", "--json")
    ferryctl("host", "--json")
    ferryctl("check", "--json", fake=None)
    ferryctl("evacuate", "--to", "tcp:127.0.0.1:1", "none.ctl", "--json", fake=None)
    with tempfile.TemporaryDirectory() as tmp:
        vmm = ctl.FakeVmm(os.path.join(tmp, "ctl"), guest=ctl.Guest(lambda after: 1000000))
        ferryctl("estimate", vmm.path, "--seconds", "0.5s", "--json", fake=None)
        vmm.close()
    ferryctl("unload", "--json", fake="none")
    ferryctl("history", "--json")
    ok(all(ctl.kinds.values()), "every kind of object was seen, and follows the schema",
       ctl.kinds)


def main():
    with tempfile.TemporaryDirectory() as tmp:
        return ctl.done((screen, left_alone, lines, lambda: records(tmp), lambda: pictures(tmp),
                         lambda: prometheus(tmp), documents))


sys.exit(main())
