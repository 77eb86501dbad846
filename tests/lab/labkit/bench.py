# SPDX-License-Identifier: GPL-2.0
"""
"make bench": figures beside other ways to do the same, measured in turn in one
run. docs/performance.md tells what they mean, and what they do not.
"""
import json
import os
import re
import statistics
import time

from . import build, kernels, paths, remote, runner, setup, vm
from .ui import LabError, run, say
from .vm import HostDied

SOURCES = paths.TOP / "tests" / "bench"
OURS = ["ours:1", "ours:2"]
PEERS = [f"peer:{pages}:{how}:{threads}" for pages in (64, 256) for how in ("copy", "zc")
         for threads in (1, 2, 4)]
PARTS = ("harvest", "warm", "fresh", "sparse", "gap", "link", "rdma", "predict", "order")
# Others that use more of this machine than so many processors spoil figures.
QUIET = 0.15
# Under emulation a string instruction costs by its turns: the kernel's copies to and
# from user space (by bytes, with ERMS) would cost eight times those between pages (by
# words). Without ERMS both go by words.
SAME_COPIES = "clearcpuid=erms"
TRIES = 3
# How a host or a guest ends that QEMU's emulation with several threads has broken: a stale
# breakpoint of the kernel, or a guest of eight instructions that leaves its loop.
BROKEN_BY_QEMU = re.compile(r"int3|the guest stopped .* its code is as it was")


class Script:
    """One script in one boot: what the runner must know (see catalog.Test)."""

    def __init__(self, name, commands, timeout):
        self.name, self.commands, self.timeout, self.module = name, commands, timeout, "yes"
        self.hosts, self.leak = len(commands), 0
        self.taps, self.dmesg_allowed, self.expect = False, "", ""


def build_programs():
    """Compile tests/bench/*.c; {path in the host: file} of all that is needed there."""
    out = paths.BUILD / "bench"
    out.mkdir(parents=True, exist_ok=True)
    target = out / "ferrybench"
    run(["gcc", "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror",
         f"-I{paths.TOP}/uapi", f"-I{paths.TOP}/userspace/lib", "-o", target,
         *sorted(SOURCES.glob("*.c")), paths.BUILD / "user" / "libferry.a", "-pthread"],
        "building ferrybench")
    files = {"usr/bin/ferrybench": target}
    files.update({f"bench/{p.name}": p for p in SOURCES.glob("*.sh")})
    return files


