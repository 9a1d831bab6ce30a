"""Who still lives in a session of the operating system, and how to end all of them.

Every local command is started as the leader of a session of its own, so that its process
group, and every further group that something below it makes (`timeout`, a shell with job
control), can be found by the number of the session. The leader must be left unreaped until
all is over: as long as it is a zombie, no other process can get its number.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable

import trio

from trioshell._errors import TransportError

# A snapshot of /proc costs some 10 microseconds a process, and all commands that are ended at
# the same moment share it. It is good for so long, or for so many times what it has cost: with
# thousands of processes we must not be looking all the time.
_SNAPSHOT_SECONDS = 0.01
_SNAPSHOT_COSTS = 5

# How often to look whether the last member has gone: soon at first, then ever less.
_FIRST_LOOK_SECONDS = 0.005
_LONGEST_LOOK_SECONDS = 0.1

# What has been sent SIGKILL is gone within milliseconds, unless the kernel itself holds it (a
# disk that does not answer). That is waited for no longer than this.
_KILLED_SECONDS = 1.5


class SessionTable:
    """The living members of every session on this machine, as of a moment ago."""

    def __init__(self) -> None:
        self._good_until = float("-inf")
        self._members: dict[int, list[int]] = {}

    def members(self, sid: int) -> list[int]:
        """Every process of the session that is not a zombie, the leader included.

        Nobody can join a session from outside, so once this is empty it stays so.
        """
        begin = trio.current_time()
        if begin > self._good_until:
            self._members = _take_snapshot()
            end = trio.current_time()
            self._good_until = end + max(_SNAPSHOT_SECONDS, _SNAPSHOT_COSTS * (end - begin))
        return self._members.get(sid, [])


def _take_snapshot() -> dict[int, list[int]]:
    members: dict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                state, sid = _read_stat(entry)
                if state not in b"ZX":
                    members[sid].append(int(entry))
    return dict(members)


def _read_stat(pid: str) -> tuple[bytes, int]:
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    try:
        stat = os.read(fd, 1024)
    finally:
        os.close(fd)
    # The program's name stands in brackets and may hold anything, brackets included.
    state, _ppid, _pgrp, sid, _rest = stat[stat.rindex(b")") + 2 :].split(maxsplit=4)
    return state, int(sid)


def _signal(sid: int, signum: signal.Signals, table: SessionTable) -> None:
    """Send `signum` to the leader's process group, and to the members outside of it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or another user's
        os.killpg(sid, signum)
    for pid in table.members(sid):
        # The snapshot may be out of date and the number another's by now: hold on to the
        # process by a pidfd first, and look then.
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                if os.getsid(pid) == sid and os.getpgid(pid) != sid:
                    signal.pidfd_send_signal(pidfd, signum)
            finally:
                os.close(pidfd)


async def _wait_empty(sid: int, table: SessionTable) -> None:
    seconds = _FIRST_LOOK_SECONDS
    while table.members(sid):
        await trio.sleep(seconds)
        seconds = min(2 * seconds, _LONGEST_LOOK_SECONDS)


async def end_session(
    sid: int, grace: float, table: SessionTable, wait_leader: Callable[[], Awaitable[None]]
) -> None:
    """End every process of the session: SIGTERM, and SIGKILL to what is left after `grace`.

    Args:
        sid: the session's number; its leader is our child and has not been reaped.
        grace: seconds; 0 kills at once.
        wait_leader: waits until the leader is a zombie.

    Raises:
        TransportError: something is still there a good second after SIGKILL.
    """
    with trio.move_on_after(grace):
        _signal(sid, signal.SIGTERM, table)
        _signal(sid, signal.SIGCONT, table)  # who is stopped gets SIGTERM only then
        await wait_leader()
        await _wait_empty(sid, table)
    with trio.move_on_after(_KILLED_SECONDS):
        while True:
            # Also when all seem gone: one that was born while we looked has been missed.
            _signal(sid, signal.SIGKILL, table)
            await wait_leader()
            if not table.members(sid):
                return
            await trio.sleep(_FIRST_LOOK_SECONDS)
    if left := table.members(sid):
        pids = ", ".join(map(str, left))
        raise TransportError(f"processes could not be killed and may still run here: {pids}")
