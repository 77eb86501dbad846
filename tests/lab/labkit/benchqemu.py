# SPDX-License-Identifier: GPL-2.0
"""
"make bench-qemu": the same guest migrated by QEMU in its own ways and by ours, in
turn, between two hosts. docs/performance.md tells what the figures mean, and what not.
"""
import pathlib
import re
import shutil
import statistics

from . import bench, build, kernels, net, paths, plots, qemu, remote, setup
from .ui import LabError, say

OURS = ("ferry1", "ferry2")
PEERS = ("plain/bitmap", "plain/ring", "multifd2/bitmap", "multifd4/bitmap", "multifd4/ring",
         "zerocopy2/bitmap")
TICK = 0.01             # seconds of /proc/stat's count (USER_HZ is 100 on x86)
HOST_MIB = 512          # what a host needs beside its guest
# Linux has no transparent huge pages on a smaller one (512 MiB that it counts when it boots), and
# then a guest that arrives faults for each 4 KiB.
HOST_MIN_MIB = 1024
BOOT_SECONDS = 90       # a guest that boots, and fills its memory, at the most
ROUNDS = 3
# name: (MiB of the guest, seconds that a move may take, what the guest is told, why)
LOADS = {
    "bulk": (1280, 240, "ferry.load=idle ferry.tick=20000 ferry.check=0 ferry.mem=1024 ferry.zero=0",
             "1 GiB of random data, and nobody writes"),
    "light": (384, 120, "ferry.load=light ferry.check=0 ferry.mem=256 ferry.zero=0",
              "256 MiB of random data, 500 pages a second of 16 MiB are written"),
    "heavy": (384, 180, "ferry.load=heavy ferry.check=0 ferry.mem=288 ferry.ws=288 ferry.zero=0",
              "three quarters of memory are written at random, as fast as it goes"),
    "untouched": (2560, 120, "ferry.load=idle ferry.tick=20000 ferry.check=0 ferry.mem=32 ferry.zero=0",
                  "2.5 GiB, of which hardly anything was ever touched"),
    "zero": (896, 120, "ferry.load=idle ferry.tick=20000 ferry.check=0 ferry.mem=32 ferry.zero=640",
             "640 MiB that were touched and are zero"),
}
# Over a link as it comes everybody converges at any rate of writing, since an emulated guest takes
# longer to make a page dirty than a host takes to send it. So vCPUs write over LADDER_MBIT, which
# carries 3,000 pages a second: 900 may be left to the end, a third of what is written in "hot". In
# "reads" the guest's disk writes, which costs a guest hardly anything.
LADDER_MBIT = 100
LADDER_LOAD = "ferry.load=heavy ferry.check=0 ferry.mem=64 ferry.zero=0"
# QEMU's limit, and what stopping, loading and the first faults may take beside what it limits.
# It is the guest's gap that counts: QEMU's own way tells a downtime without the loading.
LADDER_GAP = 300 + 200
# Pages a second, until nobody converges; the load, and the link.
LADDERS = {
    "converges": ((1600, 1900, 2200, 2500, 2800, 3100, 3500),
                  (160, 60, f"{LADDER_LOAD} ferry.ws=64"), LADDER_MBIT),
    "hot": ((3500, 4600, 6000, 8000, 10500, 14000, 19000),
            (160, 60, f"{LADDER_LOAD} ferry.ws=10"), LADDER_MBIT),
    "reads": (tuple(round(12 * 1.5 ** n) * 1000 for n in range(12)),
              (448, 60, "ferry.load=idle ferry.check=0 ferry.mem=16 ferry.zero=0 ferry.reads=320"),
              None),
}
TRACED = 2200           # pages a second
LADDER_PEERS = ("plain/bitmap", "plain/ring", "multifd4/bitmap")
# One vCPU of two writes as fast as it can, more than the link carries; the other reads, as fast as
# it can, and writes hardly anything.
WILD = (192, 90, "ferry.load=heavy ferry.check=max ferry.mem=64 ferry.ws=32 ferry.zero=0 "
                 "ferry.rate=200 ferry.wild=max")
