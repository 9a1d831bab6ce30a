"""Whole scenarios drawn as data, played in virtual time against the real engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import trio
from hypothesis import strategies as st

from trioshell import DistantWorker, Task
from trioshell._errors import WorkerError
from trioshell._events import Close, Event, Hup, Pickup, Read, Start, Written
from trioshell._results import Exited, NotStarted, Outcome, Signaled, TimedOut, Unreachable
from trioshell._task import TaskStatistics
from trioshell._worker import Worker
from trioshell.testing import (
    Break,
    CloseStdin,
    ReadStdin,
    Script,
    SessionRecord,
    SimulatedTransport,
    simulate,
)
from trioshell.testing._script import Step
from trioshell.transports._base import Chunk, Job, Session

DRAIN = 0.25  # what the simulated transport waits for output that is held open

# What is drawn


@dataclass(frozen=True)
class WorkerPlan:
    """A worker: what each of its nodes does, and how it is scheduled.

    Attributes:
        at: when; 0 is before anything else happens.
        early: True to schedule it before the Task is entered (with `at` 0).
        input: what is written to it right away; None writes nothing.
    """

    scripts: tuple[Script, ...]
    timeout: float | None = None
    fanout: int | None = None
    stderr: bool = False
    at: float = 0.0
    early: bool = False
    input: tuple[bytes, ...] | None = None


# What happens to the Task from inside or outside: its name and what it needs.
Action: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class Scenario:
    """A Task with its workers, and all that befalls it.

    Attributes:
        actions: what is done at which time.
        reactions: what the handler does at which event, counted from 0 over all workers.
        delay: the seconds for which the handler is busy at each event.
        raises: at which event the handler raises.
        cancel: when the block around the Task is cancelled.
    """

    workers: tuple[WorkerPlan, ...]
    fanout: int = 64
    grace: float = 2.0
    connect_timeout: float = 10.0625
    actions: tuple[tuple[float, Action], ...] = ()
    reactions: tuple[tuple[int, Action], ...] = ()
    delay: float = 0.0
    raises: int | None = None
    cancel: float | None = None
    pipe_bytes: int = 65536
    seed: int = 0

    def nodes(self, number: int) -> list[str]:
        """The names of a worker's nodes; no two workers share one."""
        return [f"w{number}n{rank}" for rank in range(len(self.workers[number].scripts))]


def ticks(least: int, most: int) -> st.SearchStrategy[float]:
    """Seconds that floats hold exactly, so that sums of them can be compared."""
    return st.integers(least, most).map(lambda count: count / 8)


LINES = st.sampled_from(
    [b"a\n", b"bb\r\n", b"no end", b"x\ry\n", b"\n", b"\xff\x00\n", ("stderr", b"e\n"), b"\r"]
)
STEPS = st.lists(st.one_of(ticks(0, 16), LINES), max_size=5).map(tuple)
WAYS_TO_DIE = st.one_of(
    st.just(()), st.none(), st.lists(st.one_of(ticks(0, 24), LINES), max_size=3).map(tuple)
)


READS = st.builds(
    ReadStdin,
    echo=st.booleans(),
    size=st.integers(1, 8),
    pause=ticks(0, 2),
    total=st.one_of(st.none(), st.integers(0, 12)),
)


@st.composite
def scripts(draw: st.DrawFn, *, least: int = 0, reach: bool = True, reads: bool = False) -> Script:
    """Any behaviour of a node, lasting `least` ticks or more.

    It is always opened with `reach` False, and may depend on its stdin with `reads` True.
    """
    drawn = cast("tuple[Step, ...]", draw(STEPS))
    steps = (*drawn, *([least / 8] if least else []))
    if reads:
        steps += draw(st.sampled_from([(), (), (draw(READS), b"read"), (CloseStdin(), 1.0)]))
    end = draw(st.sampled_from(["exit", "exit", "exit", "signal", "hang", "break"]))
    keywords: dict[str, Any] = {"on_term": draw(WAYS_TO_DIE)}
    if end == "exit":
        keywords["rc"] = draw(st.sampled_from([0, 0, 1, 3, 255]))
        keywords["holds_output"] = draw(st.sampled_from([0.0, 0.0, 0.125, 60.0]))
    elif end == "signal":
        keywords["signum"] = draw(st.sampled_from([9, 11, 15]))
    elif end == "hang":
        steps = (*steps, math.inf)
    else:
        steps = (*steps, Break("cut"))
    if reach:
        keywords["connect"] = draw(st.one_of(st.just(0.0), ticks(0, 12), st.just(math.inf)))
        failure = draw(st.sampled_from([None, None, None, None, "unreachable", "not_started"]))
        if failure:
            keywords[failure] = f"drawn {failure}"
    return Script(steps, **keywords)


