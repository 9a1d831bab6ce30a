"""The feeder of a worker: starts its nodes in order, and is with them until the last is over.

It is one child task, whatever the number of nodes. It takes a place in the fanout *on behalf of*
the next node and then starts that node's child task, which gives the place back: so nodes
start in order, and those that wait cost nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

import trio

from trioshell._conduct import Run, conduct
from trioshell._errors import SpawnError, TransportError
from trioshell._fanout import Place
from trioshell._input import Input
from trioshell._reports import Finished, Report, Started
from trioshell._results import NotStarted, Outcome, Unreachable
from trioshell.transports import Job, Transport

if TYPE_CHECKING:
    from trioshell._consumers import Consumers
    from trioshell._engine import Engine
    from trioshell._worker import Worker


class Feeder:
    """The living side of a worker.

    Attributes:
        worker: whose it is.
        input: what has been written to the worker.
        engine: in which it lives; None until the worker is scheduled.
        job: what its transport is asked for.
        transport: the way to the nodes, from `attach` on.
        timeout: seconds that each command may run; None for no bound.
        no_way: how all nodes end because their transport can't be started; None if it is.
    """

    engine: Engine
    job: Job
    transport: Transport
    timeout: float | None

    def __init__(self, worker: Worker, targets: Iterable[Hashable], consumers: Consumers) -> None:
        self.worker = worker
        self.input = Input()
        self._targets = targets
        self._consumers = consumers
        # Invariant: every node whose session may still be open.
        self._runs: set[Run] = set()
        self._feeding = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._to_come = True  # nodes may still be picked up
        self._any_opened = False
        self._finished = False
        self.no_way: Outcome | None = None
        self._limiters: Sequence[trio.CapacityLimiter] = ()

    @property
    def autoclose(self) -> bool:
        return self.worker.autoclose

    def attach(
        self,
        engine: Engine,
        job: Job,
        transport: Transport,
        timeout: float | None,
        limiters: Sequence[trio.CapacityLimiter],
    ) -> None:
        """Say where it will live and what it will do; `limiters` bind it, the narrowest first."""
        self.engine, self.job, self.transport, self.timeout = engine, job, transport, timeout
        self._limiters = limiters

    def abort(self) -> None:
        """End every run, and start no more; harmless at any time."""
        self._to_come = False
        self._feeding.cancel()
        for run in tuple(self._runs):
            run.abort()

    def abandon(self) -> None:
        """The engine has broken down: whoever waits for the worker goes on."""
        self._finished = True
        self.input.progress.unpark_all()
        self.worker._give_up()

    @trio.lowlevel.enable_ki_protection  # an interrupt belongs to the block or to a handler
    async def serve(self) -> None:
        """The worker's child task, from its start to when the last of its runs is over."""
        await self.report(Started(self.worker))
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with self._feeding:
                await self._start_runs(nursery)
            self._to_come = False
            self.input.seal()
        self._nursery = None
        self._finished = True
        self.input.progress.unpark_all()
        await self.worker._release()
        await self.report(Finished(self.worker))

    async def _start_runs(self, nursery: trio.Nursery) -> None:
        # Once, before the first: runs that waited for it side by side would lose their order.
        try:
            await self.engine.enter_transport(self.transport)
        except SpawnError as exc:
            self.no_way = NotStarted(exc.reason)
        except (TransportError, OSError) as exc:
            self.no_way = Unreachable(str(exc))
        except Exception as exc:  # noqa: BLE001  # whatever a transport raises that it must not
            self.engine.dispatcher.fail(exc)
            return
        for rank, node in enumerate(self._targets):
            place = Place()
            if self.engine.pace is not None:
                self.engine.pace.wanted()
            await place.take(self._limiters)
            if not self._to_come:
                # Aborted while we slept over a place that was ours already: a limiter gives
                # it first, and lets the others have their turn then.
                place.release()
                return
            run = Run(self, node, rank)
            self._runs.add(run)
            self.input.join()
            nursery.start_soon(conduct, run, place)

    # -- for its runs ------------------------------------------------------------------------

    @property
    def nursery(self) -> trio.Nursery:
        """Where the tasks of its runs live, while there are any."""
        assert self._nursery is not None
        return self._nursery

    async def report(self, report: Report) -> None:
        """To the dispatcher; waits while it has too much to do."""
        await self.engine.dispatcher.report(report)

    async def wait_consumers(self) -> None:
        """Wait while a consumer of the worker's events is too far behind."""
        if self._consumers:
            await self._consumers.wait_room()

    def opened(self, run: Run) -> None:
        """The run has its session: it can be fed."""
        self._any_opened = True
        if self.engine.pace is not None and run.started_at is not None:
            self.engine.pace.opened(run.started_at - run.picked_up_at)
        self.input.progress.unpark_all()
        if self.input.used:
            run.feed_soon(self.nursery)

    def over(self, run: Run) -> None:
        """The run's session is closed."""
        self._runs.discard(run)
        if self.engine.pace is not None:
            seconds = trio.current_time() - run.picked_up_at
            self.engine.pace.ended(seconds, began=run.started_at is not None)
        self.input.progress.unpark_all()

    # -- its input ---------------------------------------------------------------------------

    def put(self, sname: str, data: bytes) -> None:
        """Queue a piece of input for every target."""
        self.input.put(sname, data)
        self._feed_runs()

    def put_eof(self) -> None:
        """Queue the end of the input."""
        self.input.close()
        self._feed_runs()

    def _feed_runs(self) -> None:
        if self._nursery is not None:
            for run in self._runs:
                run.feed_soon(self._nursery)

    async def wait_taken(self) -> None:
        """Wait until every run has taken all input; before the first one, for that as well."""
        await trio.lowlevel.checkpoint()
        while self.worker.task is not None and self.engine.entered and not self._finished:
            nobody_yet = not self._any_opened and (self._to_come or bool(self._runs))
            if not nobody_yet and not any(run.behind for run in self._runs):
                break
            await self.input.progress.park()