WILD_OURS, WILD_PEERS = ("auto-ferry1",), ("auto-plain/bitmap", "auto-plain/ring")
WILD_RUNS = (*WILD_OURS, *WILD_PEERS, "ferry1", "plain/bitmap")


class Move:
    """What both ends said about one migration."""

    def __init__(self, source, sink):
        self.mode, self.run, self.state = source["mode"], source["run"], source["state"]
        self.completed = self.state == "completed" and sink is not None
        said, ram = source["said"], source["said"].get("ram", {})
        self.seconds = said.get("total-time", 0) / 1000
        self.downtime = said.get("downtime", 0)
        self.passes = ram.get("dirty-sync-count", 0)
        self.wire = source["tx"] + source["rx"]
        self.source_cpu = source["cpu_ticks"] * TICK
        before, quiet, began = ([float(w) for w in source[when].split()]
                                for when in ("before", "quiet", "began"))
        self.usual = (quiet[1] - before[1]) / (quiet[0] - before[0])    # pages written a second
        self.calm_work, self.wild_work = shares(source["calm"])
        if not self.completed:
            return
        self.sink_cpu = sink["cpu_ticks"] * TICK
        after = [float(w) for w in sink["after"].split()]
        # The guest's clock goes on while it is stopped: its gaps are longer than the downtime.
        self.gap, stopped, writes = after[2:5]
        # From just before QEMU is asked to move it to where it stands still. That this is its longest
        # gap is likely, not certain: if another was longer, nobody knows what it wrote.
        passed, expected = stopped - began[0], self.seconds - self.downtime / 1000
        self.work = None
        if self.usual and abs(passed - expected) <= 0.2 + expected / 10:
            self.work = (writes - began[1]) / passed / self.usual

    def as_dict(self):
        return dict(vars(self))


def shares(reports):
    """
    What the vCPUs that are not wild read, and what the wild one wrote, while the guest moved, of
    what they do in that time undisturbed: up to the last report at the source.
    """
    if not all(reports):
        return None, None
    before, quiet, began, last = ([float(n) for n in report.split()] for report in reports)

    def rate(part, since, until):
        return (until[part] - since[part]) / (until[0] - since[0])

    if last[0] - began[0] < 1:
        return None, None       # too short to tell
    return tuple(rate(part, began, last) / rate(part, before, quiet) for part in (1, 2))


def moves_of(rows):
    ends = {}
    for row in rows:
        ends.setdefault(row["number"], {})[row["end"]] = row
    return [Move(pair["source"], pair.get("sink")) for _, pair in sorted(ends.items())
            if "source" in pair]


def scaled(load, times):
    """A load of so many times the memory, and time."""
    mib, limit, tell = load[:3]
    tell = re.sub(r"(?<=ferry\.)(mem|ws|zero|reads)=(\d+)", lambda m: f"{m[1]}={int(m[2]) * times}", tell)
    return mib * times, limit * times, tell


class QemuBench(bench.Bench):
    """A run: hosts with both QEMUs, joined by a link with offloads."""

    def __init__(self, series, args):
        super().__init__(series, args)
        self.files = qemu.files(qemu.VERSION, stock=True)
        self.boot_words = {"touched": True}
        self.moves, self.traces = {}, {}

    def moves_with(self, name, load, runs, mbit=None):
        """The moves of RUNS, each of a guest of its own, over a link of MBIT."""
        mib, limit, tell = scaled(load, self.args.scale)
        self.boot_words["net"] = lambda: net.Link(mbit)
        words = f"bench.sh {limit} {mib} {tell.replace(' ', ',')} {' '.join(runs)}"
        time = len(runs) * (limit + BOOT_SECONDS * self.args.scale)
        self.measure(name, [f"sh /tests/{words}"] * 2, time, 1,
                     max(mib + HOST_MIB, HOST_MIN_MIB))
        return moves_of(self.rows[name])

    def median(self, load, mode, figure):
        values = self.values(load, mode, figure)
        return statistics.median(values) if values else None

    def values(self, load, mode, figure):
        return [getattr(m, figure) for m in self.moves[load]
                if m.mode == mode and m.completed and getattr(m, figure) is not None]

    def compare(self, load, figure, name, unit, target, scale=1, pick=min):
        """A line of the table: ours beside the best of QEMU's ways."""
        ours, peers = ([m for m in modes if self.values(load, m, figure)] for modes in
                       (OURS, PEERS))
        if not ours or not peers:
            say(f"{load}: no {name}: {'nobody' if not ours + peers else 'one side'} converged")
            return
        def key(mode):
            return self.median(load, mode, figure)
        mine, theirs = pick(ours, key=key), pick(peers, key=key)
        self.add(f"{load}: {name}", unit, [v * scale for v in self.values(load, mine, figure)],
                 f"QEMU, {theirs}", [v * scale for v in self.values(load, theirs, figure)],
                 f"ratio <= {target}" if target else "",
                 lambda _, ratio: not target or ratio <= target)
        self.results[-1]["mode"] = mine


