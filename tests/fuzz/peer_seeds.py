#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""
peer_seeds.py DIR: writes scripts for the fuzzed session (peer_fuzz.c) that lead to each of
its states, each from both sides, and each of them with one message left out, doubled,
early, or cut, for the fuzzer to begin with.
"""
import pathlib
import struct
import sys

from wire_seeds import a_pass, hello

(MESSAGE, BYTES, PAGES, AGAIN, CLOSE, CLOCK, CALL, SIGNAL, STALL, ORDER, NOMEM, TROUBLE, ANSWER,
 HEAD, RELEASE, STATE) = range(16)
FINAL, SEND, RECV, COMMIT, ABORT, REPORT, LIMIT = range(7)
SOURCE, VERIFY, TWO = 1, 2, 4
TOKEN = bytes(range(16))
REGIONS = [("ram", 700 * 4096), ("vga", 3 * 4096)]


def op(code, *args, link=0, hold=False):
    return bytes([code | link << 4 | 0x80 * hold]) + b"".join(args)


def u8(n):
    return struct.pack("<B", n)


def u16(n):
    return struct.pack("<H", n)


def message(kind, body=b"", link=0, hold=False):
    return op(MESSAGE, u8(kind), u16(len(body)), body, link=link, hold=hold)


def call(what, arg=0):
    return op(CALL, u8(what), u16(arg))


def clock(ms):
    return op(CLOCK, u16(ms))


def setup(flags, channels=1, timeout=2, nomem=0):
    return bytes([flags | (channels - 1) << 3 | timeout << 6, nomem])


def state(data, last=False):
    return message(13, struct.pack("<II", last, len(data)) + data)


def batch(*extents, number=1, link=1, data=0):
    pages = sum(e[1] for e in extents if not e[3])
    body = struct.pack("<II", len(extents), number) + b"".join(struct.pack("<QIHH", *e)
                                                               for e in extents)
    text = message(4, body, link=link, hold=bool(pages))
    return text + (op(PAGES, u16(pages), u8(data), link=link) if pages else b"")


def connect(channels, two=False, verify=False, timeout=10000, early=True):
    body = bytearray(hello(REGIONS[:1 + two]))
    body[8] = verify
    struct.pack_into("<HHI", body, 32, channels, 1 + two, timeout)
    shown = [message(3, struct.pack("<16sHHI", TOKEN, i, channels, 0), link=1 + i)
             for i in range(channels)]
    whole = [message(1, bytes(body))]
    return (shown + whole) if early else (whole + shown)


def one_pass(number, channels, pages=0):
    return [message(7, a_pass(number, 0, pages))] + \
           [message(5, a_pass(number), link=1 + i) for i in range(channels)]


def digests(two):
    # Nothing is allocated at the sink: its digests are 0. Two blocks, and one.
    all_of = [message(9, struct.pack("<HHIQ2Q", 0, 0, 2, 0, 0, 0))]
    if two:
        all_of.append(message(9, struct.pack("<HHIQQ", 1, 0, 1, 0, 0)))
    return all_of + [message(10)]


def as_source(channels=1, two=False, verify=False, filled=False, early=True):
    """Steps of a script whose peer is a source: the module is the sink, up to DONE."""
    flags = VERIFY * verify | TWO * two
    steps = [setup(flags, channels)] + connect(channels, two, verify, early=early)
    if filled:
        steps.append(batch((0, 3, 0, 0), (10, 20, 0, 1), (500, 60, 0, 0), data=7))
        steps.append(batch((1, 1, 0, 0), (1, 2, 0, 1), link=channels, data=9))
    steps += one_pass(1, channels, 5)
    if filled:
        steps.append(batch((0, 700, 0, 1), number=2))
    steps += [message(8, a_pass(2))] + one_pass(2, channels)
    if verify:
        steps += digests(two)
    steps += [message(12), state(b"state" * 20), call(RECV, 40), state(b"more", True),
              call(RECV, 4000), call(RECV, 4000), call(COMMIT), message(15)]
    return steps


def as_sink(channels=1, two=False, verify=False):
    """Steps of a script whose peer is a sink: the module is the source, up to DONE."""
    flags = SOURCE | VERIFY * verify | TWO * two
    return [setup(flags, channels), op(ANSWER, u8(1)), op(ANSWER, u8(2)), call(REPORT, 30),
            clock(60), op(ANSWER, u8(2)), call(LIMIT, 5), call(REPORT, 520), clock(60),
            op(ANSWER, u8(34)), call(FINAL), op(ANSWER, u8(2)), clock(10), op(ANSWER, u8(2)),
            clock(10), op(ANSWER, u8(2)), op(ANSWER, u8(4)), call(SEND, 2000), call(SEND, 11),
            op(ANSWER, u8(8)), call(COMMIT), op(ANSWER, u8(16))]


def echoed(number):
    return message(19, struct.pack("<II", number, 0))


def with_echo():
    """ECHO holds: it is answered, too late, twice, by another number, or before it was sent."""
    source = as_source(1, False, False, True)
    whole = connect(1)
    body = bytearray(hello(REGIONS[:1]))
    body[8] = 2
    struct.pack_into("<HHI", body, 32, 1, 1, 10000)
    asks = [source[0], whole[0], message(1, bytes(body))] + source[3:]
    yield asks
    for at in range(2, len(asks)):
        yield asks[:at] + [echoed(7)] + asks[at:]
        yield source[:at] + [echoed(7)] + source[at:]
    sink = as_sink()
    sink[1] = op(ANSWER, u8(1 | 128))
    answer = op(ANSWER, u8(64))
    yield sink
    for at in range(2, len(sink)):
        yield sink[:at] + [answer] + sink[at:]
        yield sink[:at] + [answer, clock(120), answer, clock(120)] + sink[at:]
        yield sink[:at] + [answer, echoed(1)] + sink[at:]
        for number in (0, 1, 2, 99):
            yield sink[:at] + [echoed(number)] + sink[at:]
            yield as_sink()[:at] + [echoed(number)] + as_sink()[at:]


def limited(channels):
    """A source whose senders wait for the host's limit, and what then becomes of them."""
    begin = [setup(SOURCE, channels), op(ANSWER, u8(1)), op(ANSWER, u8(2)), call(REPORT, 30),
             clock(60), op(ANSWER, u8(2)), call(LIMIT, 16), call(REPORT, 20), call(REPORT, 40),
             call(REPORT, 520), call(REPORT, 560), clock(80)]
    yield begin + [call(ABORT)]
    yield begin + [op(RELEASE)]
    yield begin + [abort_message()]
    yield begin + [clock(3000), op(ANSWER, u8(2)), op(RELEASE)]
    for rate in (15, 14, 0, 3):
        yield begin + [call(LIMIT, 16 | rate), op(ANSWER, u8(2)), call(LIMIT, 32 | rate),
                       op(ANSWER, u8(34)), call(FINAL), clock(500), call(LIMIT, 32 | 15),
                       clock(500), op(ANSWER, u8(2)), op(RELEASE)]


