# SPDX-License-Identifier: GPL-2.0-only
"""A strict reader of Prometheus's text format, version 0.0.4, and of its customs."""
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
VALUE = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|Inf|NaN)")


def labels_of(text, line):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        if not match:
            raise ValueError(f"labels: {line}")
        if match[1] in labels or match[1].startswith("__"):
            raise ValueError(f"label {match[1]}: {line}")
        labels[match[1]] = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], match[2])
        at = match.end()
        if match[3] == "," and at == len(text):
            raise ValueError(f"a comma too many: {line}")
    return labels


def custom(name, kind, text):
    """What "promtool check metrics" also minds."""
    if not text:
        raise ValueError(f"{name} has no help")
    if (kind == "counter") != name.endswith("_total"):
        raise ValueError(f"{name} is a {kind}")
    if re.search(r"milli|micro|nano|_ms\b|_ns\b|kilo|mega|[A-Z]", name):
        raise ValueError(f"{name} has no base unit")


def parse(text):
    """{name: {"type", "samples": [(labels, value)]}}; ValueError says what is wrong."""
    if not text.endswith("\n"):
        raise ValueError("the last line does not end")
    families, current, seen = {}, None, set()
    helps = {}
    for line in text[:-1].split("\n"):
        match = re.fullmatch(rf"# HELP ({NAME}) ((?:[^\\]|\\[\\n])*)", line)
        if match:
            if match[1] in helps:
                raise ValueError(f"a second help: {line}")
            helps[match[1]] = match[2]
            continue
        match = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge)", line)
        if match:
            current = match[1]
            if current in families or current not in helps:
                raise ValueError(f"a type out of place: {line}")
            custom(current, match[2], helps[current])
            families[current] = {"type": match[2], "samples": []}
            continue
        match = re.fullmatch(rf"({NAME})(?:\{{(.*)\}})? (\S+)", line)
        if not match or not VALUE.fullmatch(match[3]):
            raise ValueError(f"no sample: {line}")
        if match[1] != current:
            raise ValueError(f"a sample outside of its family: {line}")
        labels = labels_of(match[2] or "", line)
        key = (current, tuple(sorted(labels.items())))
        if key in seen:
            raise ValueError(f"a second time: {line}")
        seen.add(key)
        number = float(match[3])
        if families[current]["type"] == "counter" and not number >= 0:
            raise ValueError(f"a counter below 0: {line}")
        families[current]["samples"].append((labels, number))
    return families


def value(families, name, labels):
    """Of that sample; None: there is none."""
    for own, number in families.get(name, {"samples": []})["samples"]:
        if own == labels:
            return number
    return None
