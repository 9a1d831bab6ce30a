"""Where a drawn service is played in virtual time, and looked at while it runs."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import trio

import trioshell._consumers
import trioshell._dispatch
from tests.faulty import FaultyTransport
from tests.mixed import Action, Mixed, Visit
from tests.troupe import HANDLERS, Boom, Called, TimerKeeper
from trioshell import DistantWorker, Task
from trioshell._errors import TaskError, WorkerError
from trioshell._events import Event
from trioshell._task import TaskStatistics
from trioshell.testing import Script, simulate

# When all that still waits for its input or its own end is ended.
BE_OVER_AT = 100.0
PIECE = b"input\n"  # what is written to workers
MOST_WORKERS = 6
MOST_TIMERS = 6


@dataclass
class Heard:
    """What one consumer was told."""

    visit: Visit
    worker: DistantWorker
    came_early: bool
    events: list[Event] = field(default_factory=list)
    complete: bool = False


@dataclass
class Stage:
    """One service, played; everything that a check may want to know of it.

    Attributes:
        calls: of the handlers' methods, with their time, in their order.
        wrong: what was found wrong while it ran.
        thrown: what handlers, the transport and the block have raised.
        ends: the instants at which something was to end everything, or a worker.
        ended: the workers that were to end so far, and when they first were.
        fanouts: every fanout that there has been so far.
        busy: True while a method of a handler is being called.
        interrupts: how many interrupts from the keyboard there have been.
        block: what the Task's block waits for beside all that is drawn.
    """

    mixed: Mixed
    transport: FaultyTransport = field(init=False)
    task: Task = field(init=False)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    workers: list[DistantWorker] = field(default_factory=list)
    crew_of: list[int] = field(default_factory=list)
    timers: list[TimerKeeper] = field(default_factory=list)
    calls: list[tuple[float, Called]] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    thrown: list[BaseException] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    ended: dict[int, float] = field(default_factory=dict)
    fanouts: list[int] = field(default_factory=list)
    busy: bool = False
    interrupts: int = 0
    block: Callable[[], Awaitable[None]] | None = None
    raised: BaseException | None = None
    over_at: float = 0.0
    statistics: TaskStatistics | None = None
    around: trio.Nursery | None = None
    patience: trio.CancelScope = field(default_factory=trio.CancelScope)

    def __post_init__(self) -> None:
        mixed = self.mixed
        self.transport = FaultyTransport(self)
        self.fanouts.append(mixed.fanout)
        self.task = Task(
            fanout=mixed.fanout,
            transport=self.transport,
            connect_timeout=mixed.connect_timeout,
            keep_results=mixed.keep_results,
            kill_grace=mixed.grace,
        )

    # -- who is who --------------------------------------------------------------------------

    def place(self, node: Hashable) -> tuple[int, int]:
        """The number of a node's worker, and its rank in it: "w1n3" is the fourth of the second."""
        number, _, rank = str(node)[1:].partition("n")
        return int(number), int(rank)

    def script(self, node: Hashable) -> Script:
        number, rank = self.place(node)
        return self.mixed.workers[self.crew_of[number]].scripts[rank]

    def fault(self, node: Hashable) -> str | None:
        number, rank = self.place(node)
        return self.mixed.workers[self.crew_of[number]].faults[rank]

    # -- what is done to it ------------------------------------------------------------------

    def throw(self, error: BaseException) -> BaseException:
        """Enter that `error` will be raised, and everything is to end; returns it."""
        self.thrown.append(error)
        self.all_end()
        return error

    def all_end(self) -> None:
        self.ends.append(trio.current_time())

    def interrupt(self) -> None:
        """As if somebody typed ^C now."""
        self.interrupts += 1
        self.all_end()
        signal.raise_signal(signal.SIGINT)

    def schedule(self, plan: int) -> None:
        if len(self.workers) >= MOST_WORKERS:
            return
        crew = self.mixed.workers[plan % len(self.mixed.workers)]
        number = len(self.workers)
        handler = HANDLERS[crew.handler]
        worker = self.task.shell(
            "x",
            nodes=[f"w{number}n{rank}" for rank in range(len(crew.scripts))],
            handler=None if handler is None else handler(self),
            timeout=crew.timeout,
            fanout=crew.fanout,
            stderr=crew.stderr,
            gather=crew.gather,
            autoclose=crew.autoclose,
        )
        assert isinstance(worker, DistantWorker)
        self.workers.append(worker)
        self.crew_of.append(plan % len(self.mixed.workers))
        if crew.pieces is not None:
            for _ in range(crew.pieces):
                worker.write(PIECE)
            worker.set_write_eof()

    def act(self, action: Action) -> None:
        """Do it now, from a handler or from beside it; what the Task refuses at its end, it may."""
        name, number = action
        with suppress(TaskError, WorkerError):
            getattr(self, "act_" + name.replace(" ", "_"))(number)

    def any_worker(self, number: int) -> DistantWorker | None:
        return self.workers[number % len(self.workers)] if self.workers else None

    def any_timer(self, number: int) -> TimerKeeper | None:
        return self.timers[number % len(self.timers)] if self.timers else None

    def act_abort(self, _number: int) -> None:
        self.all_end()
        for number, worker in enumerate(self.workers):
            if not worker.closed:
                self.ended.setdefault(number, trio.current_time())
        for timer in self.timers:
            timer.valid = False
        self.task.abort()

    def act_abort_worker(self, number: int) -> None:
        if worker := self.any_worker(number):
            self.all_end()
            self.ended.setdefault(self.workers.index(worker), trio.current_time())
            worker.abort()

    def act_fanout(self, number: int) -> None:
        self.fanouts.append(number + 1)
        self.task.fanout = number + 1

    def act_write(self, number: int) -> None:
        if worker := self.any_worker(number):
            worker.write(PIECE)

    def act_eof(self, number: int) -> None:
        if worker := self.any_worker(number):
            worker.set_write_eof()

    def act_schedule(self, number: int) -> None:
        self.schedule(number)

    def act_timer(self, number: int) -> None:
        self._start_timer(number / 4, None, autoclose=False)

    def act_ticker(self, number: int) -> None:
        self._start_timer(number / 8, (number % 3 + 1) / 8, autoclose=number % 2 == 0)

    def _start_timer(self, fire: float, interval: float | None, *, autoclose: bool) -> None:
        if len(self.timers) < MOST_TIMERS:
            keeper = TimerKeeper(self, fire, interval)
            keeper.timer = self.task.timer(fire, keeper, interval, autoclose)
            keeper.autoclose = autoclose
            self.timers.append(keeper)

    def act_retime(self, number: int) -> None:
        if keeper := self.any_timer(number):
            keeper.retime(number / 8)

    def act_invalidate(self, number: int) -> None:
        if keeper := self.any_timer(number):
            keeper.invalidate()

    def act_visit(self, number: int) -> None:
        assert self.around is not None
        leave = ("close", "drop", "wait")[number % 3]
        visit = Visit(number, 0.0, most=number or None, leave=leave)
        self.around.start_soon(self.visit, visit)

    def act_cancel(self, _number: int) -> None:
        self.all_end()
        self.scope.cancel()

    # -- who is there beside the Task ----------------------------------------------------------

    async def visit(self, visit: Visit) -> None:
        """Be a consumer."""
        await trio.sleep_until(visit.at)
        worker = self.any_worker(visit.worker)
        if worker is None:
            return
        heard = Heard(visit, worker, came_early=not worker.started)
        self.heard.append(heard)
        if visit.most == 0:
            worker.events()  # and never looked at
            return
        stream = worker.events()
        async for event in stream:
            heard.events.append(event)
            if len(heard.events) == visit.most:
                break
            await trio.sleep(visit.pause)
        else:
            heard.complete = True
        if visit.leave == "close":
            stream.close()
        elif visit.leave == "wait":
            await worker.wait()

    async def later(self, at: float, action: Action) -> None:
        await trio.sleep_until(at)
        self.act(action)

    async def be_over(self) -> None:
        """End what a command that waits for its input, or for ever, would never end."""
        with self.patience:
            await trio.sleep_until(BE_OVER_AT)
            while True:
                self.act_abort(0)
                await trio.sleep(10)

    async def perform(self) -> None:
        """The Task's block."""
        mixed = self.mixed
        assert self.around is not None
        for visit in mixed.visits:
            self.around.start_soon(self.visit, visit)
        for number, crew in enumerate(mixed.workers):
            if crew.early:
                self.schedule(number)
        async with self.task, trio.open_nursery() as block:
            for number, crew in enumerate(mixed.workers):
                if not crew.early:
                    self.schedule(number)
            for at, action in mixed.timed:
                nursery = self.around if mixed.outside else block
                nursery.start_soon(self.later, at, action)
            if mixed.block_raises is not None:
                await trio.sleep_until(mixed.block_raises)
                raise self.throw(Boom("block"))
            if self.block is not None:
                await self.block()


