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
            # A zombie has an empty environment.
            if wanted in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                found.append(int(entry))
        except OSError:  # it has gone, or is none of ours
            continue
    return found


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