def machine_busy():
    """Processor seconds that this machine was not idle."""
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(n) for n in stat.readline().split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def process_busy(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def prefer(pid, nice):
    """Give all threads of a host this niceness, so that others disturb it less."""
    for tid in os.listdir(f"/proc/{pid}/task"):
        os.setpriority(os.PRIO_PROCESS, int(tid), nice)
    try:    # between sessions it is the session's niceness that counts
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as group:
            group.write(str(nice))
    except FileNotFoundError:
        pass    # a kernel without such groups


class Bench:
    """A run: boots hosts, collects what was measured in them."""

    def __init__(self, series, args):
        self.series, self.args, self.files = series, args, build_programs()
        self.cmdline = args.cmdline
        if self.cmdline is None:
            self.cmdline = "" if vm.accel_kvm() else SAME_COPIES
        self.directory, self.rows, self.results, self.others = runner.new_run(), {}, [], 0.0
        self.boot_words = {}    # more arguments of runner.Boot
        self.machines = None    # real ones, instead of the lab's hosts

    def measure(self, name, commands, timeout, cpus=2, mem=1024):
        """Run one script in fresh hosts; return its "bench" lines as dicts."""
        for left in range(TRIES - 1, -1, -1):
            try:
                return self.try_once(name, commands, timeout, cpus, mem)
            except LabError as err:
                # With LAB_TCG=multi (labkit/vm.py) an emulated host may die of itself.
                logs = (self.directory / name).glob("console*.log")
                texts = [str(err), *(log.read_text(errors="replace") for log in logs)]
                if not left or self.machines or not any(map(BROKEN_BY_QEMU.search, texts)):
                    raise
                say(f"{name}: the emulator broke a host or its guest; once more ...")

    def try_once(self, name, commands, timeout, cpus, mem):
        say(f"measuring: {name} ...")
        output, problems, used = (self.machines or self).run(name, commands, timeout, cpus, mem)
        (self.directory / f"{name}.log").write_text(output)
        rows = [json.loads(m) for m in re.findall(r"^bench (\{.*\})\r?$", output, re.M)]
        if problems or not rows:
            raise LabError(f"{name}: {'; '.join(problems) or 'measured nothing'}\n"
                           f"{output[-6000:]}")
        self.others = max(self.others, used)
        if used > QUIET:
            say(f"others used {used:.2f} processors of "
                f"{'a machine, just before' if self.machines else 'this machine meanwhile'}")
        self.rows[name] = rows
        return rows

    def run(self, name, commands, timeout, cpus, mem):
        """In hosts of the lab: (output, problems, processors that others used)."""
        boot = runner.Boot(self.directory / name, self.series, len(commands), cpus, mem,
                           files=self.files, cmdline=self.cmdline, **self.boot_words)
        try:
            for host in boot.hosts:
                prefer(host.process.pid, self.args.nice)

            def busy():
                own = sum(process_busy(h.process.pid) for h in boot.hosts)
                return time.monotonic(), machine_busy() - own

            began, others = busy()
            result, _ = runner.run_one(boot, Script(name, commands, timeout), self.series, 1)
            ended, others_after = busy()
        except HostDied as err:
            raise LabError(f"{name}: {err}") from err
        finally:
            boot.close()
        return result.output, result.problems, (others_after - others) / (ended - began)

    def add(self, name, unit, ours, peer, theirs, target, met):
        """A line of the table. OURS and THEIRS are the values of all repetitions."""
        mine, other = statistics.median(ours), statistics.median(theirs)
        ratio = mine / other if other else 0.0
        self.results.append({
            "name": name, "ours": round(mine, 3), "peer": peer, "peer_value": round(other, 3),
            "ratio": round(ratio, 3), "target": target, "unit": unit,
            "met": bool(met(mine, ratio)), "ours_spread": [round(f(ours), 3) for f in (min, max)],
            "peer_spread": [round(f(theirs), 3) for f in (min, max)], "repetitions": len(ours),
            **(self.machines.marks() if self.machines else {})})


def by_mode(rows, value):
    modes = {}
    for row in rows:
        modes.setdefault(row["mode"], []).append(value(row))
    return modes


def rate(row):
    return row["bytes"] / 2**20 / (row["ns"] / 1e9)


def cpu(row):
    return row["cpu_ns"] / 1e9 / (row["bytes"] / 2**30)


def spread(values, digits=1):
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f} to {max(values):.{digits}f})")


def best(modes, prefix, pick):
    return pick((m for m in modes if m.startswith(prefix)),
                key=lambda m: statistics.median(modes[m]))


def measure_local(b, memory):
    modes = b.args.modes.split(",") if b.args.modes else OURS + PEERS
    rows = b.measure(memory, [f"sh /bench/local.sh {b.args.mib} {memory} "
                                         f"{b.args.rounds} {' '.join(modes)}"], 1200, cpus=1)
    rates, cpus = by_mode(rows, rate), by_mode(rows, cpu)
    for mode in rates:
        print(f"  {mode:<16} MiB/s {spread(rates[mode]):<26} CPU s/GiB {spread(cpus[mode], 2)}")
    mine, theirs = best(rates, "ours", max), best(rates, "peer", max)
    b.add(f"throughput on one host, {memory} memory", "MiB/s", rates[mine], theirs, rates[theirs],
          "ratio >= 1.8", lambda _, ratio: ratio >= 1.8)
    theirs = best(cpus, "peer", min)
    b.add(f"processor time on one host, {memory} memory", "s/GiB", cpus[mine], theirs,
          cpus[theirs], "ratio <= 0.5", lambda _, ratio: ratio <= 0.5)


def measure_harvest(b):
    rows = b.measure("harvest", [f"sh /bench/harvest.sh {b.args.rounds}"], 900)
    sums = {}
    for how in ("ours-bulk", "user-bulk", "ours", "user"):
        mine = [r for r in rows if r["how"] == how]
        harvest, reset = ([r[w] / r["entries"] for r in mine] for w in ("harvest_ns", "reset_ns"))
        sums[how] = [h + r for h, r in zip(harvest, reset)]
        print(f"  {how:<10} ns/page: harvest {spread(harvest):<24} reset {spread(reset):<28} "
              f"{mine[0]['entries'] // mine[0]['resets']} entries a reset")
    b.add("harvest and reset in bulk", "ns/page", sums["ours-bulk"], "the same from userspace",
          sums["user-bulk"], "ours <= 250", lambda ours, _: ours <= 250)
    b.add("harvest and reset, guest writing", "ns/page", sums["ours"], "the same from userspace",
          sums["user"], "", lambda *_: True)


