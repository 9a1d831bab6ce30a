"""Finds the processes of the commands, wherever they run, by a mark in their environment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

MARK = "RELIABILITY_MARK"


def marked(token: str) -> list[int]:
    """All living processes that bear this mark, zombies apart."""
    wanted = f"{MARK}={token}".encode()
    found = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if wanted in environment(entry):
                found.append(int(entry))
        except OSError:  # it has gone, or is none of ours
            continue
    return found


def environment(pid: str) -> list[bytes]:
    """What a process has been given; OSError for one that is gone, or never had any."""
    process = Path("/proc", pid)
    for _ in range(10):
        environ = (process / "environ").read_bytes()
        if environ:
            break
        (process / "exe").readlink()  # a zombie or a thread of the kernel has none
        time.sleep(0.001)  # a program that is just being executed has no environment yet
    return environ.split(b"\0")


def kill_marked(token: str) -> None:
    """End all of them, whatever they are doing."""
    for pid in marked(token):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Look until it is true, or so long; nobody tells of what other processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
