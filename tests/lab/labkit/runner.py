# SPDX-License-Identifier: GPL-2.0
"""Boots hosts, runs tests in them, and says how it went."""
import concurrent.futures
import json
import os
import re
import shutil
import threading
import time
import types

from . import build, catalog, faults, initramfs, kernels, paths, verdict
from .ui import LabError, say
from .net import Cable
from .vm import Host, HostDied, Relay

KEEP_RUNS = 12
SPLIT = 8               # tests that need the same, from which on they may be spread over boots
STOPPED = threading.Event()     # somebody ended the lab
AGENT_SLACK = 90        # seconds that cleaning up after a test may take beyond its own limit
SCAN_LIMIT = 60         # seconds that looking for leaks may take


def new_run():
    """A directory for this run's logs; old ones go."""
    paths.RUNS.mkdir(parents=True, exist_ok=True)
    name = time.strftime("run-%Y%m%d-%H%M%S") + f"-{os.getpid()}"
    directory = paths.RUNS / name
    directory.mkdir()
    old = sorted(p for p in paths.RUNS.glob("run-*") if p.is_dir())
    for path in old[:-KEEP_RUNS]:
        pid = int(path.name.rsplit("-", 1)[1])
        if os.path.exists(f"/proc/{pid}"):
            continue
        shutil.rmtree(path, ignore_errors=True)     # another lab may do the same
    link = paths.RUNS / f".latest-{os.getpid()}"
    link.symlink_to(name)
    link.rename(paths.RUNS / "latest")
    return directory


class Boot:
    """One or two hosts that were booted together."""
    live = set()

    def __init__(self, directory, series, hosts=1, cpus=2, mem=1024, root=False, cmdline="",
                 module=None, on_output=None, files=None, net=Cable, disk=0,
                 touched=False):
        """
        NET makes what joins two hosts; DISK is the size in MiB of one that all of them see;
        TOUCHED: the hosts' memory is there from the beginning.
        """
        directory.mkdir(parents=True, exist_ok=True)
        kernel = kernels.get(series)
        guest = kernels.get("6.12")
        image = initramfs.assemble(kernel, guest, directory, module, files)
        self.relay, self.hosts, self.slowness = Relay(), [], kernel.slowness
        self.disk = directory / "disk"
        self.live.add(self)
        between = None
        try:
            between = net() if hosts == 2 else None
            if disk:
                with open(self.disk, "wb") as file:
                    file.truncate(disk << 20)
            for number in range(1, hosts + 1):
                self.hosts.append(Host(kernel, image, directory, number, cpus, mem, self.relay,
                                       between, root, on_output, cmdline,
                                       self.disk if disk else None, touched))
            for host in self.hosts:
                host.wait_up()
        except BaseException:
            self.close()
            raise
        finally:
            if between:
                between.close()
            image.unlink(missing_ok=True)

    def close(self):
        self.live.discard(self)
        for host in self.hosts:
            host.close()
        self.disk.unlink(missing_ok=True)


def run_one(boot, test, series, number):
    """Run TEST on BOOT's hosts; (result, whether the boot may be used again)."""
    result = verdict.Result(test, series)
    begin = time.monotonic()
    exits, dmesgs, complaints, alive = {}, {}, {}, True
    limit = test.timeout * boot.slowness
    boot.relay.clear()
    try:
        for host, command in zip(boot.hosts, test.commands):
            host.begin_test()
            host.request(f"run {number} {limit} {test.leak} {test.module} {command}")
        end = begin + limit + AGENT_SLACK * boot.slowness
        for host in boot.hosts:
            line = host.answer(max(1, end - time.monotonic()))
            match = re.fullmatch(rf"done {number} (\d+) (\S+)(.*)", line)
            if not match:
                raise HostDied(f"host {host.number} said \"{line}\"")
            exits[host.number] = int(match[1])
            if match[2] != "-":
                result.lost[host.number] = int(match[2])
            complaints[host.number] = match[3].split()
            text = host.take_output(f"dmesg {number}")
            if test.hosts > 1:
                text = f"--- host {host.number}:\n{text}"
            result.output += text
            dmesgs[host.number] = host.take_output(f"end {number}")
    except HostDied as err:
        alive = False
        result.problems.append(str(err))
        for host in boot.hosts:
            words = host.last_words()
            result.problems += verdict.trouble_in(words)[:1]
            result.output += host.rest_of_output() + words
    result.seconds = time.monotonic() - begin
    result.leaked_only = not any(exits.values()) and \
        {n for c in complaints.values() for n in c} == {"leak"}
    verdict.judge(result, exits, dmesgs, complaints)
    # A module that does not unload, or a task that hangs, would fail all that follow.
    dirty = any(n in ("processes", "unload") for c in complaints.values() for n in c)
    trouble = any(verdict.trouble_in(d, test.dmesg_allowed) for d in dmesgs.values())
    return result, alive and not dirty and (not trouble or bool(test.expect))


