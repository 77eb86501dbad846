# SPDX-License-Identifier: GPL-2.0
"""
"make bench": figures beside other ways to do the same, measured in turn in one
run. docs/performance.md tells what they mean, and what they do not.
"""
import json
import os
import re
import statistics

from . import build, paths, runner, setup, vm
from .ui import LabError, run, say
from .vm import HostDied

SOURCES = paths.TOP / "tests" / "bench"
PEERS = [f"peer:{pages}:{how}:{threads}" for pages in (64, 256) for how in ("copy", "zc")
         for threads in (1, 2, 4)]
OURS = ["ours:1", "ours:2"]


class Part:
    """One script in one boot (what the runner must know: see catalog.Test)."""

    def __init__(self, name, commands, timeout, module="yes"):
        self.name, self.commands, self.timeout, self.module = name, commands, timeout, module
        self.hosts, self.leak = len(commands), 0
        self.taps, self.dmesg_allowed, self.expect = False, "", ""


def build_programs():
    """Compile tests/bench/*.c; {path in the host: file} of all that is needed there."""
    out = paths.BUILD / "bench"
    out.mkdir(parents=True, exist_ok=True)
    library = paths.BUILD / "user" / "libferry.a"
    target = out / "ferrybench"
    run(["gcc", "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror",
         f"-I{paths.TOP}/uapi", f"-I{paths.TOP}/userspace/lib", "-o", target,
         *sorted(SOURCES.glob("*.c")), library, "-pthread"], "building ferrybench")
    files = {"usr/bin/ferrybench": target}
    files.update({f"bench/{p.name}": p for p in SOURCES.glob("*.sh")})
    return files


class Bench:
    """A run: boots hosts, collects what they measured."""

    def __init__(self, series, files):
        self.series, self.files, self.directory = series, files, runner.new_run()
        self.rows, self.load, self.number = [], [], 0

    def boot(self, name, hosts=1, cpus=2, mem=1024, cmdline=""):
        return runner.Boot(self.directory / name, self.series, hosts, cpus, mem,
                           files=self.files, cmdline=cmdline)

    def measure(self, boot, name, commands, timeout):
        """Run one script; return its "bench" lines as dicts."""
        self.number += 1
        before = os.getloadavg()[0]
        try:
            result, _ = runner.run_one(boot, Part(name, commands, timeout), self.series,
                                       self.number)
        except HostDied as err:
            raise LabError(str(err)) from err
        (self.directory / f"{self.number}-{name}.log").write_text(result.output)
        if result.problems:
            raise LabError(f"{name}: {'; '.join(result.problems)}\n{result.output[-6000:]}")
        rows = [json.loads(m) for m in re.findall(r"^bench (\{.*\})\r?$", result.output, re.M)]
        if not rows:
            raise LabError(f"{name} measured nothing\n{result.output[-6000:]}")
        self.load.append(max(before, os.getloadavg()[0]))
        return rows


def spread(values, digits=1):
    """Median and extremes, for people."""
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f} to {max(values):.{digits}f})")


def by_mode(rows, value):
    modes = {}
    for row in rows:
        modes.setdefault(row["mode"], []).append(value(row))
    return modes


def rate(row):
    return row["bytes"] / 2**20 / (row["ns"] / 1e9)


def cpu(row):
    return row["cpu_ns"] / 1e9 / (row["bytes"] / 2**30)


def tell_modes(rows):
    rates, cpus = by_mode(rows, rate), by_mode(rows, cpu)
    for mode in rates:
        say(f"  {mode:<16} MiB/s {spread(rates[mode]):<26} CPU s/GiB {spread(cpus[mode], 2)}")


def local(bench, boot, args):
    rows = bench.measure(boot, "local", [f"sh /bench/local.sh {args.mib} {args.memory} "
                                         f"{args.rounds} {' '.join(OURS + PEERS)}"], 1200)
    tell_modes(rows)
    return rows


def harvest(bench, boot, args):
    rows = bench.measure(boot, "harvest", [f"sh /bench/harvest.sh {args.rounds}"], 600)
    for how in ("ours-bulk", "user-bulk", "ours", "user"):
        mine = [r for r in rows if r["how"] == how]
        for what in ("harvest_ns", "reset_ns"):
            say(f"  {how:<13} {what:<10} ns/page {spread([r[what] / r['entries'] for r in mine])}"
                f" over {mine[0]['entries']} entries, {mine[0]['resets']} resets")
    return rows


def bench(series, args):
    setup.setup([series])
    build.build([series], not args.no_module, not args.no_user)
    one = Bench(series, build_programs())
    say(f"hosts run on {'kvm' if vm.accel_kvm() else 'tcg'}, load {os.getloadavg()[0]:.1f}")
    boot = one.boot("one", cpus=args.cpus, mem=args.mem, cmdline=args.cmdline)
    try:
        if "harvest" in args.only:
            harvest(one, boot, args)
        if "local" in args.only:
            local(one, boot, args)
    finally:
        boot.close()
    say(f"load {max(one.load):.1f}")


def main():
    import argparse
    p = argparse.ArgumentParser()
    p.add_argument("--series", default="6.12")
    p.add_argument("--mib", type=int, default=192)
    p.add_argument("--memory", default="fresh")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--cpus", type=int, default=2)
    p.add_argument("--mem", type=int, default=1024)
    p.add_argument("--cmdline", default="")
    p.add_argument("--no-module", action="store_true")
    p.add_argument("--no-user", action="store_true")
    p.add_argument("--only", default="harvest,local")
    args = p.parse_args()
    bench(args.series, args)


if __name__ == "__main__":
    main()
