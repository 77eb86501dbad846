#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What shells offer behind "ferryctl", in bash, zsh and fish. Speaks TAP.

A shell that is not installed is skipped; the lab installs all three.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("BUILD") or os.path.join(TOP, "build")
FERRYCTL = os.path.join(BUILD, "user", "ferryctl")
FAKE = os.path.join(BUILD, "tests", "user", "fake_module.so")
SOURCE = os.path.join(TOP, "userspace", "ferryctl", "completion", "ferryctl.")
TIMEOUT = 60
COMMANDS = ("status", "list", "watch", "stats", "set", "host", "abort", "migrate", "receive",
            "estimate", "evacuate", "plot", "history", "metrics", "check", "unload")
SESSIONS = ["3", "5", "6", "7", "9"]        # of fake_module.c
WAYS = ["rdma+tcp:", "rdma:", "tcp:"]

# Each prints what it offers for the words of "$@", the last of which is being typed.
BASH = r"""
source "$0"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_ferryctl ferryctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
[ ${#COMPREPLY[@]} = 0 ] || printf '%s\n' "${COMPREPLY[@]}"
complete -p ferryctl > /dev/null || echo not registered
"""
# The completion system's own functions, as far as they are used; it filters what they are given.
ZSH = r"""
compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -rl -- ${(M)@:#$typed*} }
_files() { print -rl -- $typed*(N) }
file=$1; shift
words=("$@") CURRENT=$# typed=${@[-1]}
autoload -Uz +X ${file:t} 2> /dev/null
_ferryctl
:
"""
FISH = r"""
source $argv[1]
complete -C (string join -- ' ' $argv[2..])
"""

count = failed = 0


def ok(good, what, detail=""):
    global count, failed
    count += 1
    print(f"{'ok' if good else 'not ok'} {count} - {what}", flush=True)
    if not good:
        failed += 1
        print("# " + str(detail).replace("\n", "\n# "), flush=True)


def offered(shell, directory, *words):
    """What SHELL offers behind "ferryctl WORDS", of which the last is being typed."""
    env = dict(os.environ, LC_ALL="C", HOME=directory, XDG_CONFIG_HOME=directory,
               LD_PRELOAD=FAKE, FAKE_FERRY="yes",
               PATH=f"{os.path.dirname(FERRYCTL)}:{os.environ['PATH']}")
    cmd = {"bash": ["bash", "--norc", "-c", BASH, SOURCE + "bash"],
           "zsh": ["zsh", "-f", "-c", ZSH, "zsh", os.path.join(directory, "_ferryctl")],
           "fish": ["fish", "--no-config", "-c", FISH, SOURCE + "fish"]}[shell]
    if shell == "zsh":
        env["FPATH"] = directory
    done = subprocess.run([*cmd, "ferryctl", *words], env=env, capture_output=True, text=True,
                          timeout=TIMEOUT, check=False, cwd=directory)
    if done.returncode or done.stderr:
        return [f"exit {done.returncode}: {done.stderr}"]
    return sorted(line.split("\t")[0] for line in done.stdout.splitlines() if line)


def help_of(command):
    return subprocess.run([FERRYCTL, command, "--help"], capture_output=True, text=True,
                          check=True).stdout


def accepted(command):
    """The options that COMMAND really takes, of all that any help names."""
    every = {o for c in COMMANDS for o in re.findall(r"--[a-z-]+", help_of(c))} | {"--help"}
    taken = []
    for option in sorted(every):
        said = subprocess.run([FERRYCTL, command, option, "x", "--help"], capture_output=True,
                              text=True, check=False, timeout=TIMEOUT).stderr
        if "is not understood" not in said:
            taken.append(option)
    return taken


def check(shell, what, wanted, *words):
    got = offered(shell, DIRECTORY, *words)
    ok(got == sorted(wanted), f"{shell}: {what}", f"it offers {got}, not {sorted(wanted)}")