def abort_message():
    return message(17, struct.pack("<II", 5, 4) + b"gone")


def variants(steps):
    yield steps
    for at in range(1, len(steps) + 1):
        yield steps[:at] + [abort_message()]
        yield steps[:at] + [call(ABORT)]
        yield steps[:at] + [op(RELEASE)]
        yield steps[:at] + [op(CLOSE, u8(0))]
        yield steps[:at] + [op(STALL, u8(1))] + steps[at:]
        yield steps[:at] + [op(ORDER, u8(at))] + steps[at:]
        yield steps[:at] + [op(AGAIN, u8(0))]
        yield steps[:at] + [op(AGAIN, u8(1), link=1)] + steps[at:]
        yield steps[:at] + steps[at + 1:]
        yield steps[:at] + [clock(65000)]
        yield steps[:at] + [op(NOMEM, u8(1))] + steps[at:]
        yield steps[:at] + [op(TROUBLE, u8(1))] + steps[at:]
        yield steps[:at] + [op(TROUBLE, u8(2))] + steps[at:]
        for kind in range(1, 20):
            yield steps[:at] + [message(kind, a_pass(2) if kind < 9 else b"")]
        for ahead in range(at + 1, len(steps)):
            yield steps[:at] + [steps[ahead]] + steps[at:]


