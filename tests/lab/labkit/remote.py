# SPDX-License-Identifier: GPL-2.0
"""
"make bench HOSTS=A,B": the benchmarks on two real machines, over ssh.

Each machine gets a directory that looks like the root of an emulated host, and the same
scripts run in it, in namespaces of their own (tests/lab/host/remote.sh); what they ask of
the lab's store is answered here. One connection holds it all: when it ends, however, the
machine ends what runs there and removes the directory.
"""
import contextlib
import json
import os
import re
import shlex
import time

from . import build, initramfs, kernels, paths, verdict
from .machine import Machine
from .ui import LabError, Step, run, say
from .vm import Relay

FACTS = ("name", "cpu", "processors", "kernel", "nic", "nic_driver", "nic_mbit", "nic_mtu")
# Of what is built here: the scripts' tools. All that a benchmark adds comes, too.
TOOLS = ("tests/lib.sh", "tests/qmp", "tests/vmcmd")
LEFT_OUT = {
    "harvest": "it takes the kernel's guard against realtime tasks away, and a processor for itself",
    "converges": "it needs a link of 100 Mbit/s, and no traffic control is set on a real card",
    "hot": "it needs a link of 100 Mbit/s, and no traffic control is set on a real card",
    "wild": "it needs a link of 100 Mbit/s, and no traffic control is set on a real card",
    "trace": "it needs a link of 100 Mbit/s, and no traffic control is set on a real card",
    "rdma": "run tests/rdma-hw there",
    "order": "it loads an example module, and on machines nothing is installed",
    "profile": "run perf on the machine itself",
}