def measure_load(b, load):
    runs = b.args.modes.split(",") if b.args.modes else list(OURS + PEERS)
    b.moves[load] = []
    for n in range(b.args.rounds):
        # Another begins each time, so that none is always first.
        turn = runs[n % len(runs):] + runs[:n % len(runs)]
        b.moves[load] += b.moves_with(f"{load}-{n + 1}", LOADS[load], turn)
    for mode in runs:
        mine = [m for m in b.moves[load] if m.mode == mode]
        done = [m for m in mine if m.completed]
        words = f"{len(done)} of {len(mine)} converged"
        if done:
            words = "  ".join(f"{name} {bench.spread([getattr(m, f) for m in done], d)}" for
                              name, f, d in (("s", "seconds", 1), ("down ms", "downtime", 0),
                                             ("gap ms", "gap", 0), ("CPU", "source_cpu", 1),
                                             ("sink", "sink_cpu", 1))) + f"  {words}"
        print(f"  {load} {mode:<16} {words}", flush=True)
    total = {"bulk": 0.5, "heavy": 0.6, "untouched": 0.2}.get(load)
    b.compare(load, "seconds", "total time", "s", total)
    b.compare(load, "source_cpu", "source's processor time", "s", 0.35 if load == "bulk" else None)
    b.compare(load, "sink_cpu", "sink's processor time", "s", 0.6 if load == "bulk" else None)
    b.compare(load, "downtime", "downtime by QEMU's count", "ms", None)
    b.compare(load, "gap", "guest's longest gap", "ms", 0.4 if load == "light" else None)
    b.compare(load, "wire", "bytes on the wire", "MiB", None, 2 ** -20)
    if load in ("light", "heavy"):
        b.compare(load, "work", "guest's work", "", None, pick=max)


def measure_ladder(b, name):
    """The highest rate at which a guest still comes over, within the same downtime limit."""
    rates, load, mbit = LADDERS[name]
    modes = [OURS[0], *LADDER_PEERS, *(() if mbit else ("zerocopy2/bitmap",))]
    highest, left = dict.fromkeys(modes, 0), list(modes)
    b.moves[name] = []
    for rate in rates:
        moves = b.moves_with(f"{name}-{rate}", load, [f"{m}@{rate}" for m in left], mbit)
        b.moves[name] += moves
        for move in moves:
            came = move.completed and move.gap <= LADDER_GAP
            words = ""
            if move.completed:
                words = f", gap {move.gap:.0f} ms, work " + (
                    "not known" if move.work is None else f"{move.work:.2f}")
            print(f"  {name} {move.run:<24} {'yes' if came else 'no':<4} "
                  f"{move.seconds:.1f} s, downtime {move.downtime} ms{words}", flush=True)
            if move.usual < 0.8 * rate:
                print(f"  {name} {move.run:<24} the guest makes no more than {move.usual:.0f}: "
                      "not counted", flush=True)
                came = False
            if not came:
                left.remove(move.mode)
            elif move.work is not None:
                # What it wrote meanwhile: who sends shares the processor with it.
                highest[move.mode] = max(highest[move.mode], round(move.usual * move.work))
        if not left:
            break
    peer = max(modes[1:], key=highest.get)
    b.add(f"{name}: highest rate", "pages/s", [highest[OURS[0]]], f"QEMU, {peer}",
          [highest[peer]], "ratio >= 1.5", lambda _, ratio: ratio >= 1.5)