ENDINGS = (message(15), message(14), message(16), message(10), message(12),
           message(11, struct.pack("<IIQ", 0, 0, 0)), message(2, struct.pack("<H6xQ", 1, 1)),
           state(b"x" * 9), state(b"", True), message(6, a_pass(1)), message(18),
           batch((0, 1, 0, 0), number=3), batch((699, 2, 0, 0)), batch((0, 1, 1, 0)),
           batch((0, 512, 0, 0), (0, 1, 0, 0)), message(3, bytes(24), link=1),
           message(9, struct.pack("<HHIQQ", 0, 0, 1, 0, 5)), op(HEAD, u8(13), bytes(4), bytes(3)),
           message(11, struct.pack("<IIQQIHH", 1, 1, 0, 0, 9, 0, 0)), op(BYTES, u16(3), b"FrY"))


def answered_early():
    """READY and VERIFY_RESULT where the source has not asked, and then all goes on."""
    for verify in (False, True):
        steps = as_sink(1, False, verify)
        for at in range(2, len(steps) - 3):
            yield steps[:at] + [message(14)] + steps[at:]
            yield steps[:at] + [message(11, struct.pack("<IIQ", 0, 0, 0))] + steps[at:]


def scripts():
    bases = [as_source(), as_source(2, True, True, early=False), as_source(2, True, False, True),
             as_source(3, False, True), as_sink(), as_sink(2, True, True), as_sink(3, True)]
    for base in bases:
        yield from variants(base)
        for at in range(1, len(base)):
            for ending in ENDINGS:
                yield base[:at] + [ending]
    for nomem in range(1, 40):
        for flags in (0, SOURCE | TWO):
            yield [setup(flags, 2, 1, nomem)]
    for timeout in range(4):
        yield [setup(0, 2, timeout), *connect(2, timeout=100), clock(30000)]
        yield [setup(SOURCE, 2, timeout), op(ANSWER, u8(1)), clock(30000)]
    # More state than the pipe holds, and a VMM that takes it later.
    flood = as_source()[:-8] + [message(12)] + [op(STATE, u16(32768), u8(9))]
    yield flood
    yield flood + [call(RECV, 65535)]
    yield flood + [call(RECV, 65535)] * 5
    yield flood + [op(RELEASE)]
    # COMMIT while the answers to fences wait for a peer that takes nothing.
    stuck = as_source()
    yield stuck[:-1] + [op(STALL, u8(1)), stuck[-1], op(RELEASE)]
    yield stuck[:-1] + [op(STALL, u8(1)), message(5, a_pass(3), link=1), stuck[-1], op(RELEASE)]
    # COMMIT_ACK before COMMIT: a PING that the peer does not take is ahead of it.
    early = as_sink()[:-2] + [op(STALL, u8(1)), clock(5200), call(COMMIT), message(16)]
    yield early
    yield early + [op(STALL, u8(0)), clock(1)]
    yield from answered_early()
    yield from with_echo()
    for channels in (1, 2, 3):
        yield from limited(channels)
    # A batch that is still under way when memory is said to be complete.
    late = as_source(1, False, True)
    half = message(4, struct.pack("<IIQIHH", 1, 3, 5, 4, 0, 0), link=1)
    rest = op(PAGES, u16(4), u8(3), link=1)
    for at in range(6, len(late)):
        yield late[:at] + [half] + late[at:] + [rest]
        for then in range(at, len(late)):
            yield late[:at] + [half] + late[at:then] + [rest] + late[then:]


def main():
    where = pathlib.Path(sys.argv[1])
    where.mkdir(parents=True, exist_ok=True)
    for i, steps in enumerate(scripts()):
        data = b"".join(steps)
        (where / f"{i:05}").write_bytes(data)


if __name__ == "__main__":
    main()
