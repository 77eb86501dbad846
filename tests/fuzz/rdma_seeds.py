#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""
rdma_seeds.py DIR: writes what the two ends of an RDMA channel say (docs/rdma.md), each of it
with one 16-bit word changed or cut off at one byte, too, for the fuzzer to begin with.
"""
import pathlib
import struct
import sys

MAGIC = 0x31417246
TOKEN = bytes(range(16))
ONES = (0x0000, 0x0001, 0x0020, 0x0200, 0x0400, 0xffff, 0x8000)
TO_SINK, TO_SOURCE, REQUEST, REPLY, REFUSAL = range(5)


def send(kind, body=b"", length=None):
    data = struct.pack("<II", kind, len(body) if length is None else length) + body
    return struct.pack("<H", len(data)) + data


def want(number, *runs, count=None):
    return send(2, struct.pack("<II", number, len(runs) if count is None else count) +
                b"".join(struct.pack("<QIHH", *run, 0) for run in runs))


MESSAGES = {
    "stream": (TO_SINK, send(1, struct.pack("<IHHII", 0x31597246, 5, 0, 16, 0) + bytes(16))),
    "want": (TO_SINK, want(1, (0, 512, 0))),
    "want-runs": (TO_SINK, want(65535, (7, 1, 0), (1 << 40, 511, 255), (9, 3, 65535))),
    "want-most": (TO_SINK, want(2, *((3 * i, 1, 1) for i in range(511)))),
    "want-wraps": (TO_SINK, want(3, (5, 1, 0), count=0x10000001)),
    "drop": (TO_SINK, send(3, struct.pack("<II", 65535, 0))),
    "credit": (TO_SINK, send(5, struct.pack("<II", 32, 0))),
    "dialogue": (TO_SINK, want(4, (1, 2, 0)) + send(1, bytes(40)) + send(3, struct.pack("<II", 4, 0))),
    "grant": (TO_SOURCE, send(4, struct.pack("<IIQ", 1, 0x1234, 0x7f0000001000))),
    "credit-source": (TO_SOURCE, send(5, struct.pack("<II", 16, 0))),
    "sealed": (TO_SOURCE, send(6)),
    "sealed-long": (TO_SOURCE, send(6, b"more")),
    "lies": (TO_SOURCE, send(6, b"", length=0xffffffff)),
    "answers": (TO_SOURCE, send(4, struct.pack("<IIQ", 9, 1, 0)) + send(5, struct.pack("<II", 1, 0)) +
                send(6)),
    "request": (REQUEST, struct.pack("<IHHHH16s", MAGIC, 1, 0, 1, 0, TOKEN)),
    "request-padded": (REQUEST, struct.pack("<IHHHH16s", MAGIC, 1, 15, 16, 0, TOKEN) + bytes(28)),
    "reply": (REPLY, struct.pack("<IHHIIQ", MAGIC, 1, 0, 512, 0, 1024)),
    "reply-padded": (REPLY, struct.pack("<IHHIIQ", MAGIC, 1, 0, 1, 0, 1 << 40) + bytes(172)),
    "refusal": (REFUSAL, struct.pack("<II", MAGIC, 5) + bytes(140)),
}


def main():
    where = pathlib.Path(sys.argv[1])
    where.mkdir(parents=True, exist_ok=True)
    for title, (what, data) in MESSAGES.items():
        (where / title).write_bytes(bytes([what]) + data)
        # Of a long one its beginning is enough: the rest is like it.
        for at in range(0, min(len(data) - 1, 64), 2):
            for value in ONES:
                changed = data[:at] + struct.pack("<H", value) + data[at + 2:]
                (where / f"{title}-{at}-{value:x}").write_bytes(bytes([what]) + changed)
        for at in range(min(len(data), 64)):
            cut = data[:at]
            # A SEND that came short: its length in front is that of what came.
            if what in (TO_SINK, TO_SOURCE) and at >= 2:
                cut = struct.pack("<H", at - 2) + data[2:at]
            (where / f"{title}-cut-{at}").write_bytes(bytes([what]) + cut)


if __name__ == "__main__":
    main()
