#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""
windows_seeds.py DIR: writes what a source asks of a sink's windows, with all that can go wrong
there, for the fuzzer of windows_fuzz.c to begin with.
"""
import pathlib
import struct
import sys

sys.dont_write_bytecode = True
from rdma_seeds import send, want   # pylint: disable=wrong-import-position

WORK = struct.pack("<H", 0)     # the device does what it was asked


def drop(number):
    return send(3, struct.pack("<II", number, 0))


SCRIPTS = {
    "one": want(1, (0, 1, 0)) + WORK + drop(1) + WORK,
    "runs": want(7, (0, 3, 0), (5, 1, 0), (0, 3, 1)) + want(8, (10, 200, 0)) + drop(7),
    "again": (want(1, (0, 2, 0)) + WORK + drop(1) + WORK) * 3,
    "same-pages": want(1, (0, 9, 0), (0, 9, 0)) + want(2, (4, 4, 0)) + drop(2) + drop(1),
    "busy": b"".join(want(i, (i, 1, 0)) for i in range(1, 20)),
    "all": b"".join(want(i, (0, 500, 0)) for i in range(1, 4)),
    "all-and-drop": b"".join(want(i, (0, 500, 0)) + drop(i) for i in range(1, 5)),
    "open-already": want(3, (0, 1, 0)) + want(3, (1, 1, 0)),
    "not-open": drop(5),
    "beyond": want(1, (699, 2, 0)),
    "far-beyond": want(1, ((1 << 64) - 1, 2, 0)),
    "no-region": want(1, (0, 1, 2)),
    "too-many": want(1, (0, 512, 0), (0, 512, 0)),
}


def main():
    where = pathlib.Path(sys.argv[1])
    where.mkdir(parents=True, exist_ok=True)
    for title, script in SCRIPTS.items():
        for name, how in (("well", (255, 0, 0, 0)), ("small", (0, 0, 0, 0)), ("full", (250, 0, 0, 1)),
                          ("flushed", (255, 0, 0, 2)), ("sealed", (255, 0, 0, 8)),
                          ("unmapped", (255, 0, 2, 0)),
                          *((f"nomem{i}", (255, i, 0, 0)) for i in range(1, 16))):
            (where / f"{title}-{name}").write_bytes(bytes(how) + script)


if __name__ == "__main__":
    main()