def tries(shell, options):
    check(shell, "the commands", COMMANDS, "")
    check(shell, "those that begin with s", ["set", "stats", "status"], "s")
    check(shell, "nothing that begins with x", [], "x")
    check(shell, "options without a command", ["--help", "--json", "--version"], "--")
    for command in COMMANDS:
        check(shell, f"all options that {command} takes", options[command], command, "--")
    check(shell, "an option that is there is not offered again",
          [o for o in options["set"] if o not in ("--downtime", "--help", "--json")] +
          ["--help", "--json"], "set", "3", "--downtime", "5ms", "--")
    for command in ("status", "watch", "stats", "set", "abort"):
        check(shell, f"{command}: the sessions", SESSIONS, command, "")
    check(shell, "abort: one is enough", [], "abort", "3", "")
    for command in ("list", "history", "metrics", "check", "unload"):
        check(shell, f"{command}: no argument", [], command, "")
    check(shell, "migrate: files", ["vm.ctl"], "migrate", "vm")
    check(shell, "migrate: ways to the peer", WAYS, "migrate", "vm.ctl", "")
    check(shell, "only rdma+tcp: begins with rdma+", ["rdma+tcp:"], "migrate", "vm.ctl", "rdma+")
    check(shell, "receive: behind an option with its value", WAYS, "receive", "--channels", "2",
          "vm.ctl", "")
    check(shell, "an option's value is nobody else's", [], "receive", "--channels", "")
    check(shell, "but this one's is known", ["all"], "receive", "vm.ctl", "rdma:1",
          "--max-pinned", "")
    check(shell, "set: a word for the final bandwidth", ["same"], "set", "3", "--final-bandwidth", "")
    check(shell, "migrate: likewise", ["same"], "migrate", "vm.ctl", "--final-bandwidth", "s")
    check(shell, "host: a word for no limit", ["none"], "host", "--bandwidth", "")
    check(shell, "set has no such word", [], "set", "3", "--bandwidth", "")
    check(shell, "estimate: files", ["vm.ctl"], "estimate", "vm")
    check(shell, "estimate: one is enough", [], "estimate", "--seconds", "5", "vm.ctl", "")
    check(shell, "evacuate: files", ["vm.ctl"], "evacuate", "--jobs", "2", "a.ctl", "vm")
    check(shell, "evacuate --to: ways to the peer", WAYS, "evacuate", "--to", "")
    check(shell, "plot: files", ["vm.ctl"], "plot", "vm")
    check(shell, "plot: one is enough", [], "plot", "vm.ctl", "")
    for option, words in (("--record", ("watch", "3")), ("--record", ("migrate",)),
                          ("--record", ("receive",)), ("--output", ("plot", "a.json")),
                          ("--output", ("metrics",)), ("-o", ("plot",)), ("-o", ("metrics",))):
        check(shell, f"{words[0]} {option}: files", ["vm.ctl"], *words, option, "vm")
    check(shell, "plot: behind -o with its value", ["vm.ctl"], "plot", "-o", "a.svg", "vm")
    check(shell, "migrate: behind --record with its value", WAYS, "migrate", "--record", "a.json",
          "vm.ctl", "")


def main():
    options = {command: accepted(command) for command in COMMANDS}
    ok(all("--help" in o and ("--json" in o) == (c != "metrics") for c, o in options.items()) and
       "--verify" in options["migrate"] and "--verify" not in options["receive"] and
       [c for c, o in options.items() if "--record" in o] == ["watch", "migrate", "receive"] and
       [c for c, o in options.items() if "--output" in o] == ["plot", "metrics"],
       "ferryctl says which options it takes", options)
    for shell in ("bash", "zsh", "fish"):
        if shutil.which(shell):
            tries(shell, options)
        else:
            ok(True, f"{shell} # SKIP it is not installed")
    print(f"1..{count}")
    return 1 if failed else 0


with tempfile.TemporaryDirectory() as DIRECTORY:
    open(os.path.join(DIRECTORY, "vm.ctl"), "w", encoding="ascii").close()
    shutil.copy(SOURCE + "zsh", os.path.join(DIRECTORY, "_ferryctl"))
    sys.exit(main())
