"""One command on one node: from the moment its way is opened to its one outcome."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

import trio

from trioshell._errors import SpawnError, TransportError
from trioshell._reports import Ended, PickedUp, Received, Report, Sent
from trioshell._results import Aborted, NotStarted, Outcome, TimedOut, Unreachable

if TYPE_CHECKING:
    from trioshell._books import NodeBook
    from trioshell._fanout import Place
    from trioshell._feeder import Feeder
    from trioshell._worker import Worker
    from trioshell.transports import Session

# `Session.end` promises to be over by itself within the grace and ten seconds. A transport that
# breaks this promise is not waited for any longer.
_END_MARGIN_SECONDS = 12.0
# And that `Session.receive` does not wait once that has returned.
_HEARD_SECONDS = 3.0

_ABORTED_ON_THE_WAY = NotStarted("aborted while its way was being opened")


class Run:
    """What is alive of a node's run. The dispatcher keeps what is known of it in `book`.

    Attributes:
        book: made by the dispatcher when it is told of the pickup.
        picked_up_at: when its way began to be opened, on the Trio clock.
        started_at: when the command started, on the Trio clock; None before.
        ending: True from when we have begun to end it.
    """

    __slots__ = (
        "_aborted",
        "_fed",
        "_feeder",
        "_feeding",
        "_in_hand",
        "_late",
        "_position",
        "_scope",
        "_session",
        "book",
        "deaf",
        "ending",
        "node",
        "picked_up_at",
        "rank",
        "started_at",
    )

    def __init__(self, feeder: Feeder, node: Hashable, rank: int) -> None:
        self._feeder = feeder
        self.node = node
        self.rank = rank
        self.book: NodeBook | None = None
        self.picked_up_at = trio.current_time()
        self.started_at: float | None = None
        self.ending = False
        self.deaf = False  # it takes no input (any more)
        self._scope = trio.CancelScope()
        self._aborted = False
        self._late = False  # its way was open only when the time for that was over
        self._session: Session | None = None
        # Invariant: what the node has sent and the dispatcher has not got yet.
        self._in_hand: Report | None = None
        self._position = 0  # in the worker's input
        self._feeding: trio.CancelScope | None = None
        self._fed = trio.Event()

    def abort(self) -> None:
        """End it; harmless at any time, and without effect once its time has run out."""
        if not self._scope.cancel_called:
            self._aborted = True
            self._scope.cancel()

    @property
    def worker(self) -> Worker:
        return self._feeder.worker

    # -- the way, the command, the end -----------------------------------------------------

    async def conduct(self) -> Outcome:
        """Do all of it, and return how it ended; the session is closed by then.

        Output has been reported; the end has not, since its place in the fanout is given
        back first.
        """
        await self._feeder.report(PickedUp(self))
        try:
            outcome = await self._open_and_follow()
            if self._session is None:
                return outcome or self._why_not_opened()
            if outcome is None:
                outcome = await self._end(self._session)
        finally:
            # Also when its transport has raised, or the engine itself is being torn down: a session
            # is always closed, and by then nobody uses it any more.
            with trio.CancelScope(shield=True):
                await self._stop_feeding()
                if self._session is not None:
                    await self._session.aclose()
        return outcome

    async def _open_and_follow(self) -> Outcome | None:
        """How it ended by itself, or why it could not begin; None if we were cancelled."""
        if self._feeder.no_way is not None:
            return self._feeder.no_way
        transport, job = self._feeder.transport, self._feeder.job
        if transport.connects:
            self._scope.deadline = trio.current_time() + job.connect_timeout
        with self._scope:
            # Aborted while the dispatcher let us wait: not to be started any more.
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                self._session = await transport.open(job, self.node, self.rank)
            except SpawnError as exc:
                return NotStarted(exc.reason)
            except TransportError as exc:
                return Unreachable(exc.reason)
            except OSError as exc:
                return Unreachable(str(exc))
            self._begin()
            await self._listen(self._session)
            if self._session.exit is not None:
                return self._session.exit
        return None

    def _begin(self) -> None:
        """The command has started, and from now on it is its own time that runs."""
        self.started_at = trio.current_time()
        self._late = self._scope.cancel_called and not self._aborted
        timeout = self._feeder.timeout
        self._scope.deadline = math.inf if timeout is None else self.started_at + timeout
        self._feeder.opened(self)

    def _why_not_opened(self) -> Outcome:
        return _ABORTED_ON_THE_WAY if self._aborted else self._no_connection()

    def _no_connection(self) -> Outcome:
        return Unreachable(f"no connection within {self._feeder.job.connect_timeout:g} s")

    async def _listen(self, session: Session) -> None:
        await self.hand_over()  # a cancellation may have come in the midst of it
        while chunks := await session.receive():
            self._in_hand = Received(self, chunks)
            if not self.ending:  # then it is bounded by what the pipes hold, and must go on
                await self._feeder.wait_consumers()
            await self.hand_over()

    async def hand_over(self) -> None:
        """Give the dispatcher what it has not got yet, if there is anything."""
        if self._in_hand is not None:
            await self._feeder.report(self._in_hand)
            self._in_hand = None

    async def _end(self, session: Session) -> Outcome:
        """End the command, and report what it still says meanwhile."""
        self.ending = True
        failure = f"it could not be ended within {_END_MARGIN_SECONDS:g} s"
        heard = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear_out, session, heard)
            # Shielded, since a command must be ended whatever happens to us meanwhile.
            grace = self._feeder.engine.kill_grace
            with trio.move_on_after(grace + _END_MARGIN_SECONDS, shield=True):
                try:
                    await session.end(grace)
                    failure = ""
                except TransportError as exc:
                    failure = exc.reason
            # What is left to hear does not wait any more, and only our handler can hold it up.
            while not heard.is_set():
                with trio.move_on_after(_HEARD_SECONDS):
                    await heard.wait()
                if self._in_hand is None:
                    nursery.cancel_scope.cancel()
                    break
        if session.exit is not None:
            return session.exit
        if failure:
            return Unreachable(f"ended, but perhaps not all of it: {failure}")
        if self._aborted:
            return Aborted()
        if self._late:
            return self._no_connection()
        if self._feeder.timeout is None:
            return Unreachable("its session ended without saying how")
        return TimedOut(self._feeder.timeout)

    async def _hear_out(self, session: Session, heard: trio.Event) -> None:
        await self._listen(session)
        heard.set()

    # -- its input -------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """True if it runs, listens, and has not had all of the worker's input."""
        return (
            self._session is not None
            and not self.deaf
            and not self._fed.is_set()
            and self._position < self._feeder.input.end
        )

    def feed_soon(self, nursery: trio.Nursery) -> None:
        """Begin to hand the worker's input to the command, if that has not begun."""
        if self._feeding is None and not self.deaf and self._session is not None:
            self._feeding = trio.CancelScope()
            nursery.start_soon(self._feed, self._session, self._feeding)

    @trio.lowlevel.enable_ki_protection  # as `conduct`
    async def _feed(self, session: Session, feeding: trio.CancelScope) -> None:
        source = self._feeder.input
        try:
            with feeding:
                while (piece := await source.get(self._position)) is not None:
                    sname, data = piece
                    await session.send_to(sname, data)
                    self._feeder.input.advance(self._position)
                    self._position += 1
                    if data:
                        # Shielded: it has been handed over, and that must be told. The
                        # dispatcher takes it sooner or later.
                        with trio.CancelScope(shield=True):
                            await self._feeder.report(Sent(self, sname, len(data)))
                await session.send_eof()
        except trio.BrokenResourceError:
            pass  # it has closed its stdin, which is its own business
        except Exception as exc:  # noqa: BLE001  # as in `conduct` below
            self._feeder.engine.dispatcher.fail(exc)
        finally:
            self._be_deaf()
            self._fed.set()

    async def _stop_feeding(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            await self._fed.wait()
        self._be_deaf()

    def _be_deaf(self) -> None:
        if not self.deaf:
            self.deaf = True
            self._feeder.input.leave(self._position)


@trio.lowlevel.enable_ki_protection  # an interrupt belongs to the block or to a handler
async def conduct(run: Run, place: Place) -> None:
    """The child task of one node; gives its place in the fanout back."""
    try:
        outcome = await run.conduct()
    except Exception as exc:  # noqa: BLE001  # whatever a transport raises that it must not
        run._feeder.engine.dispatcher.fail(exc)
        outcome = Unreachable(f"its transport has failed: {exc!r}")
    finally:
        ended_at = trio.current_time()
        place.release()
        run._feeder.over(run)
    await run.hand_over()  # if its transport has failed in the midst of it
    await run._feeder.report(Ended(run, outcome, ended_at))
