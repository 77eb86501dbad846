# SPDX-License-Identifier: GPL-2.0
"""
"make soak": guest after guest moves to and fro, with parameters, faults and
aborts by chance. tests/e2e/soak.c is a guest's life; here many of them run, on
hosts side by side, and what became of every migration is counted.

The same seed gives the same plan. How far a migration is when something
strikes it is a matter of time, and differs.
"""
import collections
import concurrent.futures
import itertools
import json
import re
import threading
import time

from . import build, catalog, kernels, paths, runner, setup, vm
from .ui import LabError, say

MOVES = 8               # of a guest: SOAK_MOVES in tests/e2e/soak.h
# A run must have done so much to have shown anything: a migration in so many seconds
# a host on a stock kernel; and of many, so many must have moved.
SLOWEST = 30
MANY, MOVED = 50, 0.4
ENOUGH = 10             # lives that failed, with --go-on
FAULTS = {"cancel-source", "cancel-sink", "abort-source", "abort-sink", "kill-sink",
          "out-of-memory", "link-short", "link-long", "kill-source"}
# Faults that end a migration if they come in time; the others only disturb it.
DISTURBS = {"none", "link-short"}
FAILED = ("stayed", "doubt-moved", "doubt-stayed", "died")
LINE = re.compile(r"migration (\d+): (.*)")
WORD = re.compile(r'(\w+)=("[^"]*"|\S+)')


def understand(line, ok):
    """A line of soak.c about one migration, as a dict; None: it is about something else."""
    match = LINE.match(line)
    if not match:
        return None
    row = {"migration": int(match[1]), "ok": ok}
    for key, value in WORD.findall(match[2]):
        value = value.strip('"')
        if re.fullmatch(r"\d+(\.\d+)?", value):
            value = float(value) if "." in value else int(value)
        row[key] = value
    return row


class Soak:
    """A run: guests' lives, on hosts that are booted as needed."""

    def __init__(self, series, args):
        self.series, self.args = series, args
        self.lock, self.rows, self.failed = threading.Lock(), [], []
        self.lives = self.scans = 0
        self.begin = time.monotonic()
        self.numbers = iter([args.only]) if args.only is not None else itertools.count()
        self.directory = runner.new_run()

    def next_life(self):
        """The number of the next guest, or None when it is enough."""
        with self.lock:
            minutes = (time.monotonic() - self.begin) / 60
            if self.args.minutes and minutes >= self.args.minutes:
                return None
            if self.args.migrations and \
                    len(self.rows) + self.lives * MOVES >= self.args.migrations:
                return None
            if len(self.failed) >= (ENOUGH if self.args.go_on else 1):
                return None
            number = next(self.numbers, None)
            self.lives += number is not None
            return number

    def test_of(self, life):
        """What the runner must know (see catalog.Test)."""
        test = catalog.choose(["soak"])[0]
        test.args = f"{self.args.seed} {life}"
        # What a host's kernel keeps after so much traffic is no leak; kmemleak knows better.
        test.leak = 0
        return test

    def take(self, life, result):
        """Count what became of a life's migrations."""
        rows = [understand(text, ok) for ok, text in result.checks]
        rows = [r for r in rows if r]
        head = [line.removeprefix("# ") for line in result.output.splitlines()
                if line.startswith("# seed ")]
        with self.lock:
            self.lives -= 1
            self.rows += rows
            print("\n".join(head + [text for _, text in result.checks]), flush=True)
            if result.failed:
                # Not only of pages that were lost: all that soak.c and the kernel said.
                self.failed.append({"life": life, "problems": result.problems,
                                    "output": result.output[-20000:]})
                print(f"FAIL life {life}: {'; '.join(result.problems) or 'checks failed'}")
                print("".join(f"    {line}\n" for line in result.output.splitlines()[-150:]),
                      end="")
                print(f"again: tests/lab/lab soak --kernel {self.series} --seed "
                      f"{self.args.seed} --only {life}", flush=True)
            say(f"{len(self.rows)} migrations, {len(self.failed)} lives failed, "
                f"{(time.monotonic() - self.begin) / 60:.1f} minutes")

    def take_leaks(self, result):
        """What a debug kernel says of all the lives on a host."""
        with self.lock:
            self.scans += 1
            runner.show(result, False)
            if result.failed:
                self.failed.append({"life": None, "problems": result.problems,
                                    "output": result.output[-20000:]})

    def work(self, job):
        """One host at a time, and one life after the other in it."""
        boot, boots, test = None, 0, None
        try:
            for count in itertools.count(1):
                life = self.next_life()
                if life is None:
                    break
                test = self.test_of(life)
                if not boot:
                    boots += 1
                    boot = runner.Boot(self.directory / f"job{job}-boot{boots}", self.series,
                                       cpus=self.args.cpus)
                result, reusable = runner.run_one(boot, test, self.series, count)
                (self.directory / f"life{life}.log").write_text(result.output)
                self.take(life, result)
                if not reusable:
                    boot.close()
                    boot = None
            if boot and kernels.get(self.series).debug:
                self.take_leaks(runner.scan_for_leaks(boot, [test] * 2, self.series))
        finally:
            if boot:
                boot.close()

    def problems(self):
        """Why this run has not shown what it should, beside lives that failed."""
        rows, seconds = self.rows, time.monotonic() - self.begin
        least = 1
        if self.args.only is None:
            least = self.args.migrations or 0
            if self.args.minutes:
                slowest = SLOWEST * kernels.get(self.series).slowness / self.args.jobs
                at_least = max(MOVES // 2, int(self.args.minutes * 60 / slowest))
                least = min(least or at_least, at_least)
        if len(rows) < least:
            yield f"only {len(rows)} migrations in {seconds:.0f} s, less than {least}"
        if len(rows) < MANY:
            return
        moved = sum(r["outcome"] == "moved" for r in rows)
        if moved < MOVED * len(rows):
            yield f"only {moved} of {len(rows)} migrations moved the guest"
        for fault in sorted(FAULTS):
            mine = [r for r in rows if r["fault"] == fault]
            if len(rows) >= 2 * MANY and fault not in DISTURBS and \
                    not any(r["outcome"] in FAILED for r in mine):
                yield f"{fault} has never come in time: {len(mine)} were tried"

    def report(self):
        """Print the summary and write the JSON; return the numbers of checks."""
        rows, args = self.rows, self.args
        outcomes = collections.Counter(r["outcome"] for r in rows)
        table = collections.defaultdict(collections.Counter)
        for row in rows:
            table[row["fault"]][row["outcome"]] += 1
        lost = sum(r["checker"] != "right" for r in rows)
        problems = list(self.problems())
        passed = sum(r["ok"] for r in rows) + self.scans - \
            sum(f["life"] is None for f in self.failed)
        failed = sum(not r["ok"] for r in rows) + len(problems)
        # A life can fail without a migration that did: the kernel complained, it hung.
        failed += sum(all(r["ok"] for r in rows if r["life"] == f["life"]) for f in self.failed)
        seconds = time.monotonic() - self.begin
        print(f"\nseed {args.seed}, kernel {self.series}, {args.jobs} hosts at a time, "
              f"{seconds / 60:.1f} minutes")
        for fault, counts in sorted(table.items()):
            print(f"  {fault:<14} " + ", ".join(f"{n} {what}" for what, n in
                                                sorted(counts.items())))
        print(f"  {sum(r['pages'] + r['zero'] for r in rows)} pages in "
              f"{sum(r['passes'] for r in rows)} passes")
        for text in problems:
            print(f"FAIL {text}")
        print(f"{len(rows)} migrations: " +
              ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items())) +
              f"; guests that lost a page: {lost}", flush=True)
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{self.series}-seed{args.seed}.json"
        path = paths.BUILD / "soak" / name
        paths.write_new(path, (json.dumps({
            "version": 1, "seed": args.seed, "kernel": kernels.get(self.series).release,
            "accelerator": "kvm" if vm.accel_kvm() else "tcg", "jobs": args.jobs,
            "seconds": round(seconds, 1), "migrations": len(rows), "outcomes": outcomes,
            "by_fault": table, "lost_page_guests": lost, "problems": problems,
            "failed_lives": self.failed, "rows": sorted(rows, key=lambda r: r["migration"]),
        }, indent=1) + "\n").encode())
        say(f"all of it is in {path.relative_to(paths.TOP)}, logs are in "
            f"{self.directory.relative_to(paths.TOP)}")
        return passed, failed