@st.composite
def plans(draw: st.DrawFn, script: st.SearchStrategy[Script], *, most: int = 6) -> WorkerPlan:
    drawn = tuple(draw(st.lists(script, min_size=1, max_size=most)))
    hangs = any(math.inf in script.program for script in drawn)
    return WorkerPlan(
        scripts=drawn,
        timeout=draw(ticks(0, 24) if hangs else st.one_of(st.none(), ticks(0, 24))),
        fanout=draw(st.one_of(st.none(), st.none(), st.integers(1, 3))),
        stderr=draw(st.booleans()),
        early=draw(st.booleans()),
    )


ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.tuples(st.just("abort"), st.just(0)),
    st.tuples(st.just("abort worker"), st.integers(0, 3)),
    st.tuples(st.just("fanout"), st.integers(1, 6)),
    st.tuples(st.just("write"), st.integers(0, 3)),
    st.tuples(st.just("eof"), st.integers(0, 3)),
    st.tuples(st.just("schedule"), st.integers(0, 3)),
    st.tuples(st.just("timer"), st.integers(0, 16)),
)


@st.composite
def scenarios(draw: st.DrawFn, *, eventful: bool = True) -> Scenario:
    """Anything at all; `eventful` False: nothing but workers of which each runs its course."""
    node = scripts(reads=eventful)
    workers = tuple(draw(st.lists(plans(node), min_size=1, max_size=3)))
    common: dict[str, Any] = {
        "workers": workers,
        "fanout": draw(st.integers(1, 6)),
        "grace": draw(ticks(0, 16)),
        "connect_timeout": draw(ticks(0, 16)) + 1 / 16,
        "seed": draw(st.integers(0, 1 << 16)),
    }
    if not eventful:
        return Scenario(**common)
    timed = st.tuples(ticks(0, 48), ACTIONS)
    counted = st.tuples(st.integers(0, 30), ACTIONS)
    return Scenario(
        actions=tuple(draw(st.lists(timed, min_size=1, max_size=3))),
        reactions=tuple(draw(st.lists(counted, max_size=3))),
        delay=draw(st.sampled_from([0.0, 0.0, 0.125])),
        raises=draw(st.one_of(st.none(), st.none(), st.integers(0, 20))),
        cancel=draw(st.one_of(st.none(), st.none(), ticks(0, 48))),
        pipe_bytes=draw(st.sampled_from([1, 3, 65536])),
        **common,
    )


# How it is played

Watch: TypeAlias = "Callable[[Play, trio.Nursery], None] | None"


class Boom(Exception):
    """What a handler raises."""


class Keeper:
    """A handler that keeps every event with its time, and does what the scenario says."""

    def __init__(self, play: Play) -> None:
        self.play = play

    async def _keep(self, event: Event) -> None:
        play, number = self.play, len(self.play.events)
        play.events.append((trio.current_time(), event))
        for at, action in play.scenario.reactions:
            if at == number:
                play.act(action)
        if play.scenario.delay:
            await trio.sleep(play.scenario.delay)
        if play.scenario.raises == number:
            raise Boom

    async def ev_start(self, worker: Worker) -> None:
        await self._keep(Start(worker))

    async def ev_pickup(self, worker: Worker, node: Hashable) -> None:
        await self._keep(Pickup(worker, node))

    async def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
        await self._keep(Read(worker, node, sname, msg))

    async def ev_written(self, worker: Worker, node: Hashable, sname: str, size: int) -> None:
        await self._keep(Written(worker, node, sname, size))

    async def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> None:
        await self._keep(Hup(worker, node, rc))

    async def ev_close(self, worker: Worker, timedout: bool) -> None:
        await self._keep(Close(worker, timedout))

    def ev_timer(self, timer: object) -> None:
        self.play.fired.append(trio.current_time())


