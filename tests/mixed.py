"""Whole services drawn as data: everything that may befall a Task, mixed as chance has it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tests.scenarios import scripts, ticks
from trioshell.testing import Script

# What the transport does to one node beside what its script says. Those that raise break the
# contract of a transport; the others are what a target may do.
FAULTS = (
    "open raises",
    "open is late",  # deaf to its cancellation for a while
    "receive raises",
    "receive hangs",  # and does not return although the command has been ended
    "send raises",
    "end raises",
    "end fails",  # with a TransportError: nobody knows what is left
    "end hangs",  # the command refuses to die
    "close raises",
)

# What is done to the Task, by a handler or at a time: its name and what it needs.
Action: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class Crew:
    """A worker: what each of its nodes does, and how it is scheduled.

    Attributes:
        faults: for each node one of `FAULTS`, or None.
        handler: of which kind its methods are: "async", "sync", "both" (only lines are sync),
            or "none".
        early: True to schedule it before the Task is entered.
        pieces: how many pieces of input are written to it right away, and then its end; None
            writes nothing.
    """

    scripts: tuple[Script, ...]
    faults: tuple[str | None, ...]
    timeout: float | None = None
    fanout: int | None = None
    stderr: bool = False
    gather: bool = True
    autoclose: bool = False
    handler: str = "async"
    early: bool = False
    pieces: int | None = None


@dataclass(frozen=True)
class Visit:
    """A consumer of a worker's events.

    Attributes:
        at: when it comes, perhaps long after the worker is closed.
        most: after how many events it stops; None for never.
        pause: seconds that it takes for each event.
        leave: how it stops: "close", "drop" (just goes away) or "wait" (for the worker).
    """

    worker: int
    at: float
    most: int | None = None
    pause: float = 0.0
    leave: str = "close"


@dataclass(frozen=True)
class Mixed:
    """A Task with its workers, and all that befalls it.

    Attributes:
        timed: what is done at which time; `outside` it goes on when the block has been left.
        reactions: what a handler does at which call of any method, counted over all workers
            and timers from 0.
        delay: seconds for which async methods are busy at each call.
        block_raises: when the block itself raises; None for never.
        cancel: when the block is cancelled from outside; None for never.
        start: what the transport does when it is started: "", "unreachable", "not started" or
            "raises"; or "stop raises".
        lag: how many events may wait for a consumer before it holds the nodes back.
        reports: how many reports may wait for a handler before it holds everybody up.
        seed: of the order in which Trio runs what could all go on.
    """

    workers: tuple[Crew, ...]
    fanout: int = 64
    grace: float = 2.0
    connect_timeout: float = 10.0625
    keep_results: bool = True
    timed: tuple[tuple[float, Action], ...] = ()
    outside: bool = False
    reactions: tuple[tuple[int, Action], ...] = ()
    visits: tuple[Visit, ...] = ()
    delay: float = 0.0
    block_raises: float | None = None
    cancel: float | None = None
    start: str = ""
    pipe_bytes: int = 65536
    lag: int = 4096
    reports: int = 32
    seed: int = 0


def rarely(what: st.SearchStrategy[Any], usually: Any = None) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(usually), st.just(usually), st.just(usually), what)


NUMBERS = st.integers(0, 7)
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.tuples(st.just("abort"), st.just(0)),
    *(
        st.tuples(st.just(name), NUMBERS)
        for name in (
            "abort worker",
            "fanout",
            "write",
            "eof",
            "schedule",
            "timer",
            "ticker",
            "retime",
            "invalidate",
            "visit",
        )
    ),
)
# Only a handler can do these.
REACTIONS: st.SearchStrategy[Action] = st.one_of(
    ACTIONS,
    st.tuples(st.just("sleep"), NUMBERS),
    st.tuples(st.just("raise"), st.just(0)),
    st.tuples(st.just("wait"), NUMBERS),
    st.tuples(st.just("cancel"), st.just(0)),
)
VISITS = st.builds(
    Visit,
    worker=NUMBERS,
    at=ticks(0, 24),
    most=st.one_of(st.none(), st.integers(0, 12)),
    pause=st.sampled_from([0.0, 0.0, 0.125]),
    leave=st.sampled_from(["close", "drop", "wait"]),
)


STARTS = st.sampled_from(["unreachable", "not started", "raises", "stop raises"])


# Mostly such as can be reached, so that there is something to disturb.
NODES = st.one_of(
    scripts(reads=True, reach=False), scripts(reads=True, reach=False), scripts(reads=True)
)


@st.composite
def crews(draw: st.DrawFn) -> Crew:
    drawn = tuple(draw(st.lists(NODES, min_size=1, max_size=5)))
    fault = rarely(rarely(st.sampled_from(FAULTS)))
    return Crew(
        scripts=drawn,
        faults=tuple(draw(fault) for _ in drawn),
        timeout=draw(st.one_of(st.none(), *[ticks(0, 24)] * 3)),  # many would hang without
        fanout=draw(rarely(st.integers(1, 3))),
        stderr=draw(st.booleans()),
        gather=draw(rarely(st.just(False), usually=True)),
        autoclose=draw(rarely(st.just(True), usually=False)),
        handler=draw(st.sampled_from(["async", "async", "sync", "both", "none"])),
        early=draw(st.booleans()),
        pieces=draw(st.one_of(st.none(), st.integers(0, 4))),
    )


@st.composite
def mixtures(draw: st.DrawFn) -> Mixed:
    """Anything at all."""
    return Mixed(
        workers=tuple(draw(st.lists(crews(), min_size=1, max_size=3))),
        fanout=draw(st.integers(1, 6)),
        grace=draw(ticks(0, 16)),
        connect_timeout=draw(st.one_of(st.just(math.inf), *[ticks(0, 16)] * 5)) + 1 / 16,
        keep_results=draw(rarely(st.just(False), usually=True)),
        timed=tuple(draw(st.lists(st.tuples(ticks(0, 48), ACTIONS), max_size=3))),
        outside=draw(st.booleans()),
        reactions=tuple(draw(st.lists(st.tuples(st.integers(0, 24), REACTIONS), max_size=5))),
        visits=tuple(draw(st.lists(VISITS, max_size=2))),
        delay=draw(st.sampled_from([0.0, 0.0, 0.125])),
        block_raises=draw(rarely(rarely(ticks(1, 48)))),
        cancel=draw(rarely(ticks(1, 48))),
        start=draw(rarely(rarely(STARTS, ""), "")),
        pipe_bytes=draw(st.sampled_from([1, 3, 65536])),
        lag=draw(st.sampled_from([1, 4096])),
        reports=draw(st.sampled_from([1, 32])),
        seed=draw(st.integers(0, 1 << 16)),
    )
