# SPDX-License-Identifier: GPL-2.0
"""
"make demo": a running guest moves from one emulated host to another.

The two hosts' scripts (tests/lab/host/demo.*.sh) do the work with minivm and
ferryctl as a person would; here is the watching, the summary and result.json.
"""
import json
import re
import sys
import threading
import time

from . import build, kernels, paths, runner, setup, verdict
from .ui import LabError, say
from .vm import HostDied, MARK

WORDS = {1: "source", 2: "sink  "}
LIMIT = 420


class Watcher:
    """Prints what the hosts say as it comes, and keeps the facts."""

    def __init__(self):
        self.partial, self.facts, self.lock = {}, {}, threading.Lock()
        self.over = set()       # hosts whose script has ended: kernel messages follow
        self.guest_on = 0
        self.colour = sys.stdout.isatty()

    def __call__(self, host, data):
        with self.lock:
            if host.number in self.over:
                return
            text = self.partial.get(host.number, b"") + data
            *lines, self.partial[host.number] = text.split(b"\n")
            for line in lines:
                if line.startswith(MARK):
                    self.over.add(host.number)
                    return
                self.line(host.number, line.decode(errors="replace").rstrip("\r"))

    def line(self, number, line):
        fact = re.match(r"fact (\w+) (.*)", line)
        if fact:
            try:
                self.facts[fact[1]] = json.loads(fact[2])
            except ValueError:
                print(f"{WORDS[number]} | {line}")
            return
        guest = line.startswith("guest| ")
        if guest:
            line = line.removeprefix("guest| ")
            if not line.strip():
                return
            if number == 2 and self.guest_on == 1:
                print("=" * 24 + " the guest goes on at the sink " + "=" * 24)
            self.guest_on = max(self.guest_on, number)
            line = f"guest at {WORDS[number].strip()}: {line}"
        start, end = ("\033[36m", "\033[0m") if guest and self.colour else ("", "")
        print(f"{WORDS[number]} | {start}{line}{end}", flush=True)


def milliseconds(nanoseconds):
    return round(nanoseconds / 1e6, 1)


def summary(facts, series, accelerated, seconds):
    """result.json, from the two VMMs' last words and the guest's own."""
    source, sink, guest = facts["source"]["session"], facts["sink"]["session"], facts["guest"]
    last = int(facts["last_at_source"].rsplit("=", 1)[1])
    first = int(facts["first_at_sink"].rsplit("=", 1)[1])
    return {
        "version": 1, "kernel": series, "accelerator": "kvm" if accelerated else "tcg",
        "vcpus": facts["source"]["vcpus"], "memory_bytes": facts["source"]["memory"],
        "total_time_ms": milliseconds(source["total_time_ns"]),
        "downtime_ms": {"guest_gap_at_switchover": guest["gap_at_switchover_ms"],
                        "guest_longest_gap": guest["gap_max_ms"],
                        "source": milliseconds(source["downtime_ns"]),
                        "sink": milliseconds(sink["downtime_ns"])},
        "passes": source["dirty_sync_count"],
        "pages": {"normal": source["ram_normal"], "zero": source["ram_duplicate"],
                  "of_zero_never_allocated": source["ram_hole"],
                  "became_dirty": source["dirty_pages"]},
        "bytes": {"sent": source["ram_transferred"], "received": sink["ram_transferred"],
                  "vmm_state": source["state_bytes"]},
        "digests": {"source": f"{source['digest']:016x}", "sink": f"{sink['digest']:016x}",
                    "equal": source["digest"] == sink["digest"] != 0},
        "guest": {"pages_checked": guest["checked"], "pages_written": guest["writes"],
                  "errors": guest["errors"], "last_line_at_source": last,
                  "first_line_at_sink": first},
        "vm_at_source": facts["source"]["vm"], "vm_at_sink": facts["sink"]["vm"],
        "demo_seconds": round(seconds, 1),
    }


