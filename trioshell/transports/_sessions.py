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
# the same moment share it. The next is taken no sooner than after so long, or so many times what
# the last has cost: with thousands of processes we must not be looking all the time.
_SNAPSHOT_SECONDS = 0.01
_SNAPSHOT_COSTS = 3
_LONGEST_SNAPSHOT_SECONDS = 0.2

# How often to look whether the last member has gone: soon at first, then ever less.
_FIRST_LOOK_SECONDS = 0.005
_LONGEST_LOOK_SECONDS = 0.1

# What has been sent SIGKILL is gone within milliseconds, unless the kernel itself holds it (a
# disk that does not answer). That is waited for no longer than this.
_KILLED_SECONDS = 5.0


class SessionTable:
    """The living members of every session on this machine, as of a moment ago."""

    def __init__(self) -> None:
        self._begun_at = float("-inf")
        self._next_at = float("-inf")
        self._members: dict[int, list[int]] = {}

    def members(self, sid: int, born_at: float) -> list[int]:
        """Processes of the session that are not zombies, the leader included.

        Nobody can join a session from outside, so once this is empty it stays so. Until then it
        may lag behind: it names some that live, or that did a moment ago.

        Args:
            sid: the session.
            born_at: a time by which it was there; what was looked at before is no answer.
        """
        if self._begun_at < born_at:
            self._look()
        known = self._members.get(sid, [])
        living = [pid for pid in known if _lives(pid, sid)]
        if known and not living and trio.current_time() >= self._next_at:
            # Those that we knew are gone. They may have left others behind.
            self._look()
            return self._members.get(sid, [])
        return living or known

    def _look(self) -> None:
        self._begun_at = trio.current_time()
        self._members = _take_snapshot()
        now = trio.current_time()
        pause = max(_SNAPSHOT_SECONDS, _SNAPSHOT_COSTS * (now - self._begun_at))
        self._next_at = now + min(pause, _LONGEST_SNAPSHOT_SECONDS)


def _lives(pid: int, sid: int) -> bool:
    try:
        state, its = _read_stat(str(pid))
    except OSError:
        return False
    return its == sid and state not in b"ZX"


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


class _Doomed:
    """A session that is to end."""

    def __init__(self, sid: int, born_at: float, table: SessionTable) -> None:
        self._sid = sid
        self._born_at = born_at
        self._table = table

    def members(self) -> list[int]:
        return self._table.members(self._sid, self._born_at)

    def signal(self, signum: signal.Signals) -> None:
        """Send it to the leader's process group, and to the members outside of that."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or another user's
            os.killpg(self._sid, signum)
        for pid in self.members():
            # The snapshot may be out of date and the number another's by now: hold on to the
            # process by a pidfd first, and look then.
            with contextlib.suppress(OSError):
                pidfd = os.pidfd_open(pid)
                try:
                    if os.getsid(pid) == self._sid != os.getpgid(pid):
                        signal.pidfd_send_signal(pidfd, signum)
                finally:
                    os.close(pidfd)

    async def wait_empty(self) -> None:
        seconds = _FIRST_LOOK_SECONDS
        while self.members():
            await trio.sleep(seconds)
            seconds = min(2 * seconds, _LONGEST_LOOK_SECONDS)


async def end_session(
    sid: int,
    born_at: float,
    grace: float,
    table: SessionTable,
    wait_leader: Callable[[], Awaitable[None]],
) -> None:
    """End every process of the session: SIGTERM, and SIGKILL to what is left after `grace`.

    Args:
        sid: the session's number; its leader is our child and has not been reaped.
        born_at: a time of the Trio clock by which the session was there.
        grace: seconds; 0 kills at once.
        wait_leader: waits until the leader is a zombie.

    Raises:
        TransportError: something is still there a good second after SIGKILL.
    """
    doomed = _Doomed(sid, born_at, table)
    with trio.move_on_after(grace):
        doomed.signal(signal.SIGTERM)
        doomed.signal(signal.SIGCONT)  # who is stopped gets SIGTERM only then
        await wait_leader()
        await doomed.wait_empty()
    with trio.move_on_after(_KILLED_SECONDS):
        while True:
            # Also when all seem gone: one that was born while we looked has been missed.
            doomed.signal(signal.SIGKILL)
            await wait_leader()
            if not doomed.members():
                return
            await trio.sleep(_FIRST_LOOK_SECONDS)
    if left := table.members(sid, trio.current_time()):
        pids = ", ".join(map(str, left))
        raise TransportError(f"processes could not be killed and may still run here: {pids}")