def measure_wild(b):
    """One vCPU writes too much: does the guest come over, and what does that cost the other?"""
    b.moves["wild"] = []
    for n in range(b.args.rounds):
        turn = list(WILD_RUNS[n % len(WILD_RUNS):] + WILD_RUNS[:n % len(WILD_RUNS)])
        b.moves["wild"] += b.moves_with(f"wild-{n + 1}", WILD, turn, LADDER_MBIT)

    def values(runs, figure):
        return [getattr(m, figure) for m in b.moves["wild"] if m.run in runs and m.completed
                and getattr(m, figure) is not None]

    for run in WILD_RUNS:
        words = "  ".join(f"{name} {bench.spread(values([run], figure), digits)}" for
                          name, figure, digits in (("s", "seconds", 1), ("gap ms", "gap", 0),
                                                   ("other's work", "calm_work", 2),
                                                   ("its work", "wild_work", 2))
                          if values([run], figure))
        print(f"  wild {run:<18} {words}  {len(values([run], 'seconds'))} of "
              f"{sum(m.run == run for m in b.moves['wild'])} came over", flush=True)
    for name, figure, unit, pick in (("total time", "seconds", "s", min),
                                     ("the other vCPU's longest gap", "gap", "ms", min),
                                     ("the other vCPU's work", "calm_work", "", max)):
        sides = [[run for run in runs if values([run], figure)] for runs in (WILD_OURS, WILD_PEERS)]
        if not all(sides):
            say(f"wild: no {name}: one side did not come over")
            continue
        mine, theirs = (pick(runs, key=lambda run: statistics.median(values([run], figure)))
                        for runs in sides)
        b.add(f"wild: {name}", unit, values([mine], figure),
              f"QEMU, {theirs.replace('auto-', 'auto-converge, ')}", values([theirs], figure),
              "ratio >= 1" if pick is max else "", lambda _, ratio: pick is min or ratio >= 1)


def measure_trace(b):
    """One migration of each side, looked at ten times a second: for the picture."""
    runs = [f"trace-{m}@{TRACED}" for m in (OURS[0], "plain/bitmap")]
    b.moves["trace"] = b.moves_with("trace", LADDERS["converges"][1], runs, LADDER_MBIT)
    b.traces = plots.traces_in((b.directory / "trace.log").read_text(), runs)


def measure_profile(b):
    """Where the time goes, on both hosts: words, not figures. For who changes something."""
    program = shutil.which("perf")
    if not program:
        raise LabError("there is no perf: install linux-perf")
    b.files["usr/bin/perf"] = pathlib.Path(program).resolve()
    runs = [f"perf-{m}" for m in b.args.profile.split(",")]
    b.moves_with("profile", LOADS[b.args.load], runs)
    print((b.directory / "profile.log").read_text())


def run_bench(series, args):
    """Returns the exit status: 0 if all was measured, also when targets are missed."""
    setup.setup([series], more=("gnuplot-nox",))
    if series != "6.12" and not kernels.find("6.12"):
        setup.setup(["6.12"])       # the guest's kernel
    say("building ...")
    build.build([series], not args.hosts)
    b = QemuBench(series, args)
    parts = {load: lambda b, load=load: measure_load(b, load) for load in LOADS}
    parts.update({name: lambda b, name=name: measure_ladder(b, name) for name in LADDERS})
    parts.update(wild=measure_wild, trace=measure_trace, profile=measure_profile)
    programs = ("qemu-system-x86_64", "qemu-stock")
    with remote.reached(args, b.files, programs) as b.machines:
        failed = bench.measure_parts(b, parts, args.only, [p for p in parts if p != "profile"])
    out = paths.BUILD / ("bench-qemu-hosts" if args.hosts else "bench-qemu")
    marks = b.machines.marks() if b.machines else {}
    moves = {load: [{**m.as_dict(), **marks} for m in moves] for load, moves in b.moves.items()}
    plots.draw(out, moves, b.traces, b.machines.lines() if b.machines else ())
    return bench.conclude(b, failed, out, {"results.json": b.results, "moves.json": moves,
                                           "traces.json": b.traces})