def count_tasks() -> int:
    root = trio.lowlevel.current_root_task()
    assert root is not None
    tasks, number = [root], 0
    while tasks:
        task = tasks.pop()
        number += 1
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return number


async def _play(mixed: Mixed, perform: Callable[[Stage], Awaitable[None]]) -> Stage:
    stage = Stage(mixed)
    if mixed.cancel is not None:
        stage.scope.deadline = mixed.cancel
        stage.ends.append(mixed.cancel)
    before = count_tasks()
    stage.transport.look_when_all_wait()
    async with trio.open_nursery() as stage.around:
        stage.around.start_soon(stage.be_over)
        try:
            with stage.scope:
                await perform(stage)
        except BaseException as exc:  # noqa: BLE001  # whatever it is, the checks look at it
            stage.raised = exc
        stage.over_at = trio.current_time()
        stage.statistics = stage.task.statistics()
        stage.patience.cancel()
    assert count_tasks() == before
    return stage


def play(mixed: Mixed, perform: Callable[[Stage], Awaitable[None]] = Stage.perform) -> Stage:
    """Play it to its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trioshell._consumers, "_MOST_ENTRIES", mixed.lag)
        patch.setattr(trioshell._dispatch, "_MOST_REPORTS", mixed.reports)
        return simulate(_play, mixed, perform, seed=mixed.seed)