def measure_sparse(b):
    small, large, touched = (mib * b.args.scale for mib in (128, 4096, 64))
    rows = b.measure("sparse", [f"sh /bench/sparse.sh {b.args.rounds} {touched} {small} {large}"],
                     900 * b.args.scale)
    times = {mib: [r["ns"] / 1e6 for r in rows if r["bytes"] == mib << 20]
             for mib in (small, large)}
    b.add(f"{large >> 10} GiB guest, {touched} MiB touched", "ms", times[large],
          f"{small} MiB guest, as much touched", times[small], "ratio <= 1.3",
          lambda _, ratio: ratio <= 1.3)


def measure_gap(b):
    # With two processors on one thread the guest starves.
    rows = b.measure("gap", [f"sh /bench/gap.sh {b.args.rounds} 1"], 900,
                     cpus=2 if b.machines or vm.accel_kvm() else 1)
    for row in rows:
        print(f"  gap {row['move_ms']:.1f} ms in a move of {row['total_ns'] / 1e6:.0f} ms and "
              f"{row['passes']} passes, downtime {row['downtime_ns'] / 1e6:.1f} ms; "
              f"{row['idle_ms']:.1f} ms without a move")
    b.add("guest's longest gap, light load", "ms", [r["move_ms"] for r in rows],
          "the same guest without a move", [r["idle_ms"] for r in rows], "ours < 60",
          lambda ours, _: ours < 60)


def measure_link(b):
    words = f"{b.args.link_mib * b.args.scale} {b.args.rounds} ours:1"
    rows = b.measure("link", [f"sh /bench/link.{end}.sh {words}" for end in ("source", "sink")],
                     1200, cpus=1)
    b.add("throughput between two hosts", "MiB/s", [rate(r) for r in rows if r["what"] == "move"],
          "iperf3 -Z", [r["bits"] / 8 / 2**20 for r in rows if r["what"] == "iperf"],
          "ratio >= 0.9", lambda _, ratio: ratio >= 0.9)


