"""A program that is killed in the midst of its commands over SSH leaves nothing, here or there."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import trioshell
from tests.real.probes import Mark, kill

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd

PROGRAM = """
import sys, trio, trioshell
from pathlib import Path
from trioshell.transports import OpenSshTransport, SshTransport

class Tell:
    def ev_read(self, worker, node, sname, msg):
        print("ready", flush=True)

async def main():
    kind, config, known_hosts = sys.argv[1], *map(Path, sys.argv[2:])
    options = {"config": config, "known_hosts": known_hosts, "user": "root"}
    if kind == "ssh":
        transport = SshTransport(**options)
    else:
        transport = OpenSshTransport(**options, share=kind == "shared")
    async with trioshell.Task(transport=transport, connect_timeout=60) as task:
        command = "trap '' HUP; echo ready; sleep 1000 & sleep 1000"
        worker = task.shell(["sh", "-c", command], nodes="node[1-2]", handler=Tell())
    print(*(result.outcome for result in worker.results().values()), flush=True)

trio.run(main)
"""

# The guard's grace of two seconds on the target, the watchdog's here, and a busy machine.
SECONDS = 20.0

# What is in the command line of a guard, which `ssh` starts a little after a command.
GUARD = "known="


def wait_until(condition: Callable[[], bool]) -> None:
    """For what /proc alone can tell: look again and again, for as long as that is sensible."""
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def kill_commands(sshd: Sshd) -> None:
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            if sshd.mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                kill(int(entry))


@pytest.mark.parametrize("kind", ["ssh", "openssh", "shared"])
def test_a_sigkill_leaves_nothing_here_or_there(sshd: Sshd, kind: str) -> None:
    mark = Mark(f"TRIOSHELL_SSH_{secrets.token_hex(6)}")
    root = str(Path(trioshell.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, str(sshd.config_file), str(sshd.known_hosts)],
        env={**os.environ, "PYTHONPATH": root, mark.name: "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() + program.stdout.readline() == b"ready\nready\n"
        if kind == "ssh":
            wait_until(lambda: sum(GUARD in line for line in sshd.commands()) == 2)
        program.send_signal(signal.SIGKILL)
        program.wait()
    wait_until(lambda: not mark.living())
    assert mark.living() == []
    if kind == "openssh":
        # Each session is a connection of its own, and nothing beside it on the target: what does
        # not mind that its connection is gone goes on there.
        assert sshd.commands()
        kill_commands(sshd)
    wait_until(lambda: not sshd.commands())
    assert sshd.commands() == []
