"""What all local processes of one `trio.run` share: who watches, who starts, who counts.

It exists while some transport needs it, and leaves nothing behind: no thread, no
descriptor, no task.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from trioshell.transports._deaths import Deaths
from trioshell.transports._poller import READABLE, Poller
from trioshell.transports._sessions import SessionTable
from trioshell.transports._spawn import Spawn, Spawner
from trioshell.transports._watchdog import Watchdog

# How long to wait for a descriptor or a process that somebody outside may give back.
_RETRY_SECONDS = 0.05

_current: trio.lowlevel.RunVar[Supervisor | None] = trio.lowlevel.RunVar(
    "trioshell.supervisor", default=None
)


class Supervisor:
    """Starts processes and tells their sessions what happens to them.

    Attributes:
        poller: where a session registers its descriptors.
        deaths: where it hears that its process has died.
        table: who lives in which session of the operating system.
        watchdog: ends what runs if we are gone all of a sudden.
        open_sessions: how many sessions have been opened and not yet been closed.
    """

    def __init__(self) -> None:
        self.poller = Poller(lambda: self._spawner.is_behind)
        try:
            self.deaths = Deaths(self.poller)
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError:
            self.poller.close()
            raise
        self.table = SessionTable()
        self.watchdog = Watchdog()
        self.open_sessions = 0
        self._users = 0
        self._waiting: dict[int, Callable[[], None]] = {}
        self._room = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        self._spawner = Spawner(lambda: os.eventfd_write(self._bell, 1))
        self.poller.add(self._bell, READABLE, self._on_spawned)

    @classmethod
    def enter(cls) -> Supervisor:
        """That of the running `trio.run`, made if there is none. `leave` gives it back."""
        supervisor = _current.get()
        if supervisor is None:
            supervisor = cls()
            _current.set(supervisor)
            # It belongs to no caller's scope: the first to need it may be the first to go.
            trio.lowlevel.spawn_system_task(supervisor._run, name="trioshell supervisor")
        supervisor._users += 1
        return supervisor

    async def leave(self) -> None:
        """Give it back; the last one waits until nothing of it is left."""
        self._users -= 1
        if self._users == 0:
            _current.set(None)
            self._scope.cancel()
            # Shielded: leaving must be whole. It lasts as long as the task takes to be woken.
            with trio.CancelScope(shield=True):
                await self._stopped.wait()

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.poller.run)
                    nursery.start_soon(self.deaths.run)
        finally:
            self._spawner.close()
            self.watchdog.close()
            self.poller.close()
            os.close(self._bell)
            self._stopped.set()

    async def spawn(self, spawn: Spawn) -> None:
        """Have `spawn` performed, and return when it has been.

        Not to be cancelled: a process that is being started must not get lost.
        """
        task = trio.lowlevel.current_task()
        self._waiting[id(spawn)] = lambda: trio.lowlevel.reschedule(task)
        self._spawner.submit(spawn)
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    def _on_spawned(self, _mask: int) -> None:
        os.eventfd_read(self._bell)
        for spawn in self._spawner.collect():
            self._waiting.pop(id(spawn))()

    def closed_session(self) -> None:
        """One session less: its descriptors are free for somebody who waits for room."""
        self.open_sessions -= 1
        self._room.unpark()

    async def wait_room(self) -> None:
        """Wait until a session has been closed, or for a moment if that can't be expected."""
        with trio.move_on_after(_RETRY_SECONDS):
            await self._room.park()