def soak(series, args):
    """Returns the exit status."""
    setup.setup([series])
    if series != "6.12" and not kernels.find("6.12"):
        setup.setup(["6.12"])       # what assemble() puts into every host
    say("building ...")
    build.build([series], not args.no_module, not args.no_user)
    run = Soak(series, args)
    say(f"seed {args.seed}: " + (f"life {args.only}" if args.only is not None else " or ".join(
        [f"{args.minutes:g} minutes"] * bool(args.minutes) +
        [f"{args.migrations} migrations"] * bool(args.migrations))) +
        f", {args.jobs} hosts at a time, kernel {series} ...")
    with concurrent.futures.ThreadPoolExecutor(max_workers=args.jobs) as pool:
        jobs = [pool.submit(run.work, n) for n in range(1, args.jobs + 1)]
    errors = [str(job.exception()) for job in jobs if job.exception()]
    passed, failed = run.report()
    for text in errors:
        print(f"FAIL {text}")
    failed += len(errors)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def add_options(sub):
    """The command line of "lab soak"."""
    sub.add_argument("--minutes", type=float, default=0, help="begin no new guest after so long "
                     "(default: 10, unless --migrations is given)")
    sub.add_argument("--migrations", type=int, default=0, help="end after so many")
    sub.add_argument("--seed", type=int, default=1, help="of everything that is chance (1)")
    sub.add_argument("--only", type=int, metavar="LIFE", help="only this guest of the seed's")
    sub.add_argument("--jobs", "-j", type=int, default=2, help="hosts at a time (2)")
    sub.add_argument("--cpus", type=int, default=2, help="processors a host (2)")
    sub.add_argument("--go-on", action="store_true", help="do not stop at a life that failed")


def check_options(args):
    """Fill in what was left out."""
    if args.minutes < 0 or args.migrations < 0 or args.jobs < 1 or args.seed < 0:
        raise LabError("--minutes, --migrations, --jobs and --seed are not negative")
    if not args.minutes and not args.migrations and args.only is None:
        args.minutes = 10
    if args.only is not None:
        args.jobs = 1