class CountingTransport(SimulatedTransport):
    """Simulated nodes, and what of their output has been taken from them, by node and stream."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.taken: dict[tuple[Hashable, str], bytes] = {}

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        session = await super().open(job, node, rank)
        receive = session.receive

        async def counted() -> Sequence[Chunk]:
            chunks = await receive()
            for sname, data in chunks:
                self.taken[node, sname] = self.taken.get((node, sname), b"") + data
            return chunks

        session.receive = counted  # type: ignore[method-assign]  # this one object counts
        return session


@dataclass
class Play:
    """A scenario that has been played, and all that could be seen of it."""

    scenario: Scenario
    transport: CountingTransport
    task: Task
    workers: list[DistantWorker] = field(default_factory=list)
    plans: list[WorkerPlan] = field(default_factory=list)
    names: list[list[str]] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    fired: list[float] = field(default_factory=list)
    fanouts: list[tuple[float, int]] = field(default_factory=list)
    raised: BaseException | None = None
    cancelled: bool = False
    over_at: float = 0.0
    statistics: TaskStatistics | None = None

    def schedule(self, number: int) -> None:
        plan = self.scenario.workers[number]
        copy = sum(plan is other for other in self.plans)  # the same plan may be scheduled again
        names = [f"{node}c{copy}" if copy else node for node in self.scenario.nodes(number)]
        worker = self.task.shell(
            "x",
            nodes=names,
            handler=Keeper(self),
            timeout=plan.timeout,
            fanout=plan.fanout,
            stderr=plan.stderr,
        )
        assert isinstance(worker, DistantWorker)
        self.workers.append(worker)
        self.plans.append(plan)
        self.names.append(names)
        if plan.input is not None:
            for data in plan.input:
                worker.write(data)
            worker.set_write_eof()

    def act(self, action: Action) -> None:
        """Do it now, from a handler or from the block."""
        name, number = action
        worker = self.workers[number % len(self.workers)] if self.workers else None
        if name == "abort":
            self.task.abort()
        elif name == "fanout":
            self.task.fanout = number
            self.fanouts.append((trio.current_time(), number))
        elif name == "timer":
            self.task.timer(number / 8, Keeper(self))
        elif name == "schedule" and len(self.workers) < 6:
            self.schedule(number % len(self.scenario.workers))
        elif name == "abort worker" and worker is not None:
            worker.abort()
        elif name == "write" and worker is not None:
            with suppress(WorkerError):  # after its end of input
                worker.write(b"input\n")
        elif name == "eof" and worker is not None:
            worker.set_write_eof()

    def runs(self) -> Iterator[tuple[int, int, str, Script]]:
        """Each node: the number of its worker, its rank in it, its name and its script."""
        for number, names in enumerate(self.names):
            for rank, node in enumerate(names):
                yield number, rank, node, self.plans[number].scripts[rank]

    def records(self) -> dict[Hashable, SessionRecord]:
        return {record.node: record for record in self.transport.records()}


async def _play(scenario: Scenario, watch: Watch) -> Play:
    by_node = {
        node: plan.scripts[rank]
        for number, plan in enumerate(scenario.workers)
        for rank, node in enumerate(scenario.nodes(number))
    }
    transport = CountingTransport(
        lambda node, _command: by_node[str(node).partition("c")[0]],
        pipe_bytes=scenario.pipe_bytes,
        drain=DRAIN,
    )
    task = Task(
        fanout=scenario.fanout,
        transport=transport,
        connect_timeout=scenario.connect_timeout,
        kill_grace=scenario.grace,
    )
    play = Play(scenario, transport, task)
    deadline = math.inf if scenario.cancel is None else scenario.cancel
    try:
        with trio.CancelScope(deadline=deadline) as scope:
            await _perform(play, watch)
    except BaseExceptionGroup as group:  # what handlers raise, looked at by the properties
        play.raised = group
    play.cancelled = scope.cancelled_caught
    play.over_at = trio.current_time()
    play.statistics = task.statistics()
    return play


async def _perform(play: Play, watch: Watch) -> None:
    scenario = play.scenario

    async def later(at: float, action: Action) -> None:
        await trio.sleep_until(at)
        play.act(action)

    for number, plan in enumerate(scenario.workers):
        if plan.early and not plan.at:
            play.schedule(number)
    async with play.task, trio.open_nursery() as nursery:
        for number, plan in enumerate(scenario.workers):
            if plan.at:
                nursery.start_soon(later, plan.at, ("schedule", number))
            elif not plan.early:
                play.schedule(number)
        for at, action in scenario.actions:
            nursery.start_soon(later, at, action)
        if scenario.actions:
            nursery.start_soon(_be_over, play)
        if watch is not None:
            watch(play, nursery)


async def _be_over(play: Play) -> None:
    """End what a worker that waits for its input would never end."""
    await trio.sleep_until(100)
    while not all(worker.closed for worker in play.workers):
        play.task.abort()
        await trio.sleep(10)


def play(scenario: Scenario, watch: Watch = None) -> Play:
    """Play `scenario` to its end; `watch` may start more in the block's nursery."""
    return simulate(_play, scenario, watch, seed=scenario.seed)


