# SPDX-License-Identifier: GPL-2.0
"""What "make test" does: every stage, and one total."""
import json
import re
import subprocess
import time

from . import build, dkms, lints, paths, runner, setup
from .ui import LabError, say

STAGE_LIMIT = 2700


def external(cmd, what):
    """Run a test program that ends with "N passed, N failed"; return the two."""
    last = ""
    with subprocess.Popen([str(c) for c in cmd], cwd=paths.TOP, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace") as process:
        try:
            for line in process.stdout:
                if re.match(r"\d+ passed, \d+ failed", line):
                    last = line
                else:
                    print(line, end="", flush=True)
        finally:
            process.kill() if process.poll() is None and not last else None
        code = process.wait(timeout=60)
    match = re.match(r"(\d+) passed, (\d+) failed", last)
    if not match:
        print(f"FAIL {what}: it did not end with a count (exit status {code})")
        return 0, 1
    passed, failed = int(match[1]), int(match[2])
    if code and not failed:
        print(f"FAIL {what}: exit status {code}")
        failed = 1
    return passed, failed


def build_stage(series):
    passed = failed = 0
    for what, function in (*((f"module for {one}",
                              lambda one=one: build.build([one], user=False, tests=False))
                             for one in series),
                           ("user space, guests, tests", lambda: build.build([], module=False))):
        begin = time.monotonic()
        try:
            function()
        except LabError as err:
            print(f"FAIL build {what}\n{err}", flush=True)
            failed += 1
        else:
            print(f"ok build {what} {time.monotonic() - begin:.1f}s", flush=True)
            passed += 1
    return passed, failed


def lab_stage(series, jobs, short=False):
    passed, failed, skipped, results = runner.run_tests([], series, jobs=jobs, limit=STAGE_LIMIT,
                                                        module=False, user=False, short=short)
    if skipped:
        print(f"{skipped} skipped: " + ", ".join(sorted({r.test.name for r in results
                                                         if r.skipped})))
    return passed, failed


def kernel_stage(one):
    setup.setup([one])
    return 1, 0


def test(series, jobs=1):
    """What "make test" does."""
    setup.setup(series)
    stages = [("build", lambda: build_stage(series)), ("check", lambda: lints.check(series))]
    if (paths.TOP / "tests" / "user" / "run").exists():
        stages.append(("user space", lambda: external(["tests/user/run"], "user space")))
    stages.append(("hostile bytes", lambda: external(["tests/fuzz/run"], "hostile bytes")))
    stages.append(("models", lambda: external(["tests/model/run"], "models")))
    stages.append(("unit tests", lambda: external(["tests/kunit/run"], "unit tests")))
    stages.append(("emulated hosts", lambda: lab_stage(series, jobs)))
    stages.append(("DKMS", lambda: dkms.check(series)))
    return run_stages(stages, "test")


def test_debug(one="debug", jobs=1, short=False):
    """
    What "make test-debug" and "make test-newest" do: the same tests in hosts whose kernel
    looks for mistakes. SHORT: without those that take long there, as CI runs them.
    """
    setup.setup(["6.12"])       # what guests run
    return run_stages([(f"{one} kernel", lambda: kernel_stage(one)),
                       ("build", lambda: build_stage([one])),
                       ("emulated hosts", lambda: lab_stage([one], jobs, short))], f"test-{one}")


def run_stages(stages, name):
    """Every stage runs, even if an earlier one failed: a person wants to know it all."""
    total, table = [0, 0], []
    for title, function in stages:
        say(f"{title} ...")
        begin = time.monotonic()
        try:
            passed, failed = function()
        except (LabError, OSError, subprocess.SubprocessError) as err:
            print(f"FAIL {title}: {err}", flush=True)
            passed, failed = 0, 1
        total[0] += passed
        total[1] += failed
        table.append({"stage": title, "passed": passed, "failed": failed,
                      "seconds": round(time.monotonic() - begin, 1)})
        say(f"{title}: {passed} passed, {failed} failed, {table[-1]['seconds']} s")
    paths.write_new(paths.BUILD / f"{name}.json", json.dumps(table, indent=1).encode())
    for row in table:
        print(f"{row['stage']}: {row['passed']} passed, {row['failed']} failed "
              f"({row['seconds']} s)")
    print(f"{total[0]} passed, {total[1]} failed", flush=True)
    return 1 if total[1] or not total[0] else 0
