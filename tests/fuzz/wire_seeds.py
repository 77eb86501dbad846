#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""
wire_seeds.py DIR: writes messages that are right (docs/protocol.md), and each of them with
one 16-bit word changed, for the fuzzer to begin with.
"""
import pathlib
import struct
import sys

TOKEN = bytes(range(16))
ONES = (0x0000, 0x0001, 0x000d, 0x0063, 0x1000, 0xffff, 0x8000)


def message(kind, body=b"", seq=0):
    return struct.pack("<IHHII", 0x31597246, kind, 0, len(body), seq) + body


def name(text):
    return text.encode().ljust(32, b"\0")


def hello(regions):
    body = struct.pack("<HHIQ16sHHIQ32s", 1, 1, 12, 1, TOKEN, 2, len(regions), 10000, 0,
                       name("guest"))
    return body + b"".join(struct.pack("<QQQ32s", i, length, 0, name(text))
                           for i, (text, length) in enumerate(regions))


def extents(*rows):
    return b"".join(struct.pack("<QIHH", *row) for row in rows)


def batch(*rows):
    return struct.pack("<II", len(rows), 1) + extents(*rows)


def a_pass(number, channel=0, pages=0):
    return struct.pack("<IHHQ", number, channel, 0, pages)


MESSAGES = {
    "hello": message(1, hello([("ram", 1 << 30), ("vga", 1 << 24)])),
    "hello-nameless": message(1, hello([("r", 4096)]).replace(b"guest", b"\0" * 5)),
    "hello_ack": message(2, struct.pack("<H6xQ", 1, 1)),
    "channel": message(3, struct.pack("<16sHHI", TOKEN, 1, 2, 0)),
    "batch": message(4, batch((5, 512, 0, 0))),
    "batch-mixed": message(4, batch((0, 1, 0, 0), (1, 1 << 30, 1, 1), (7, 511, 1, 0))),
    "fence": message(5, a_pass(3)),
    "fence_ack": message(6, a_pass(3, 15)),
    "pass": message(7, a_pass(1, 0, 1 << 33)),
    "final": message(8, a_pass(2)),
    "digest": message(9, struct.pack("<HHIQQQ", 0, 0, 2, 0, 1, 2)),
    "digest_end": message(10),
    "verify_result": message(11, struct.pack("<IIQ", 0, 0, 77)),
    "verify_differs": message(11, struct.pack("<IIQ", 2, 5, 77) +
                              extents((0, 512, 0, 0), (1024, 1 << 20, 1, 0))),
    "paused": message(12),
    "state": message(13, struct.pack("<II", 0, 5) + b"state"),
    "state-last": message(13, struct.pack("<II", 1, 0)),
    "ready": message(14), "commit": message(15), "commit_ack": message(16),
    "abort": message(17, struct.pack("<II", 12, 9) + b"no \x1b room\n"),
    "ping": message(18, b"", 1), "echo": message(19, struct.pack("<II", 7, 0)),
}


def main():
    where = pathlib.Path(sys.argv[1])
    where.mkdir(parents=True, exist_ok=True)
    for title, data in MESSAGES.items():
        (where / title).write_bytes(data)
        for at in range(0, len(data) - 1, 2):
            for value in ONES:
                changed = data[:at] + struct.pack("<H", value) + data[at + 2:]
                (where / f"{title}-{at}-{value:x}").write_bytes(changed)
    (where / "all").write_bytes(b"".join(MESSAGES.values()))


if __name__ == "__main__":
    main()