class Machines:
    """Both machines: what a benchmark asks of the lab's hosts (see bench.Bench.run)."""

    def __init__(self, args):
        self.relay, names = Relay(), args.hosts.split(",")
        self.addresses = args.addresses.split(",") if args.addresses else []
        if len(names) != 2 or len(self.addresses) not in (0, 2):
            raise LabError("--hosts and --addresses name two machines each: the source, and the sink")
        self.all = [Machine(n, name, shlex.split(args.ssh), self.relay)
                    for n, name in enumerate(names, 1)]

    def prepare(self, files, programs):
        """Looks at both, and only then copies anything."""
        for machine in self.all:
            machine.greet()
        self.addresses = self.addresses or [m.address for m in self.all]
        if None in self.addresses or self.addresses[0] == self.addresses[1]:
            raise LabError("ssh does not tell by which addresses the machines reach each other: "
                           "say --addresses A,B")
        for machine in self.all:
            machine.look(self.addresses[2 - machine.number])
        wrong = [words for machine in self.all for words in machine.problems()]
        if wrong:
            raise LabError("; ".join(wrong))
        if self.all[0].facts["cpu"] != self.all[1].facts["cpu"]:
            say(f"warning: a {self.all[0].facts['cpu']} and a {self.all[1].facts['cpu']}: a guest "
                "with -cpu host may not run on the other, and figures of the two ends do not compare")
        archive = packed(files)
        for machine in self.all:
            machine.open()
            with Step(f"copying {len(archive) >> 20} MiB to {machine.name}:{machine.directory}"):
                machine.fill(archive)
        self.check(programs)

    def check(self, programs):
        """In the directories: the module's versions, the programs, the way between the two."""
        outputs = self.script([f"sh /bench/reach.sh {' '.join(programs)}"] * 2, 120)
        wrong, wires = [], []
        for machine, text in zip(self.all, outputs):
            wrong += [f"{machine.name}: {w}" for w in re.findall(r"(?m)^problem (.*)$", text)]
            found = re.search(r"(?ms)^\{$.*?^\}$", text)
            for c in json.loads(found[0])["checks"] if found else ():
                if c["status"] == "fail":
                    wrong.append(f"{machine.name}: {c['detail']}: {c['advice']}")
                if c["name"] == "device" and c["status"] == "ok":
                    machine.release = c["detail"].partition(": ")[2]
                    wires.append(re.search(r"wire protocol \d+ to (\d+)", c["detail"])[1])
        if not wrong and len(wires) == 2 and wires[0] != wires[1]:
            wrong.append(f"the modules speak wire protocol {wires[0]} and {wires[1]}: install "
                         "the same release on both")
        if wrong or len(wires) != 2:
            raise LabError("; ".join(wrong) or f"ferryctl check says nothing: {outputs}")

    def script(self, commands, limit):
        """Runs a command on each, or on the first alone; what they printed."""
        self.relay.clear()
        used, statuses, ended = self.all[:len(commands)], {}, False
        for machine, command in zip(used, commands):
            machine.start(command, self.addresses)
        end = time.monotonic() + limit
        while len(statuses) < len(used):
            for machine in [m for m in used if m not in statuses]:
                word, rest = machine.hear(0.05)
                if word == "done":
                    statuses[machine] = rest
            late = time.monotonic() > end
            if ended and late:
                used[0].fail("what runs there does not end")
            # Nobody waits for one that failed.
            if not ended and (late or set(statuses.values()) - {"0"}):
                ended, end = True, time.monotonic() + 60
                for machine in used:
                    machine.tell("end")
        outputs = [m.must("cat", f"{m.directory}/output") for m in used]
        # Who was ended is not who failed.
        for machine in sorted(used, key=lambda m: statuses[m] == "ended"):
            if statuses[machine] != "0":
                machine.fail((f"ended there, or not done after {limit} s" if statuses[machine] == "ended" else
                              f"exit status {statuses[machine]}") + "".join(
                    f"\n--- {m.name}:\n{t[-4000:]}" for m, t in zip(used, outputs)))
        return outputs

    def run(self, name, commands, timeout, _cpus, mem):
        """(output, problems, others' use): as the lab's hosts do it."""
        used = self.all[:len(commands)]
        for machine in used:
            machine.look(self.addresses[2 - machine.number])
            if int(machine.facts["available_mib"]) < mem:
                machine.fail(f"{name} needs {mem} MiB of memory, and {machine.facts['available_mib']}"
                             " are available: leave it out (--only), or take a smaller --scale")
        before = [m.must("dmesg") for m in self.all]
        outputs = self.script(commands, timeout)
        problems = []
        for machine, old in zip(self.all, before):
            lines = machine.must("dmesg").splitlines()
            last = old.splitlines()[-1:]
            if last and last[0] in lines:
                lines = lines[len(lines) - lines[::-1].index(last[0]):]
            trouble = verdict.trouble_in("\n".join(lines))
            if trouble:
                problems.append(f"the kernel of {machine.name} complained: {trouble[0].strip()}")
        return "\n".join(outputs), problems, max(m.busy() for m in used)

    def marks(self):
        """What each row of the results says about where it was measured."""
        facts = [{**{key: int(m.facts[key]) if m.facts[key].isdigit() else m.facts[key]
                     for key in FACTS}, "module": m.release} for m in self.all]
        real = not any(int(m.facts["virtual"]) for m in self.all)
        return {"hardware": real, "machines": facts}

    def lines(self):
        """Where it was measured, for people."""
        marks = self.marks()
        lines = [f"{f['name']}: {f['cpu']}, processors: {f['processors']}, kernel {f['kernel']}, "
                 f"{f['nic']} ({f['nic_driver']}, {f['nic_mbit'] or '?'} Mbit/s)"
                 for f in marks["machines"]]
        return lines + ["these machines are virtual: this is no hardware"] * (not marks["hardware"])

    def close(self):
        for machine in self.all:
            machine.close()


def packed(files):
    """The directory of each machine, as an archive: tools, what is built here, and FILES."""
    where = paths.BUILD / "remote"
    where.mkdir(parents=True, exist_ok=True)
    wanted = {name: path for name, path in build.user_files().items()
              if not name.startswith("tests/") or name in TOOLS}
    wanted.update(files, **{"guest/bzImage": kernels.get("6.12").vmlinuz,
                            "bench/reach.sh": paths.TOP / "tests" / "bench" / "reach.sh"})
    for name in [n for n in wanted if n.startswith("usr/bin/qemu")]:
        target = where / os.path.basename(name)     # most of it is for a debugger
        run(["strip", "-o", target, wanted[name]], "strip")
        wanted[name] = target
    tar = initramfs.Tar()
    initramfs.put_tools(tar, initramfs.tools_there())
    initramfs.put_programs(tar, wanted)
    return tar.bytes()


@contextlib.contextmanager
def reached(args, files, programs=()):
    """The machines that --hosts names, with FILES there; None without it."""
    if not args.hosts:
        yield None
        return
    machines = Machines(args)
    try:
        machines.prepare(files, programs)
        yield machines
    finally:
        machines.close()