def measure_rdma(b):
    # Soft-RoCE does in software what a card does: some of its work is on both sides.
    mib = max(16, b.args.link_mib * b.args.scale // 4)
    words = f"{mib} {b.args.rounds} rdma:1 rdma:2 ours:1"
    rows = b.measure("rdma", [f"sh /bench/rdma.{end}.sh {words}" for end in ("source", "sink")],
                     1200, cpus=1)
    moves = [r for r in rows if r["what"] == "move"]
    writes = by_mode([r for r in rows if r["what"] == "write"], lambda r: r["mib"])
    rates, cpus = by_mode(moves, rate), by_mode(moves, cpu)
    for mode in rates:
        print(f"  {mode:<16} MiB/s {spread(rates[mode]):<26} CPU s/GiB {spread(cpus[mode], 2)}")
    for mode in writes:
        print(f"  {mode:<16} MiB/s {spread(writes[mode])}")
    mine, theirs = best(rates, "rdma", max), best(writes, "ib_write_bw", max)
    b.add("throughput by RDMA between two hosts", "MiB/s", rates[mine], theirs, writes[theirs],
          "ratio >= 0.9", lambda _, ratio: ratio >= 0.9)
    b.add("source's processor time by RDMA", "s/GiB", cpus[mine], "ours over TCP", cpus["ours:1"],
          "ratio <= 1", lambda _, ratio: ratio <= 1)


def measure_predict(b):
    rows = b.measure("predict", [f"sh /bench/predict.sh {b.args.rounds}"], 900)
    for row in rows:
        ms = {key[:-3]: value / 1e6 for key, value in row.items() if key.endswith("_ns")}
        print(f"  {row['load']:<10} {row['passes']:>3} passes, predicted {ms['predicted']:.1f} ms (memory "
              f"{ms['expected_ram']:.1f}, round trips {ms['expected_trips']:.1f}, fixed "
              f"{ms['expected_fixed']:.1f}, state {ms['expected_state']:.1f}), came {ms['downtime']:.1f} "
              f"(memory {ms['ram'] - ms['verify']:.1f}, verify {ms['verify']:.1f}, state {ms['state']:.1f}, "
              f"handing over {ms['commit']:.1f})")
    for load in dict.fromkeys(row["load"] for row in rows):
        mine = [row for row in rows if row["load"] == load]
        b.add(f"predicted downtime, {load}", "ms", [r["predicted_ns"] / 1e6 for r in mine],
              "what came, without verify",
              [(r["downtime_ns"] - r["verify_ns"]) / 1e6 for r in mine], "within a factor of 1.5",
              lambda _, ratio: 1 / 1.5 <= ratio <= 1.5)


def measure_order(b):
    rows = b.measure("order", [f"sh /bench/order.sh {b.args.rounds}"], 600 * b.args.rounds)
    for row in rows:
        print(f"  {row['load']:<5} {row['order']:<7} {row['passes']:>3} passes, {row['total_ns'] / 1e9:6.1f} s, "
              f"{row['bytes'] / 2**20:6.1f} MiB, downtime {row['downtime_ns'] / 1e6:.0f} ms"
              f"{'' if row['moved'] else ', did not converge'}")
    for load in dict.fromkeys(row["load"] for row in rows):
        mine, plain = ([row["bytes"] / 2**20 for row in rows if row["load"] == load and row["order"] == order]
                       for order in ("rested", "plain"))
        b.add(f"sent until it moved, {load} guest", "MiB", mine, "the plain sweep", plain, "ratio <= 1",
              lambda _, ratio: ratio <= 1)


def table(results):
    print()
    print(f"{'':<40} {'ours':>24}  {'peer':>24} {'ratio':>6}  target")
    for r in results:
        ours, peer = (f"{r[k]:.4g} ({r[s][0]:.4g} to {r[s][1]:.4g})"
                      for k, s in (("ours", "ours_spread"), ("peer_value", "peer_spread")))
        verdict = f"{r['target']}: {'met' if r['met'] else 'MISSED'}" if r["target"] else ""
        print(f"{r['name'] + ', ' + r['unit']:<40} {ours:>24}  {peer:>24} {r['ratio']:6.2f}  "
              f"{verdict}\n{'':<40} {'':>24}  {r['peer']:>24}")
    print(flush=True)


def measure_parts(b, parts, only, usual):
    """Those that ONLY names, or the USUAL ones; returns the names of those that failed."""
    failed = []
    for part in only.split(",") if only else usual:
        if b.machines and part in remote.LEFT_OUT:
            say(f"{part} is left out: {remote.LEFT_OUT[part]}")
            continue
        if part not in parts:
            raise LabError(f"there is nothing to measure named {part}; there is: "
                           f"{', '.join(parts)}")
        try:
            parts[part](b)
        except LabError as err:
            say(f"error: {err}")
            failed.append(part)
    return failed


def conclude(b, failed, where, files):
    """Print the table, write FILES ({name: what}) to WHERE; returns the exit status."""
    table(b.results)
    if b.machines:
        print(*b.machines.lines(), f"before a part others used up to {b.others:.2f} of a "
              "machine's processors", sep="; ", end="")
    else:
        print(f"kernel {kernels.get(b.series).release}, hosts on "
              f"{'KVM' if vm.accel_kvm() else 'TCG'}; others used up to {b.others:.2f} of this "
              f"machine's {os.cpu_count()} processors", end="")
    print("" if b.others <= QUIET else ": do not trust these figures")
    for name, what in files.items():
        paths.write_new(where / name, (json.dumps(what, indent=2) + "\n").encode())
    say(f"the same for programs is in {where.relative_to(paths.TOP)}: {', '.join(files)}")
    if failed:
        say(f"not measured: {', '.join(failed)}; the errors are above")
    return 1 if failed else 0


def bench(series, args):
    """Returns the exit status: 0 if all was measured, also when targets are missed."""
    setup.setup([series])
    if series != "6.12" and not kernels.find("6.12"):
        setup.setup(["6.12"])       # the guest's kernel
    say("building ...")
    build.build([series], not args.no_module and not args.hosts, not args.no_user)
    b = Bench(series, args)
    parts = {"harvest": measure_harvest, "warm": lambda b: measure_local(b, "warm"),
             "fresh": lambda b: measure_local(b, "fresh"), "sparse": measure_sparse,
             "gap": measure_gap, "link": measure_link, "rdma": measure_rdma,
             "predict": measure_predict, "order": measure_order}
    with remote.reached(args, b.files) as b.machines:
        failed = measure_parts(b, parts, args.only, PARTS)
    return conclude(b, failed, paths.BUILD / ("bench-hosts" if args.hosts else "bench"),
                    {"results.json": b.results, "rows.json": b.rows})
