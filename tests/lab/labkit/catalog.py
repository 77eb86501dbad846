# SPDX-License-Identifier: GPL-2.0
"""The tests that there are, and what each needs."""
import fnmatch

from . import build, paths
from .ui import LabError

DEFAULTS = {"hosts": "1", "cpus": "2", "mem": "1024", "timeout": "60", "module": "yes",
            "leak": "2048", "root": "no", "kernels": ",".join(paths.SERIES), "args": "",
            "cmdline": "", "alone": "no", "sources": "", "libs": "", "dmesg": "", "expect": "",
            "tap": "", "leaks": "no", "asked": "", "programs": "", "long": "", "short": ""}


class Test:
    """A file of tests/e2e. Its header says: lab: key=value ..."""

    def __init__(self, name, paths_, settings):
        unknown = set(settings) - set(DEFAULTS)
        if unknown:
            raise LabError(f"{paths_[0]}: unknown setting {', '.join(sorted(unknown))} in its "
                           f"\"lab:\" line; known are {', '.join(sorted(DEFAULTS))}")
        values = {**DEFAULTS, **settings}
        self.name, self.paths = name, paths_
        self.hosts, self.cpus, self.mem = (int(values[k]) for k in ("hosts", "cpus", "mem"))
        self.timeout, self.leak = int(values["timeout"]), int(values["leak"])
        self.module, self.root = values["module"], values["root"] == "yes"
        self.kernels = values["kernels"].split(",")
        if "debug" in self.kernels:
            self.kernels += [k for k in paths.DEBUG_KERNELS if k not in self.kernels]
        # Kernels on which it runs only when it is named: all of them take too long.
        self.asked = [k for k in values["asked"].split(",") if k]
        # Kernels on which a short run leaves it out, and its arguments in one.
        self.long = [k for k in values["long"].split(",") if k]
        self.short = values["short"].replace(",", " ")
        self.cmdline, self.alone = values["cmdline"], values["alone"] == "yes"
        # Programs of this machine that its hosts have and others have not: they are large.
        self.programs = tuple(p for p in values["programs"].split(",") if p)
        self.dmesg_allowed = values["dmesg"]    # a regular expression of expected messages
        # The lab's own tests fail on purpose; what they must fail with is here.
        self.expect = values["expect"]
        self.leaks = values["leaks"] == "yes"   # and kmemleak must find something
        self.args = values["args"].replace(",", " ")
        self.taps = (values["tap"] or ("yes" if paths_[0].suffix == ".c" else "no")) == "yes"

    @property
    def commands(self):
        """What each host runs."""
        return [f"{'sh /tests/' + p.name if p.suffix == '.sh' else '/tests/' + p.stem} "
                f"{self.args}".strip() for p in self.paths]

    def needs(self, kernel):
        """Tests with equal needs share a boot."""
        return (kernel, self.hosts, self.cpus, self.mem, self.root, self.cmdline,
                self.programs, self.name if self.alone else "")


def every():
    """All tests, by name."""
    tests = {}
    for path in sorted([*paths.SELFTEST.iterdir(), *paths.E2E.iterdir()]):
        if path.suffix not in (".sh", ".c"):
            continue
        settings = build.c_header(path)
        if settings is None:
            continue        # a library or a helper program, not a test
        if path.name.endswith(".sink.sh"):
            continue
        if path.name.endswith(".source.sh"):
            name = path.name.removesuffix(".source.sh")
            sink = path.with_name(f"{name}.sink.sh")
            if not sink.exists():
                raise LabError(f"{path.name} has no {sink.name} beside it")
            # Network drivers keep buffers once there was traffic.
            settings = {"leak": "12288", **settings, "hosts": "2"}
            tests[name] = Test(name, [path, sink], settings)
        else:
            if path.stem in tests:
                raise LabError(f"two tests are named {path.stem}")
            tests[path.stem] = Test(path.stem, [path], settings)
    return tests


def shorten(tests):
    """What a short run has of TESTS."""
    for test in tests.values():
        test.kernels = [k for k in test.kernels if k not in test.long]
        test.args = test.short or test.args


def choose(patterns, short=False):
    """The tests that PATTERNS (names or globs) name; all without any, or those of a short run."""
    tests = every()
    if short:
        shorten(tests)
    if not patterns:
        return list(tests.values())
    chosen = []
    for pattern in patterns:
        names = [n for n in tests if fnmatch.fnmatch(n, pattern)]
        if not names:
            raise LabError(f"no test is named {pattern}; there are: {' '.join(tests) or 'none'}")
        chosen += [tests[n] for n in names if tests[n] not in chosen]
    for test in chosen:
        test.kernels += [k for k in test.asked if k not in test.kernels]
    return chosen
