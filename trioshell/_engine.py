"""What lives in a Task, and until when: the nursery, its bound, and the two ways out of it."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

import trio

from trioshell._dispatch import Dispatcher
from trioshell._errors import TaskError
from trioshell._pace import Pace
from trioshell.transports import Transport

# What may still begin while everything is being ended: a handler that answers each end with a
# new beginning must not go on for ever.
_MOST_LATE = 1000


class Live(Protocol):
    """What an engine keeps alive: a worker's feeder, or a timer."""

    @property
    def autoclose(self) -> bool:
        """True if nothing is to be kept open for it."""

    async def serve(self) -> None:
        """Its child task."""

    def abort(self) -> None:
        """Have it come to its end soon."""

    def abandon(self) -> None:
        """The engine has broken down, and nothing more will be told: let nobody wait for it."""


class Engine:
    """The machine inside a Task.

    Two tasks live in the Task's own nursery beside its block: the *watcher*, and the task in which
    the engine serves, shielded, everything that is alive. A cancellation from outside, an
    exception in the block and one in a handler are all the same to it: the watcher is
    cancelled, and everything is aborted. There is no other way in which a command is ended.

    Args:
        fanout: the most sessions that run at once.
        kill_grace: seconds between SIGTERM and SIGKILL.

    Attributes:
        limiter: the places in the fanout.
        pace: what sets how many these are, if nobody else does.
        dispatcher: to whom everything is reported.
        live: what has begun, or will when the engine is entered, and is not closed.
        entered: True once it has been entered.
        over: True when nothing can begin any more.
        stopped: True when everything is to end: what begins now is aborted at once.
    """

    def __init__(self, fanout: int, kill_grace: float) -> None:
        self.limiter = trio.CapacityLimiter(fanout)
        self.pace: Pace | None = None
        self.kill_grace = kill_grace
        self.dispatcher = Dispatcher(self._stop, self.closed)
        self.live: dict[Live, None] = {}
        self._keeping = 0  # how many of them keep the block open
        self._late = 0  # how many have begun since everything was to end
        self.entered = False
        self.over = False
        self._left = False  # the block has been left, and what lives is waited for
        self.stopped = False
        self._changed = trio.lowlevel.ParkingLot()
        self._watching = trio.CancelScope()
        self._transports: list[Transport] = []
        self._entering = trio.Lock()
        self._manager = trio.open_nursery(strict_exception_groups=True)
        self._nursery: trio.Nursery | None = None
        self._children: trio.Nursery | None = None

    # -- what begins and ends in it ----------------------------------------------------------

    def admit(self) -> None:
        """To be asked before anything that is to begin is changed for it.

        Raises:
            TaskError: everything is being ended, and too much has begun since.
        """
        if self.stopped:
            self._late += 1
            if self._late > _MOST_LATE:
                raise TaskError("the Task is being ended, and cannot be given new work for ever")

    def begin(self, live: Live) -> None:
        """Start it now, or when the engine is entered."""
        self.live[live] = None
        self._keeping += not live.autoclose
        if self._children is not None:
            self._children.start_soon(live.serve)
        if self.stopped or (self._left and not self._keeping):
            live.abort()

    def closed(self, live: Live) -> None:
        """It has been told its last, and is alive no more."""
        del self.live[live]
        self._keeping -= not live.autoclose
        self._changed.unpark_all()

    def abort(self) -> None:
        """Abort all that is alive now; the engine goes on."""
        for live in tuple(self.live):
            live.abort()

    def set_fanout(self, fanout: int) -> None:
        """Have so many at once from now on."""
        if self.pace is not None:
            self.pace.stop()
            self.pace = None
        self.limiter.total_tokens = fanout

    def find_fanout(self, most: int) -> None:
        """Have as many at once as turns out to be best from now on, and never more than `most`."""
        if self.pace is not None:
            self.pace.stop()
        self.pace = Pace(self.limiter, most)
        if self._children is not None and not self.over:
            self._children.start_soon(self.pace.run)

    async def enter_transport(self, transport: Transport) -> None:
        """Enter it, if that has not been done; it is left when the engine is.

        Raises:
            TransportError: it can't be started.
        """
        kind = type(transport)
        if kind.start is Transport.start and kind.stop is Transport.stop:
            return  # there is nothing to enter, and nothing to remember of it
        if transport not in self._transports:
            async with self._entering:
                if transport not in self._transports:
                    await transport.__aenter__()
                    self._transports.append(transport)

    # -- its own life ------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection  # half entered it could not be left
    async def enter(self) -> None:
        """The block begins. Nothing is waited for."""
        self.entered = True
        self._nursery = await self._manager.__aenter__()
        self._nursery.start_soon(self._watch)
        self._nursery.start_soon(self._serve)

    @trio.lowlevel.enable_ki_protection  # nor half left
    async def leave(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """The block is left: wait for all that lives, or if `exc` is given end it."""
        self._left = True
        if exc is not None:
            self._stop()
        self._changed.unpark_all()
        return await self._manager.__aexit__(exc_type, exc, traceback)

    @trio.lowlevel.enable_ki_protection  # what ends everything must not be ended itself
    async def _watch(self) -> None:
        try:
            with self._watching:
                await trio.sleep_forever()
        except trio.Cancelled:
            self._stop()
            raise

    @trio.lowlevel.enable_ki_protection  # as `_watch`
    def _stop(self) -> None:
        """Everything is to end: the block has raised or is cancelled, or a handler has raised."""
        if not self.stopped:
            self.stopped = True
            self.dispatcher.cancel_handlers()
            assert self._nursery is not None
            self._nursery.cancel_scope.cancel()
        self.abort()

    @trio.lowlevel.enable_ki_protection  # an interrupt belongs to the block or to a handler
    async def _serve(self) -> None:
        assert self._nursery is not None
        # Shielded: what has been started must be ended, and what has come in reported, whoever
        # loses his patience. The watcher sees to it that it comes to an end.
        with trio.CancelScope(shield=True):
            try:
                async with trio.open_nursery() as self._children:
                    self._children.start_soon(self.dispatcher.run)
                    if self.pace is not None:
                        self._children.start_soon(self.pace.run)
                    self._start_what_waited(self._children)
                    await self._wait_until_over()
                    if self.pace is not None:
                        self.pace.stop()
                    self.dispatcher.close()
            finally:
                self.over = True
                self._abandon_all()
                await self._leave_transports(self._nursery)
        for exc in self.dispatcher.errors:
            # Each in a task of its own, so that they come out side by side.
            self._nursery.start_soon(_raise, exc)
        self._watching.cancel()

    # In functions of their own, so that no variable holds on to one of them for ever.

    def _start_what_waited(self, nursery: trio.Nursery) -> None:
        for live in self.live:
            nursery.start_soon(live.serve)

    def _abandon_all(self) -> None:
        for live in self.live:  # there are some only if something has raised that must not
            live.abandon()

    async def _leave_transports(self, nursery: trio.Nursery) -> None:
        for transport in reversed(self._transports):
            try:
                await transport.__aexit__(None, None, None)
            except BaseException as exc:  # noqa: BLE001  # it must not keep the others from being left
                nursery.start_soon(_raise, exc)

    async def _wait_until_over(self) -> None:
        """Wait until the block has been left and nothing is alive; then nothing can begin."""
        aborted = False
        while not (self._left and not self.live):
            if self._keeping:
                aborted = False
            elif self._left and not aborted:
                self.abort()
                aborted = True
            await self._changed.park()
        self.over = True


async def _raise(exc: BaseException) -> None:
    raise exc