def scan_for_leaks(boot, tests, series):
    """The last thing that hosts of a debug kernel do: what kmemleak finds, as a result."""
    name = "kmemleak" if len(tests) > 1 else f"kmemleak after {tests[0].name}"
    result = verdict.Result(types.SimpleNamespace(name=name, taps=False), series)
    begin = time.monotonic()
    found = 0
    try:
        for host in boot.hosts:
            host.request("kmemleak")
        for host in boot.hosts:
            words = host.answer(SCAN_LIMIT * boot.slowness).split()
            if words[:2] != ["done", "kmemleak"]:
                raise HostDied(f"host {host.number} said \"{' '.join(words)}\"")
            found += int(words[2])
            result.output += host.take_output("end kmemleak")
    except HostDied as err:
        result.problems.append(str(err))
    result.seconds = time.monotonic() - begin
    if not result.problems and bool(found) != any(t.leaks for t in tests):
        result.problems.append(f"kmemleak found {found} pieces of memory that nothing points to")
    result.passed, result.failed = (0, 1) if result.problems else (1, 0)
    return result


def show(result, verbose):
    """One line for a test, and all that helps when it failed."""
    head = f"{result.kernel} {result.test.name}"
    checks = f" ({result.passed} checks)" if result.test.taps and result.passed > 1 else ""
    if result.failed:
        print(f"FAIL {head} {result.seconds:.1f}s: " +
              "; ".join(result.problems or ["checks failed"]))
        for ok, text in result.checks:
            if not ok:
                print(f"FAIL {head}: {text}")
        print("".join(f"    {line}\n" for line in result.output.splitlines()[-150:]), end="")
    elif result.skipped and not result.passed:
        why = [line for line in result.output.splitlines() if "SKIP" in line or "skip" in line]
        print(f"skip {head} {result.seconds:.1f}s {' '.join(why[:1])}")
    else:
        print(f"ok {head} {result.seconds:.1f}s{checks}")
        if verbose:
            print("".join(f"    {line}\n" for line in result.output.splitlines()), end="")
    print(end="", flush=True)


def run_group(directory, needs, tests, verbose, keep, deadline, fail_fast=False):
    """Run TESTS, which share NEEDS, on as few boots as it takes; return results."""
    series, hosts, cpus, mem, root, cmdline, programs, _ = needs
    results, boot, number, boots = [], None, 0, 0
    try:
        for test in tests:
            if STOPPED.is_set():
                break
            number += 1
            if time.monotonic() > deadline:
                result = verdict.Result(test, series)
                result.problems = ["the time for the whole run was over"]
                result.failed = 1
                results.append(result)
                show(result, verbose)
                continue
            try:
                if not boot:
                    boots += 1
                    boot = Boot(directory / f"boot{boots}", series, hosts, cpus, mem, root,
                                cmdline, files=initramfs.machine_programs(programs))
                result, reusable = run_one(boot, test, series, number)
                if result.leaked_only and reusable:
                    # Caches that fill once are no leak; what is lost again is.
                    result, reusable = run_one(boot, test, series, number)
            except LabError as err:
                result, reusable = verdict.Result(test, series), False
                result.problems, result.failed, result.output = [str(err)], 1, ""
            (directory / f"{test.name}.log").write_text(result.output)
            results.append(result)
            show(result, verbose)
            if result.failed and keep and boot:
                from . import shell
                shell.attend(boot)
            if not reusable and boot:
                boot.close()
                boot = None
            if result.failed and fail_fast:
                break
        if keep and boot:
            from . import shell
            shell.attend(boot)
        if boot and kernels.get(series).debug:
            results.append(scan_for_leaks(boot, tests, series))
            show(results[-1], verbose)
    finally:
        if boot:
            boot.close()
    return results


def run_tests(patterns, series, verbose=False, keep=False, jobs=1, limit=1500, repeat=1,
              overrides=None, module=True, user=True, short=False):
    """Build, run, print; return (passed, failed, skipped, results)."""
    tests = catalog.choose(patterns, short)
    for test in tests:
        for key, value in (overrides or {}).items():
            if value is not None:
                setattr(test, key, value)
    used = [s for s in series if any(s in t.kernels for t in tests)]
    build.build(used, module, user)
    directory = new_run()
    groups = {}
    for one in used:
        for test in tests * repeat:
            if one in test.kernels:
                groups.setdefault(test.needs(one), []).append(test)
    deadline = time.monotonic() + limit
    # Most tests need the same, and one kernel is to keep all jobs busy.
    slices = []
    for needs, members in groups.items():
        parts = max(1, jobs // len(used)) if len(members) >= SPLIT else 1
        slices += [(needs, members[i::parts]) for i in range(parts)]
    slices.sort(key=lambda item: -len(item[1]))
    results = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting = [pool.submit(run_group, directory / f"group{n}", needs, members, verbose, keep,
                               deadline)
                   for n, (needs, members) in enumerate(slices, 1)]
        try:
            for future in waiting:
                results += future.result()
        except BaseException:
            # The pool waits for its threads: end what they wait for.
            STOPPED.set()
            for boot in list(Boot.live):
                boot.close()
            raise
    passed, failed, skipped = (sum(getattr(r, k) for r in results)
                               for k in ("passed", "failed", "skipped"))
    as_dicts = [r.as_dict() for r in results]
    for line in faults.differences(as_dicts):
        print(f"FAIL docs/faults.md: {line}", flush=True)
        failed += 1
    summary = {"passed": passed, "failed": failed, "skipped": skipped, "tests": as_dicts}
    paths.write_new(directory / "results.json", json.dumps(summary, indent=1).encode())
    if failed:
        say(f"logs are in {directory.relative_to(paths.TOP)}")
    return passed, failed, skipped, results
