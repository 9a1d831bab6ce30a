"""What must hold of every service that has been played, whatever befell it.

It knows the promises, and nothing of how they are kept: it has no word in common with the
engine's own tables.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

import pytest

from tests.stage import PIECE, Heard, Stage
from trioshell import DistantWorker, TaskError
from trioshell._events import Close, Event, Hup, Pickup, Read, Start, Written
from trioshell._results import (
    Aborted,
    Exited,
    NodeResult,
    NotStarted,
    Outcome,
    Signaled,
    TimedOut,
    Unreachable,
)
from trioshell.testing import SessionRecord

# As many errors as come out at the most, of a handler that raises at every call.
MOST_ERRORS = 100


def check(stage: Stage) -> None:
    """Everything."""
    assert stage.wrong == []
    check_nothing_left(stage)
    check_what_came_out(stage)
    records = {record.node: record for record in stage.transport.records()}
    assert len(records) == len(stage.transport.records()), "a node has been opened twice"
    for number, worker in enumerate(stage.workers):
        check_worker(stage, number, worker, records)
    check_timers(stage)
    check_over_all(stage)
    for heard in stage.heard:
        check_consumer(stage, heard)


# -- the Task --------------------------------------------------------------------------------


def check_nothing_left(stage: Stage) -> None:
    now = stage.transport.statistics()
    assert (now.open, now.opening, now.opened) == (0, 0, now.closed)
    assert stage.transport.going.total() == 0
    assert stage.transport.entered == 0
    task = stage.statistics
    assert task is not None
    assert (task.running, task.waiting, task.open_workers, task.valid_timers) == (0, 0, 0, 0)
    assert not stage.task._engine.live
    for worker in stage.workers:
        own = worker._own_limiter
        assert own is None or own.borrowed_tokens == 0
        assert worker.closed


def leaves(error: BaseException | None) -> list[BaseException]:
    if error is None:
        return []
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in leaves(inner)]


def check_what_came_out(stage: Stage) -> None:
    """All that was raised comes out, once, in a group, and nothing else does."""
    came = [error for error in leaves(stage.raised) if not isinstance(error, KeyboardInterrupt)]
    assert len(leaves(stage.raised)) - len(came) <= stage.interrupts
    assert len(came) == len({id(error) for error in came})
    known = {id(error) for error in stage.thrown}
    assert {id(error) for error in came} <= known, came
    if len(known) < MOST_ERRORS:
        assert {id(error) for error in came} == known
    assert stage.interrupts or stage.raised is None or isinstance(stage.raised, BaseExceptionGroup)
    if not stage.scope.cancel_called:
        assert not stage.scope.cancelled_caught
    elif stage.mixed.cancel is not None and stage.over_at > stage.mixed.cancel:
        assert stage.scope.cancelled_caught or stage.raised is not None


def check_over_all(stage: Stage) -> None:
    """What is read over all workers of the Task."""
    task = stage.task
    if not stage.mixed.keep_results:
        assert task._workers == []
        with pytest.raises(TaskError):
            task.num_timeout()
        return
    results = [result for worker in stage.workers for result in worker.results().values()]
    rcs = [result.rc for result in results if result.rc is not None]
    assert task.max_retcode() == max(rcs, default=None)
    timed_out = [str(result.node) for result in results if isinstance(result.outcome, TimedOut)]
    assert task.num_timeout() == len(timed_out)
    assert sorted(map(str, task.iter_keys_timeout())) == sorted(timed_out)
    listed = [(rc, str(node)) for rc, nodes in task.iter_retcodes() for node in nodes]
    assert sorted(listed) == sorted((r.rc, str(r.node)) for r in results if r.rc is not None)


def check_timers(stage: Stage) -> None:
    for keeper in stage.timers:
        if stage.ends or stage.thrown:
            continue
        if keeper.interval is None and not keeper.autoclose:
            assert not keeper.valid, "a timer that kept the Task open has not fired"
        assert not keeper.timer.is_valid()


# -- a worker --------------------------------------------------------------------------------


def rc_of(outcome: Outcome) -> int | None:
    match outcome:
        case Exited(rc):
            return rc
        case Signaled(signum):
            return 128 + signum
        case Unreachable():
            return 255
    return None


def check_worker(
    stage: Stage, number: int, worker: DistantWorker, records: dict[Hashable, SessionRecord]
) -> None:
    crew = stage.mixed.workers[stage.crew_of[number]]
    names = [f"w{number}n{rank}" for rank in range(len(crew.scripts))]
    results = worker.results()
    assert list(results) == names, "exactly one result for each node, in node order"
    events = [(at, e) for at, e in stage.calls if isinstance(e, Event) and e.worker is worker]
    if crew.handler != "none":
        check_told(names, [event for _, event in events], whole=True)
    for rank, (node, result) in enumerate(results.items()):
        assert (result.node, result.rc) == (node, rc_of(result.outcome))
        told = [event for _, event in events if getattr(event, "node", None) == node]
        check_output(stage, crew.gather, result, told if crew.handler != "none" else None)
        if crew.handler != "none":
            check_input(crew.faults[rank], told, records.get(node))
            hups = [event.rc for event in told if isinstance(event, Hup)]
            assert hups in ([], [result.rc])
            assert bool(hups) or isinstance(result.outcome, NotStarted)
            assert node not in records or hups, "who was opened has been picked up, and told of"
        check_end(stage, number, rank, result, records.get(node))
    if crew.handler != "none":
        assert [e.timedout for _, e in events if isinstance(e, Close)] == [worker.did_timeout()]
    assert worker.num_timeout() == sum(isinstance(r.outcome, TimedOut) for r in results.values())


def check_told(names: list[str], events: Iterable[Event], *, whole: bool) -> None:
    """start (pickup (read | written)* hup)* close, and nodes picked up in their order."""
    events = list(events)
    if not events:
        assert not whole
        return
    assert isinstance(events[0], Start)
    if whole:
        assert isinstance(events[-1], Close)
    picked: list[Hashable] = []
    going: set[Hashable] = set()
    for place, event in enumerate(events):
        match event:
            case Start():
                assert place == 0
            case Pickup(node=node):
                picked.append(node)
                going.add(node)
            case Read(node=node) | Written(node=node):
                assert node in going
            case Hup(node=node):
                going.remove(node)
            case Close():
                assert place == len(events) - 1
                assert not going
    assert picked == names[: len(picked)], "nodes start in node order, each once"


def lines_of(raw: bytes) -> list[bytes]:
    *lines, last = raw.split(b"\n")
    return [line.removesuffix(b"\r") for line in lines] + ([last] if last else [])


def check_output(stage: Stage, gather: bool, result: NodeResult, told: list[Event] | None) -> None:
    """All that was taken from the node has been kept, and told as lines."""
    taken = stage.transport.taken
    for sname, kept in (("stdout", result.stdout), ("stderr", result.stderr)):
        raw = taken.get((result.node, sname), b"")
        assert kept == (raw if gather else b"")
        if told is not None:
            assert [e.msg for e in told if isinstance(e, Read) and e.sname == sname] == lines_of(
                raw
            )


def check_input(fault: str | None, told: list[Event], record: SessionRecord | None) -> None:
    """Each piece that has been handed over whole is told of, also if the end came right then."""
    sizes = [event.size for event in told if isinstance(event, Written)]
    assert all(size == len(PIECE) for size in sizes)
    if record is not None and fault is None:
        assert len(sizes) == len(record.stdin) // len(PIECE)


def check_end(
    stage: Stage, number: int, rank: int, result: NodeResult, record: SessionRecord | None
) -> None:
    """The outcome is what the node has seen, at the instants that were promised."""
    crew = stage.mixed.workers[stage.crew_of[number]]
    outcome, fault = result.outcome, crew.faults[rank]
    assert (result.started_at is None) == (result.ended_at is None)
    if isinstance(outcome, NotStarted):
        assert result.started_at is None
    elif not isinstance(outcome, Unreachable):
        assert result.started_at is not None
    if record is None:
        no_way = stage.mixed.start in ("unreachable", "raises")
        assert isinstance(outcome, NotStarted | Unreachable if no_way or fault else NotStarted)
        return
    if record.kill_at is not None and record.term_at is not None:
        assert record.kill_at == record.term_at + stage.mixed.grace or fault
    if fault is not None:
        return  # times are what the fault makes them
    assert (result.started_at, result.ended_at) == (record.started_at, record.closed_at)
    assert record.kill_at is None or record.term_at is not None, "a SIGKILL out of the blue"
    if record.error is not None:
        assert isinstance(outcome, NotStarted | Unreachable)
        return
    check_clock(stage, number, outcome, record)
    if record.exit is not None:
        assert outcome == record.exit
    else:
        assert isinstance(outcome, TimedOut | Aborted)


def check_clock(stage: Stage, number: int, outcome: Outcome, record: SessionRecord) -> None:
    """Timed out if and only if it ran so long, and at that instant; aborted when it was."""
    crew = stage.mixed.workers[stage.crew_of[number]]
    assert record.started_at is not None
    over_at = record.started_at + (math.inf if crew.timeout is None else crew.timeout)
    if isinstance(outcome, TimedOut):
        assert outcome.seconds == crew.timeout
        assert record.term_at == over_at
    if isinstance(outcome, Aborted):
        assert record.term_at is not None
        assert record.term_at <= over_at
        assert crew.autoclose or record.term_at in stage.ends
    if isinstance(outcome, Exited | Signaled):
        assert record.ended_at is not None
        assert record.ended_at <= over_at
    if record.term_at is not None:
        assert record.closed_at is not None
        assert record.closed_at <= record.term_at + stage.mixed.grace or slow(stage)
        if number in stage.ended:
            assert record.term_at <= max(stage.ended[number], record.started_at) or slow(stage)


def slow(stage: Stage) -> bool:
    """True if handlers take their time, and with it that of everybody."""
    naps = any(name == "sleep" for _, (name, _) in stage.mixed.reactions)
    return bool(stage.mixed.delay) or naps


# -- a consumer ------------------------------------------------------------------------------


def check_consumer(stage: Stage, heard: Heard) -> None:
    """Who comes early is told what the handler is told; who comes late, what has been kept."""
    worker = heard.worker
    number = stage.workers.index(worker)
    crew = stage.mixed.workers[stage.crew_of[number]]
    names = [f"w{number}n{rank}" for rank in range(len(crew.scripts))]
    check_told(names, heard.events, whole=heard.complete)
    if not heard.complete:
        return
    for node, result in worker.results().items():
        mine = [event for event in heard.events if getattr(event, "node", None) == node]
        picked = [event for event in mine if isinstance(event, Pickup)]
        assert [e.rc for e in mine if isinstance(e, Hup)] == [result.rc] * len(picked)
        if crew.gather or heard.came_early:
            check_output(stage, crew.gather, result, mine)
        if crew.handler != "none":
            calls = [e for _, e in stage.calls if getattr(e, "node", None) == node]
            assert len(picked) == sum(isinstance(e, Pickup) for e in calls)
            if heard.came_early:
                assert mine == calls
