#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""ferryctl history, and what other commands learn from it, against a fake module's
records (fake_history.c). Speaks TAP.
"""
import json
import signal
import subprocess
import sys

import ctl
from ctl import (ERROR, FERRYCTL, NO_MODULE, NOT_MOVED, OK, TIMEOUT, UNKNOWN, USAGE, Terminal,
                 environment, expect, ferryctl, ok, parsed)

UTC = {"TZ": "UTC"}


def usage():
    expect("history --help", OK, "history", "--help", out=("Usage: ferryctl history", "--follow", "64"),
           fake=None)
    for what, args in (("with an id", ("history", "3")), ("with an unknown option", ("history", "-x")),
                       ("with an interval", ("history", "--interval", "1s"))):
        expect(f"history {what} is a usage error", USAGE, *args, err=("ferryctl: ", "history --help"))
    expect("without a module", NO_MODULE, "history", err=("not loaded",), fake="away")
    expect("by somebody who is not root", ERROR, "history", err=("root",), fake="eperm")
    expect("of a module that keeps none", ERROR, "history", err=("keeps no history", "same release"),
           fake="unrecorded")
    expect("when nothing has ended", OK, "history", out=("No session has ended",), fake="none")
    obj = parsed("and as JSON", ferryctl("history", "--json", fake="none"), "records")
    ok(obj["records"] == [], "no records", obj)


def table():
    r = expect("history", OK, "history", out=(
        f"2023-11-14 22:13:20  {'web-7':31}  source  moved      7.20 s   31.0 ms  5.00 GiB\n",
        "failed     9.10 s         -  2.00 GiB  EPIPE: the peer ended the migration: the VMM",
        f"2023-11-14 22:18:20  {'-':31}  source  in-doubt   12.0 s    10.0 s       0 B  "
        "ETIMEDOUT: COMMIT was sent"), **UTC)
    lines = r.stdout.splitlines()
    ok(len(lines) == 6 and lines[0].split() == ["STARTED", "NAME", "ROLE", "RESULT", "TIME", "DOWNTIME",
                                                "BYTES", "WHY"], "a line each, and a head", r.stdout)
    r = expect("by the reader's clock", OK, "history", out=("2023-11-15 00:13:20",), TZ="EET-2")
    r = expect("texts without an end", OK, "history", fake="torn", out=("n" * 31 + " ", "r" * 255))
    ok("n" * 32 not in r.stdout and "r" * 256 not in r.stdout, "are cut", r.stdout)
    for columns in (80, 60, 40, 200):
        t = Terminal("history", columns=columns, **UTC)
        code = t.finish()
        lines = t.out.decode().replace("\r", "").splitlines()
        reasons = [line for line in lines if line.startswith("    ")]
        ok(code == OK and all(len(line) <= columns for line in reasons) and reasons
           and " ".join(line.strip() for line in reasons[:3]).startswith("EPIPE: the peer ended")
           and "WHY" not in lines[0], f"reasons on a terminal of {columns} columns", "\n".join(lines))
    t = Terminal("history", columns=80, **UTC)
    t.finish()
    lines = t.out.decode().replace("\r", "").splitlines()
    ok(max(map(len, lines[:2])) <= 80 and lines[0].endswith("BYTES"), "80 columns are enough for usual rows", "\n".join(lines))


def as_json():
    r = ferryctl("history", "--json")
    records = parsed("history --json", r, "records")["records"]
    ok(r.returncode == OK and [x["number"] for x in records] == [7, 8, 9, 10, 11], "all of them, in order",
       r.stdout)
    ok(records[0] == {
        "number": 7, "session_id": 101, "name": "web-7", "role": 0, "role_name": "source",
        "owner_uid": 64055, "started": "2023-11-14T22:13:20.123Z", "started_ns": 1700000000123456789,
        "total_time_ns": 7200000000, "downtime_ns": 31000000, "ram_transferred": 5 << 30,
        "dirty_sync_count": 6, "state": 6, "state_name": "done", "error": 0, "error_name": "",
        "reason": ""}, "every figure of one", records[0])
    ok(records[1]["name"] == 'db-2 "primary"' and records[1]["error_name"] == "EPIPE"
       and records[3]["state_name"] == "in-doubt" and records[2]["role_name"] == "sink",
       "names and errors", records)


def follow(*args, lines):
    """What history --follow has printed when there are so many lines."""
    with subprocess.Popen([FERRYCTL, "history", "--follow", *args], env=environment("growing", **UTC),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        got = [p.stdout.readline() for _ in range(lines)]
        p.send_signal(signal.SIGINT)
        rest, err = p.communicate(timeout=TIMEOUT)
    return p.returncode, "".join(got) + rest, err


def following():
    code, out, err = follow(lines=8)
    rows = out.splitlines()
    ok(code == OK and len(rows) >= 8 and rows[0].startswith("STARTED") and out.count("STARTED") == 1
       and rows[6].split()[2:4] == rows[7].split()[2:4], "--follow shows what ends, until Ctrl-C",
       f"{code}\n{out}\n{err}")
    ok(err == "ferryctl: 64 more have ended, which are not kept any more\n",
       "and says what was missed", err)
    code, out, err = follow("--json", lines=7)
    got = [x for obj in ctl.objects(out) for x in obj["records"]]
    ok(code == OK and [x["number"] for x in got[:7]] == [7, 8, 9, 10, 11, 12, 77]
       and all(len(json.loads(line)["records"]) == 1 for line in out.splitlines()),
       "with --json an object a line", f"{code}\n{out}\n{err}")


def elsewhere():
    reason = "the peer ended the migration: its guest has no memory left"
    expect("watch has the reason", NOT_MOVED, "watch", "5", "--interval", "1ms", out=(reason,), fake="told")
    r = ferryctl("watch", "5", "--interval", "1ms", "--json", fake="told")
    last = ctl.objects(r.stdout)[-1]
    ok(r.returncode == NOT_MOVED and last["reason"] == reason and last["session"]["reason"] == reason,
       "so has its JSON", r.stdout)
    expect("watch learns how one ended that was closed", OK, "watch", "7", "--interval", "1ms",
           out=("The guest has moved", "4.00 s", "77.0 ms", "passes      9"), fake="told")
    r = ferryctl("watch", "7", "--interval", "1ms", "--json", fake="told")
    last = ctl.objects(r.stdout)[-1]
    ok(r.returncode == OK and last["outcome"] == "moved" and last["reason"] == ""
       and last["session"]["state_name"] == "done" and last["session"]["ram_remaining"] == 0
       and last["session"]["downtime_ns"] == 77000000, "so does its JSON", r.stdout)
    expect("one that has no record", UNKNOWN, "watch", "7", "--interval", "1ms",
           out=("before its end could be read",))
    expect("a module that keeps none", UNKNOWN, "watch", "7", "--interval", "1ms",
           out=("before its end could be read",), fake="unrecorded")
    expect("its errors are told as before", NOT_MOVED, "watch", "5", "--interval", "1ms",
           out=("closed, reset or aborted",), fake="unrecorded")


sys.exit(ctl.done((usage, table, as_json, following, elsewhere)))