# What is to be expected of one node, from its script alone


@dataclass(frozen=True)
class Expected:
    """How a run ends that is left alone but for its timeouts; seconds from its pickup."""

    outcome: Outcome
    ends: float
    starts: float | None = None
    written: tuple[tuple[str, bytes], ...] = ()


def _written(steps: tuple[Any, ...], until: float) -> tuple[list[tuple[str, bytes]], float]:
    """What a program has written by the time `until`, and when it ends if it is left alone."""
    now = 0.0
    written: list[tuple[str, bytes]] = []
    for step in steps:
        if isinstance(step, bytes | tuple):
            if now <= until:
                written.append(("stdout", step) if isinstance(step, bytes) else step)
        elif isinstance(step, int | float):
            now += step
    return written, now


def expect(script: Script, plan: WorkerPlan, scenario: Scenario) -> Expected:
    """What `Task` must make of `script`."""
    patience = scenario.connect_timeout
    if script.connect > patience:
        return Expected(Unreachable(f"no connection within {patience:g} s"), patience)
    if script.unreachable is not None:
        return Expected(Unreachable(script.unreachable), script.connect)
    if script.not_started is not None:
        return Expected(NotStarted(script.not_started), script.connect)
    limit = math.inf if plan.timeout is None else plan.timeout
    written, lasts = _written(script.program, limit)
    breaks = any(isinstance(step, Break) for step in script.program)
    by_itself: Outcome = Exited(script.rc)
    if script.signum is not None:
        by_itself = Signaled(script.signum)
    if breaks:
        by_itself = Unreachable("cut")
    if lasts <= limit:
        drained = lasts + (0 if breaks else min(script.holds_output, DRAIN))
        return _expected(script, by_itself, min(drained, max(lasts, limit)), written)
    if script.last_words is None:  # goes on until the SIGKILL
        until = min(limit + scenario.grace, lasts)
        written, _ = _written(script.program, until)
        outcome = by_itself if breaks and lasts <= limit + scenario.grace else TimedOut(limit)
        return _expected(script, outcome, until, written)
    said, dies = _written(script.last_words, scenario.grace)
    ends = limit + min(dies, scenario.grace)
    return _expected(script, TimedOut(limit), ends, written + said)


def _expected(
    script: Script, outcome: Outcome, ends: float, written: list[tuple[str, bytes]]
) -> Expected:
    return Expected(outcome, script.connect + ends, script.connect, tuple(written))


def echo(*, size: int = 65536, pause: float = 0.0) -> Script:
    """A node that gives back what it is sent, and ends with it."""
    return Script(ReadStdin(echo=True, size=size, pause=pause))
