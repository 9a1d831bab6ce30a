"""Simulated nodes that also break promises, and that look at how they are used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, cast

import trio
from trio.testing import MockClock

from tests.scenarios import DRAIN
from trioshell._errors import SpawnError, TransportError
from trioshell.testing import SimulatedTransport
from trioshell.transports import Chunk, Job, Session

if TYPE_CHECKING:
    from tests.stage import Stage

LATE_SECONDS = 1.5
HANGS_AT = 1000.0
GIVEN_UP_SECONDS = 20.0  # for which a transport that breaks its promises may hold a Task up


class Fault(Exception):
    """What a transport raises that it must not."""


class FaultyTransport(SimulatedTransport):
    """The nodes of a `Stage`.

    Attributes:
        taken: what of the output has been taken from a node, by node and stream.
        going: for each worker how many sessions it has, or tries to open.
        entered: how often it was started less how often it was stopped.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__(
            lambda node, _work: stage.script(node),
            pipe_bytes=stage.mixed.pipe_bytes,
            drain=DRAIN,
        )
        self.stage = stage
        self.taken: dict[tuple[Hashable, str], bytes] = {}
        self.going: Counter[int] = Counter()
        self.entered = 0
        self.alone_since = math.inf  # from when on there has been only what is autoclose

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()
        match self.stage.mixed.start:
            case "unreachable":
                raise TransportError("drawn: no way at all")
            case "not started":
                raise SpawnError("drawn: nothing can be started")
            case "raises":
                raise self.stage.throw(Fault("start"))
        self.entered += 1

    async def stop(self) -> None:
        self.entered -= 1
        if self.going.total():
            self.stage.wrong.append(f"the transport is left while there are {self.going}")
        await trio.lowlevel.checkpoint()
        if self.stage.mixed.start == "stop raises":
            raise self.stage.throw(Fault("stop"))

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        number = self.stage.place(node)[0]
        self.going[number] += 1
        try:
            self._look_at_opening(number, node)
            session = await self._open(job, node, rank)
        except BaseException:  # whatever it is, nothing is open
            self.going[number] -= 1
            raise
        return session

    def _look_at_opening(self, number: int, node: Hashable) -> None:
        stage = self.stage
        if number in stage.ended:
            stage.wrong.append(f"{node} is opened after the abort of its worker")
        own = stage.workers[number]._own_limiter
        if own is not None and self.going[number] > own.borrowed_tokens:
            stage.wrong.append(f"{node} is opened without a place in its worker's fanout")
        limiter = stage.task._engine.limiter
        if self.going.total() > limiter.borrowed_tokens:
            stage.wrong.append(f"{node} is opened without a place in the fanout")
        if limiter.borrowed_tokens > max(stage.fanouts):
            stage.wrong.append("more places are taken than there ever were")

    async def _open(self, job: Job, node: Hashable, rank: int) -> Session:
        fault = self.stage.fault(node)
        if fault == "open raises":
            await trio.lowlevel.checkpoint()
            raise self.stage.throw(Fault(f"open {node}"))
        if fault == "open is late":
            with trio.CancelScope(shield=True):  # what it is late for
                await trio.sleep(LATE_SECONDS)
        session = await super().open(job, node, rank)
        self._wrap(session, node, fault)
        return session

    def _wrap(self, session: Session, node: Hashable, fault: str | None) -> None:
        """Have `session` count what is taken from it, and do what the fault says."""
        stage, number = self.stage, self.stage.place(node)[0]
        receive, send, end, aclose = session.receive, session.send, session.end, session.aclose
        ended = False

        async def faulty_receive() -> Sequence[Chunk]:
            if fault == "receive raises" and (stage.place(node)[1] % 2 or (node, "") in self.taken):
                raise stage.throw(Fault(f"receive {node}"))
            chunks = await receive()
            self.taken[node, ""] = b""
            for sname, data in chunks:
                self.taken[node, sname] = self.taken.get((node, sname), b"") + data
            if fault == "receive hangs" and ended and not chunks:
                await trio.sleep_forever()
            return chunks

        async def faulty_send(data: bytes) -> None:
            if fault == "send raises":
                raise stage.throw(Fault(f"send {node}"))
            await send(data)

        async def faulty_end(grace: float) -> None:
            nonlocal ended
            ended = True
            if fault == "end raises":
                raise stage.throw(Fault(f"end {node}"))
            if fault == "end hangs":
                await trio.sleep_forever()
            await end(grace)
            if fault == "end fails":
                raise TransportError("drawn: it is not known what is left")

        async def faulty_aclose() -> None:
            await aclose()
            self.going[number] -= 1
            if fault == "close raises":
                raise stage.throw(Fault(f"close {node}"))

        # This one object does all that.
        session.receive = faulty_receive  # type: ignore[method-assign]
        session.send = faulty_send  # type: ignore[method-assign]
        session.end = faulty_end  # type: ignore[method-assign]
        session.aclose = faulty_aclose  # type: ignore[method-assign]

    # -- while everybody waits -----------------------------------------------------------------

    def look_when_all_wait(self) -> None:
        """Look for those who idle each time that the virtual clock has to jump.

        The clock is asked to jump exactly when no task can go on, and there is no public way
        to be told of that instant (an instrument is not).
        """
        clock = cast(MockClock, trio.lowlevel.current_clock())
        jump: Callable[[], None] = clock._autojump

        def look_and_jump() -> None:
            if trio.current_time() > HANGS_AT:  # nothing else gets out of a Task that hangs
                raise AssertionError("the Task does not come to its end")
            self._look_for_idle()
            jump()

        clock._autojump = look_and_jump  # type: ignore[method-assign]  # this one object looks

    def _look_for_idle(self) -> None:
        stage = self.stage
        engine = stage.task._engine
        self._look_for_stragglers()
        if stage.busy or stage.ends or stage.raised or engine.over:
            return  # a handler holds everybody up; or everything is to end
        limiter = engine.limiter
        if limiter.borrowed_tokens != self.going.total():
            stage.wrong.append(f"{limiter.borrowed_tokens} places are taken for {self.going}")
        for number, worker in enumerate(stage.workers):
            own = worker._own_limiter
            if stage.mixed.workers[stage.crew_of[number]].autoclose or worker.closed:
                continue
            if all(book is not None for book in worker._books.targets.values()):
                continue
            if limiter.available_tokens > 0 and (own is None or own.available_tokens > 0):
                stage.wrong.append(f"{worker} idles while there is a place")

    def _look_for_stragglers(self) -> None:
        """When the block has been left, what is autoclose keeps nothing open."""
        stage, now = self.stage, trio.current_time()
        engine = stage.task._engine
        if stage.busy or not engine._left or not all(live.autoclose for live in engine.live):
            self.alone_since = math.inf
            return
        self.alone_since = min(self.alone_since, now)
        if now > self.alone_since + stage.mixed.grace + GIVEN_UP_SECONDS:
            stage.wrong.append("what is autoclose keeps the Task open")