def problems_in(result):
    """What must hold for the demonstration to have shown anything."""
    yield not result["digests"]["equal"], "the digests of the two memories are not equal"
    yield result["guest"]["errors"], "the guest found errors in its memory"
    yield result["vm_at_source"] != "gone", "the source still has the guest"
    yield result["vm_at_sink"] != "running", "the sink does not run the guest"
    yield (not 0 <= result["guest"]["first_line_at_sink"] -
           result["guest"]["last_line_at_source"] <= 2,
           "the guest's lines at the sink do not follow on those at the source")


def tell(result):
    pages, down = result["pages"], result["downtime_ms"]
    rows = (
        ("guest", f"{result['vcpus']} vCPUs, {result['memory_bytes'] >> 20} MiB, on kernel "
                  f"{result['kernel']} hosts ({result['accelerator']})"),
        ("total time", f"{result['total_time_ms'] / 1000:.2f} s in {result['passes']} passes"),
        ("downtime", f"{down['source']:.1f} ms by the source's count, {down['sink']:.1f} ms by "
                     f"the sink's"),
        ("", f"{down['guest_gap_at_switchover']:.1f} ms as the guest saw it; its longest gap "
             f"of the whole move was {down['guest_longest_gap']:.1f} ms"),
        ("pages", f"{pages['normal']} travelled, {pages['zero']} were zero "
                  f"({pages['of_zero_never_allocated']} of them never allocated)"),
        ("bytes", f"{result['bytes']['sent']} on the data channels, "
                  f"{result['bytes']['vmm_state']} of VMM state"),
        ("digests", f"{result['digests']['source']} and {result['digests']['sink']}: "
                    f"{'equal' if result['digests']['equal'] else 'DIFFERENT'}"),
        ("guest says", f"{result['guest']['pages_checked']} pages checked, "
                       f"{result['guest']['errors']} errors"),
    )
    print()
    for name, text in rows:
        print(f"  {name:<11} {text}")
    print(flush=True)


class DemoTest:
    """What the runner must know (see catalog.Test)."""

    def __init__(self, memory, filled, cpus, load):
        self.name, self.hosts, self.timeout, self.leak = "demo", 2, LIMIT, 0
        self.module, self.taps, self.dmesg_allowed, self.expect = "yes", False, "", ""
        words = f"{memory} {filled} {cpus} {load}"
        self.commands = [f"sh /lab/demo.source.sh {words}", f"sh /lab/demo.sink.sh {words}"]


def demo(series, memory=256, filled=64, cpus=2, load="light"):
    """Returns the exit status."""
    from . import vm
    begin = time.monotonic()
    setup.setup([series])
    if series != "6.12" and not kernels.find("6.12"):
        setup.setup(["6.12"])       # the guest's kernel
    say("building ...")
    build.build([series])
    say("starting two hosts ...")
    watcher = Watcher()
    files = {f"lab/{n}": paths.LAB / "host" / n for n in ("demo.source.sh", "demo.sink.sh")}
    boot = runner.Boot(runner.new_run() / "demo", series, hosts=2, cpus=1, mem=1024,
                       on_output=watcher, files=files)
    test = DemoTest(memory, filled, cpus, load)
    try:
        result, _ = runner.run_one(boot, test, series, 1)
    except HostDied as err:
        raise LabError(str(err)) from err
    finally:
        boot.close()
    wrong = list(result.problems)
    try:
        outcome = summary(watcher.facts, series, vm.accel_kvm(), time.monotonic() - begin)
    except (KeyError, TypeError, ValueError) as err:
        wrong.append(f"a part of the story is missing: {err!r}")
        if isinstance(result, verdict.Result):
            print(result.output[-6000:])
    else:
        tell(outcome)
        wrong += [text for bad, text in problems_in(outcome) if bad]
        outcome["problems"] = wrong
        paths.write_new(paths.BUILD / "demo" / "result.json",
                        (json.dumps(outcome, indent=2) + "\n").encode())
        say("the same for programs is in build/demo/result.json")
    for text in wrong:
        say(f"demo failed: {text}")
    return 1 if wrong else 0
