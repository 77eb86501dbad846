# SPDX-License-Identifier: GPL-2.0
"""What the lab says to the person in front of it."""
import subprocess
import sys
import time


class LabError(Exception):
    """Something a person can mend; the text says how."""


def say(text):
    """Progress goes to stderr: stdout is for results."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


class Step:
    """Announces a step that may take a while, and how long it took."""

    def __init__(self, text):
        self.text = text

    def __enter__(self):
        say(f"{self.text} ...")
        self.begin = time.monotonic()
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            say(f"{self.text}: done in {time.monotonic() - self.begin:.1f} s")


def run(cmd, what, timeout=900, **kwargs):
    """Run CMD; on failure raise LabError with WHAT and the command's own words."""
    cmd = [str(c) for c in cmd]
    try:
        done = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=timeout, check=False, **kwargs)
    except FileNotFoundError as err:
        raise LabError(f"{what}: {cmd[0]} is not installed; run \"tests/lab/lab setup\"") from err
    except subprocess.TimeoutExpired as err:
        text = (err.stdout or b"").decode(errors="replace")
        raise LabError(f"{what}: still running after {timeout} s, gave up\n{text}") from err
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        raise LabError(f"{what} failed (exit {done.returncode}): {' '.join(cmd)}\n{text}")
    return text
