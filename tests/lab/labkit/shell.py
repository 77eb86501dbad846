# SPDX-License-Identifier: GPL-2.0
"""An interactive console in emulated hosts."""
import os
import select
import sys
import termios
import tty

from .ui import say
from .vm import HostDied

ESCAPE = b"\x01"        # Ctrl-A


def attend(boot):
    """
    Connect the terminal with the hosts' consoles until their shells end.

    Ctrl-A 1 and Ctrl-A 2 choose a host, Ctrl-A x ends. Without a terminal,
    standard input is fed to host 1 and its end ends the shell.
    """
    current = [boot.hosts[0]]

    def print_console(host, data):
        if host is current[0]:
            os.write(1, data)

    for host in boot.hosts:
        host.shell_out = print_console
        host.request("shell")
    say("console of host 1" + (", Ctrl-A 2 for host 2" if len(boot.hosts) > 1 else "") +
        "; end with \"exit\" or Ctrl-A x")
    interactive = sys.stdin.isatty()
    old = None
    if interactive:
        old = termios.tcgetattr(0)
        tty.setraw(0)
    try:
        talk(boot, current)
    except HostDied as err:
        say(str(err))
    finally:
        if old:
            termios.tcsetattr(0, termios.TCSADRAIN, old)
        for host in boot.hosts:
            host.shell_out = None


def talk(boot, current):
    escaped, stdin_open = False, True
    running = set(boot.hosts)
    while running:
        for host in list(running):
            if not host.answers.empty():
                host.answer(1)
                running.discard(host)
        if current[0] not in running:
            return
        ready = select.select([0] if stdin_open else [], [], [], 0.2)[0]
        if not ready:
            continue
        data = os.read(0, 4096)
        if not data:
            stdin_open = False
            current[0].console.sendall(b"exit\n")
            continue
        for byte in (data[i:i + 1] for i in range(len(data))):
            if escaped:
                escaped = False
                if byte == b"x":
                    return
                if byte.isdigit() and 1 <= int(byte) <= len(boot.hosts):
                    current[0] = boot.hosts[int(byte) - 1]
                    current[0].console.sendall(b"\n")
                    continue
            elif byte == ESCAPE:
                escaped = True
                continue
            current[0].console.sendall(byte)
