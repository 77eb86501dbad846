# SPDX-License-Identifier: GPL-2.0
"""
The table of docs/faults.md: made from what the tests matrix_* print, and compared
with it after every run of theirs.
"""
import json
import re

from . import paths
from .ui import LabError

PAGE = paths.TOP / "docs" / "faults.md"
BEGIN = '<!-- begin: made by "tests/lab/lab faults --write" -->'
END = "<!-- end -->"
STEPS = ("setup", "connecting", "first-pass", "later-pass", "final", "paused", "state-sent",
         "ready", "commit-sent", "ack-sent", "done")
CELL = re.compile(r"step=(\S+) fault=(.+) side=(\S+) outcome=(.+)")
TESTS = ("matrix_vmm", "matrix_link", "matrix_memory")
NONE = "-"


def cells_of(tests):
    """{(fault, side): {step: outcome}} of TESTS: dicts as in results.json."""
    rows = {}
    for test in tests:
        for check in test["checks"]:
            match = CELL.fullmatch(check["text"])
            if not match:
                continue
            step, fault, side, outcome = match.groups()
            if step not in STEPS:
                raise LabError(f"{test['name']} printed a step that labkit/faults.py does not "
                               f"know: {step}")
            rows.setdefault((fault, side), {})[step] = outcome
    return rows


def table(rows):
    """The lines of ROWS as a table."""
    lines = ["| fault | at | " + " | ".join(STEPS) + " |", "| --- | --- |" + " --- |" * len(STEPS)]
    for (fault, side), row in rows.items():
        lines.append(f"| {fault} | {side} | " +
                     " | ".join(row.get(step, NONE) for step in STEPS) + " |")
    return lines


def page_parts():
    """What is before the page's table, the table's lines, what is behind it."""
    text = PAGE.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise LabError(f"{PAGE} has not one line each: {BEGIN} and {END}")
    before, rest = text.split(BEGIN)
    inside, after = rest.split(END)
    return before, inside.strip().splitlines(), after


def page_rows():
    rows = {}
    for line in page_parts()[1][2:]:
        fault, side, *outcomes = [word.strip() for word in line.strip().strip("|").split("|")]
        rows[(fault, side)] = {step: o for step, o in zip(STEPS, outcomes) if o != NONE}
    return rows


def differences(tests):
    """What the page says otherwise than TESTS, a list of dicts as in results.json."""
    seen = cells_of(tests)
    if not seen:
        return []
    page, lines = page_rows(), []
    whole = all(any(t["name"] == name and not t["failed"] for t in tests) for name in TESTS)
    for key in {**seen, **(page if whole else {})}:
        for step in STEPS:
            now, then = (rows.get(key, {}).get(step, NONE) for rows in (seen, page))
            if now != then and (whole or now != NONE):
                lines.append(f"{key[0]} at the {key[1]}, {step}: the tests say \"{now}\", "
                             f"docs/faults.md \"{then}\"")
    return lines


def show(write):
    """Print the table of the last run, or put it into the page."""
    path = paths.RUNS / "latest" / "results.json"
    if not path.exists():
        raise LabError(f"no results yet: run \"tests/lab/lab run {' '.join(TESTS)}\" first")
    tests = json.loads(path.read_text())["tests"]
    missing = [name for name in TESTS
               if not any(t["name"] == name and not t["failed"] for t in tests)]
    if missing:
        raise LabError(f"the last run has not passed {', '.join(missing)}: "
                       f"run \"tests/lab/lab run {' '.join(TESTS)}\"")
    lines = table(cells_of(sorted(tests, key=lambda t: TESTS.index(t["name"])
                                  if t["name"] in TESTS else -1)))
    if not write:
        print("\n".join(lines))
        return
    before, _, after = page_parts()
    paths.write_new(PAGE, (before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after).encode())
