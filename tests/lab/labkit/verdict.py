# SPDX-License-Identifier: GPL-2.0
"""From what a test printed and what the kernel said to passed, failed, skipped."""
import re

from . import paths
from .kernels import DEBUG_SLOWNESS

SKIP = 77

# Whatever the kernel prints of these after a test began fails that test.
KERNEL_TROUBLE = re.compile(
    r"WARNING:|BUG:|Oops|Call Trace:|general protection|kernel BUG|KASAN|KCSAN|UBSAN|kmemleak|"
    r"refcount_t|blocked for more than|scheduling while atomic|sleeping function called|"
    r"possible circular locking|possible recursive locking|inconsistent lock state|"
    r"suspicious RCU usage|detected stalls|soft lockup|hard LOCKUP|list_(?:add|del) corruption|"
    r"Bad page|bad page|BUG kmalloc|page dumped because|segfault at|unable to handle|"
    r"objects remaining|use-after-free|traps: |invoked oom-killer|Out of memory")
# What stock kernels say for reasons of their own.
HARMLESS = re.compile(r"clocksource: |perf: interrupt took too long|kauditd hold queue")


class Result:
    """What became of one test in one kernel."""

    def __init__(self, test, kernel):
        self.test, self.kernel = test, kernel
        self.passed = self.failed = self.skipped = 0
        self.seconds = 0.0
        self.problems = []      # sentences
        self.output = ""
        self.checks = []        # (passed, text) of TAP lines
        self.leaked_only = False    # nothing else was wrong
        self.lost = {}          # KiB of memory that did not come back, by host

    @property
    def ok(self):
        return not self.failed

    def as_dict(self):
        return {"name": self.test.name, "kernel": self.kernel, "passed": self.passed,
                "failed": self.failed, "skipped": self.skipped, "problems": self.problems,
                "seconds": round(self.seconds, 2), "lost_kib": self.lost,
                "checks": [{"ok": ok, "text": text} for ok, text in self.checks],
                "output": self.output[-20000:]}


def trouble_in(dmesg, allowed=""):
    """Lines of DMESG that tell of trouble."""
    lines = []
    if allowed:     # and the stack that was dumped with it
        dmesg = re.sub(rf"(?m)^.*(?:{allowed}).*\n(?:.*\n){{0,8}}?Call Trace:\n(?:.*\n)*? </TASK>$",
                       "", dmesg)
    for line in dmesg.splitlines():
        if KERNEL_TROUBLE.search(line) and not HARMLESS.search(line) and \
                not (allowed and re.search(allowed, line)):
            lines.append(line)
    return lines


def read_tap(result, text):
    """Count the lines of a TAP program; say what is wrong with the sequence."""
    planned = None
    for line in text.splitlines():
        match = re.match(r"(not )?ok\b\s*(\d+)?\s*(?:-\s*)?(.*)", line)
        if match:
            words = match[3].strip()
            if re.search(r"#\s*skip", words, re.I):
                result.skipped += 1
                continue
            result.checks.append((not match[1], words))
            continue
        match = re.match(r"1\.\.(\d+)\b", line)
        if match:
            planned = int(match[1])
    count = len(result.checks) + result.skipped
    if planned is None:
        result.problems.append("it printed no plan (1..N)")
    elif planned != count:
        result.problems.append(f"it planned {planned} checks and made {count}")
    result.passed += sum(ok for ok, _ in result.checks)
    result.failed += sum(not ok for ok, _ in result.checks)


def judge(result, exits, dmesgs, complaints):
    """As judge_plainly(), but a test that must fail passes by failing as foretold."""
    judge_plainly(result, exits, dmesgs, complaints)
    expect = result.test.expect
    if not expect:
        return
    foretold = any(re.search(expect, p) for p in result.problems)
    result.passed, result.failed, result.skipped = (1, 0, 0) if foretold else (0, 1, 0)
    if not foretold:
        result.problems.append(f"it should have failed with \"{expect}\"")


def judge_plainly(result, exits, dmesgs, complaints):
    """
    Fill RESULT from each host's exit status, kernel messages and the agent's
    COMPLAINTS (timeout, processes, unload, leak).
    """
    test = result.test
    for number, code in exits.items():
        where = f" on host {number}" if test.hosts > 1 else ""
        if code == SKIP:
            continue
        if code and not (test.taps and code == 1):
            result.problems.append(f"exit status {code}{where}")
    for number, dmesg in dmesgs.items():
        lines = trouble_in(dmesg, test.dmesg_allowed)
        if lines:
            result.problems.append(f"the kernel of host {number} complained: {lines[0].strip()}")
            result.output += f"\n--- dmesg of host {number}:\n{dmesg}"
    words = {"timeout": "it was not done after "
             f"{test.timeout * (DEBUG_SLOWNESS if result.kernel in paths.DEBUG_KERNELS else 1)} s",
             "processes": "a process of it could not be killed",
             "unload": "the module did not unload",
             "leak": "memory did not come back"}
    for number, names in complaints.items():
        result.problems += [f"{words.get(n, n)} (host {number})" for n in names]
    if test.taps and not any(c == SKIP for c in exits.values()):
        read_tap(result, result.output)
        if any(c == 1 for c in exits.values()) and not result.failed:
            result.problems.append("exit status 1 although no check failed")
    if result.problems:
        result.failed += 1
    elif any(c == SKIP for c in exits.values()):
        result.skipped += 1
    elif not test.taps:
        result.passed += 1
