"""What must hold of every Task, whatever its nodes do: Hypothesis over whole scenarios."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import mixed, stage
from tests.checker import check
from tests.scenarios import (
    Boom,
    Keeper,
    Play,
    Scenario,
    WorkerPlan,
    echo,
    expect,
    plans,
    play,
    scenarios,
    scripts,
    ticks,
)
from trioshell._events import Close, Event, Hup, Pickup, Read, Written
from trioshell._results import Aborted, NotStarted, TimedOut, Unreachable
from trioshell._worker import Worker
from trioshell.testing import Script, check_grammar

# For `-m soak`: new examples each time, and many more of them; most of all of those that mix all.
# One that fails is printed as it was drawn, with what replays it: to make it small takes longer
# than a test may hang.
settings.register_profile(
    "long",
    max_examples=200,
    phases=[Phase.generate],
    derandomize=False,
    database=None,
    deadline=None,
    print_blob=True,
)
LONG = settings(settings.get_profile("long"), suppress_health_check=[HealthCheck.too_slow])
LONGEST = settings(LONG, max_examples=1250)
QUICK = settings(settings.default, max_examples=100, suppress_health_check=[HealthCheck.too_slow])

Property = Callable[[Any], None]
PROPERTIES: list[tuple[st.SearchStrategy[Any], Property]] = []


def holds_of(strategy: st.SearchStrategy[Any]) -> Callable[[Property], Property]:
    """The function below is a test over what `strategy` draws, and one of the soak."""

    def enter(check: Property) -> Property:
        PROPERTIES.append((strategy, check))
        return QUICK(given(strategy)(check))

    return enter


# What holds at the end of every scenario


def check_books(played: Play) -> None:
    """Exactly one outcome a node, the grammar, and what the target saw says the same."""
    events = [event for _, event in played.events]
    check_grammar(events)
    assert {id(event.worker) for event in events} == {id(worker) for worker in played.workers}
    records = played.records()
    for number, worker in enumerate(played.workers):
        assert worker.closed
        results = worker.results()
        assert list(results) == list(worker.nodes)
        assert len(results) == len(played.names[number])
        hups = {e.node: e.rc for e in events if isinstance(e, Hup) and e.worker is worker}
        for node, result in results.items():
            assert hups.get(node) == result.rc
            if node in records:
                assert node in hups
                _check_record(result, records[node])
            else:  # it was aborted before its way was opened, or never picked up
                assert isinstance(result.outcome, NotStarted)
        assert worker.did_timeout() == any(
            isinstance(result.outcome, TimedOut) for result in results.values()
        )
        closes = [e for e in events if isinstance(e, Close) and e.worker is worker]
        assert [close.timedout for close in closes] == [worker.did_timeout()]


def _check_record(result: Any, record: Any) -> None:
    """What the engine says of a run is what its node has seen."""
    assert (result.started_at, result.ended_at) == (record.started_at, record.closed_at)
    if record.error is not None:
        assert isinstance(result.outcome, NotStarted | Unreachable)
        assert result.started_at is None
    elif record.exit is not None:
        assert result.outcome == record.exit
    else:
        assert isinstance(result.outcome, TimedOut | Aborted)
    if record.kill_at is not None:
        assert record.term_at is not None  # never a SIGKILL out of the blue


def check_nothing_left(played: Play) -> None:
    """No session is open, no place is taken, and nothing was raised but by the handler."""
    if played.raised is not None:
        assert all(isinstance(error, Boom) for error in leaves(played.raised))
    now = played.transport.statistics()
    assert (now.open, now.opening) == (0, 0)
    task = played.statistics
    assert task is not None
    assert (task.running, task.waiting, task.open_workers, task.valid_timers) == (0, 0, 0, 0)


def leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in leaves(inner)]


def check_output(played: Play) -> None:
    """What was taken from the nodes has been kept and told as lines, stream by stream."""
    for worker in played.workers:
        told: dict[tuple[Hashable, str], list[bytes]] = {}
        for _, event in played.events:
            if isinstance(event, Read) and event.worker is worker:
                told.setdefault((event.node, event.sname), []).append(event.msg)
        for node, result in worker.results().items():
            for sname, raw in (("stdout", result.stdout), ("stderr", result.stderr)):
                assert played.transport.taken.get((node, sname), b"") == raw
                assert told.get((node, sname), []) == lines_of(raw)


def lines_of(raw: bytes) -> list[bytes]:
    lines = raw.split(b"\n")
    last = lines.pop()
    return [line.removesuffix(b"\r") for line in lines] + ([last] if last else [])


def check_fanout(played: Play) -> None:
    """Whenever a session was opened there was a place for it, in the Task and in its worker."""
    records = played.records()
    # What is opened after a change is bound by it; at the very instant either may hold.
    changes = [(0.0, played.scenario.fanout), *played.fanouts]
    for number, names in enumerate(played.names):
        own = played.plans[number].fanout
        group = [records[node] for node in names if node in records]
        if own is not None:
            _check_peak(group, lambda _now, own=own: own)  # type: ignore[misc]  # bound by now
    _check_peak(list(records.values()), lambda now: _allowed(changes, now))


def _allowed(changes: list[tuple[float, int]], now: float) -> int:
    last = max(at for at, _ in changes if at <= now)
    before = [fanout for at, fanout in changes if at < now][-1:]
    return max([fanout for at, fanout in changes if at == last] + (before if last == now else []))


def _check_peak(records: list[Any], allowed: Callable[[float], int]) -> None:
    """At each opening, those that run are no more than allowed."""
    steps = []
    for record in records:
        closed_at = record.closed_at
        if closed_at is None:  # it could not be opened: when that was known is in no record
            continue
        steps += [(record.opened_at, 1), (closed_at, -1)]
    running = 0
    for at, step in sorted(steps):  # at one instant those that close come first
        running += step
        assert step < 0 or running <= allowed(at)


def check_order(played: Play) -> None:
    """Within a worker nodes have been picked up in node order."""
    for worker in played.workers:
        picked = [e.node for _, e in played.events if isinstance(e, Pickup) and e.worker is worker]
        assert picked == list(worker.nodes)[: len(picked)]


def check_all(played: Play) -> None:
    check_books(played)
    check_nothing_left(played)
    check_output(played)
    check_order(played)


# The properties


@holds_of(scenarios())
def test_whatever_happens_the_books_are_in_order(scenario: Scenario) -> None:
    """Aborts, changes of the fanout, input, timers, new workers, slow and raising handlers,
    cancellation, at any time and from inside handlers."""
    played = play(scenario)
    check_all(played)
    check_fanout(played)


@holds_of(scenarios(eventful=False))
def test_each_node_ends_as_its_script_says_at_the_instant_it_says(scenario: Scenario) -> None:
    played = play(scenario)
    check_all(played)
    records = played.records()
    for number, _, node, script in played.runs():
        plan = played.plans[number]
        wanted = expect(script, plan, scenario)
        result = played.workers[number].results()[node]
        assert result.outcome == wanted.outcome
        opened_at = records[node].opened_at
        if wanted.starts is None:
            assert result.started_at is None
        else:
            assert result.started_at == opened_at + wanted.starts
            assert result.ended_at == opened_at + wanted.ends
        keep = {"stdout": b"", "stderr": b""}
        for sname, data in wanted.written:
            keep[sname if plan.stderr else "stdout"] += data
        assert {"stdout": result.stdout, "stderr": result.stderr} == keep


@holds_of(scenarios())
def test_nodes_start_in_node_order(scenario: Scenario) -> None:
    played = play(scenario)
    opened = [record.node for record in played.transport.records()]
    for worker in played.workers:
        mine = set(worker.nodes)
        started = [node for node in opened if node in mine]
        assert started == [node for node in worker.nodes if node in started]


@holds_of(scenarios(eventful=False))
def test_a_task_is_over_when_its_last_session_is(scenario: Scenario) -> None:
    played = play(scenario)
    ends: dict[Hashable, float] = {
        node: expect(script, played.plans[number], scenario).ends
        for number, _, node, script in played.runs()
    }
    assert played.over_at == max(
        record.opened_at + ends[record.node] for record in played.transport.records()
    )
    assert played.raised is None


@holds_of(
    st.tuples(
        st.lists(plans(scripts(least=1, reach=False), most=12), min_size=1, max_size=3),
        st.integers(1, 10),
        st.integers(0, 1 << 16),
    )
)
def test_the_peak_is_the_fanout_or_all_nodes(
    drawn: tuple[list[WorkerPlan], int, int],
) -> None:
    workers, fanout, seed = drawn
    workers = [replace(plan, timeout=5.0) for plan in workers]  # nothing ends at once
    played = play(Scenario(tuple(workers), fanout=fanout, seed=seed))
    at_once = sum(min(plan.fanout or math.inf, len(plan.scripts)) for plan in workers)
    assert played.transport.statistics().peak == min(fanout, at_once)
    check_fanout(played)


@holds_of(scenarios(eventful=False))
def test_nobody_idles_while_work_waits(scenario: Scenario) -> None:
    """Before each pickup all places that bind that node have been taken, at every instant."""
    played = play(scenario)
    spans = {
        node: (number, at, at + expect(script, played.plans[number], scenario).ends)
        for number, _, node, script in played.runs()
        for at in [played.records()[node].opened_at]
    }
    instants = sorted({time for _, start, end in spans.values() for time in (start, end)})
    for number, start, _ in spans.values():
        own = played.plans[number].fanout
        for instant in instants:
            if instant >= start:
                break
            busy = [n for n, begin, end in spans.values() if begin <= instant < end]
            assert len(busy) >= scenario.fanout or (own and busy.count(number) >= own)


@holds_of(
    st.tuples(
        st.lists(st.integers(1, 40), min_size=1, max_size=40),
        st.integers(1, 8),
        st.integers(0, 1 << 16),
    )
)
def test_one_worker_starts_as_a_queue_with_so_many_counters(
    drawn: tuple[list[int], int, int],
) -> None:
    lasts, fanout, seed = drawn
    plan = WorkerPlan(tuple(Script(count / 8) for count in lasts))
    played = play(Scenario((plan,), fanout=fanout, seed=seed))
    free = [0.0] * fanout
    for record, count in zip(played.transport.records(), lasts, strict=True):
        assert record.opened_at == free[0]
        heapq.heapreplace(free, free[0] + count / 8)
    assert played.over_at == max(free)


@holds_of(
    st.tuples(
        st.lists(st.integers(4, 40), min_size=1, max_size=30),
        st.dictionaries(ticks(1, 60), st.integers(1, 8), min_size=1, max_size=4),
        st.integers(1, 8),
    )
)
def test_a_change_of_the_fanout_holds_from_its_instant(
    drawn: tuple[list[int], dict[float, int], int],
) -> None:
    lasts, drawn_changes, fanout = drawn
    # Off the grid of everything else, so that no pickup comes at the same instant.
    changes = sorted((at + 1 / 16, to) for at, to in drawn_changes.items())
    plan = WorkerPlan(tuple(Script(count / 8) for count in lasts))
    actions = tuple((at, ("fanout", to)) for at, to in changes)
    records = play(Scenario((plan,), fanout=fanout, actions=actions)).transport.records()
    times, limits = [0.0, *(at for at, _ in changes)], [fanout, *(to for _, to in changes)]
    spans = [(record.opened_at, record.closed_at or 0.0) for record in records]
    instants = sorted({time for span in spans for time in span} | set(times))
    for instant in instants:
        limit = limits[bisect_right(times, instant) - 1]
        busy = sum(start <= instant < end for start, end in spans)
        assert busy >= min(limit, sum(end > instant for _, end in spans))
        if any(start == instant for start, _ in spans):
            assert busy <= limit


@holds_of(st.tuples(scenarios(eventful=False), ticks(0, 40), st.booleans()))
def test_after_an_abort_at_any_instant_nothing_goes_on(
    drawn: tuple[Scenario, float, bool],
) -> None:
    scenario, at, off_the_grid = drawn
    at += off_the_grid / 16
    played = play(replace(scenario, actions=((at, ("abort", 0)),)))
    check_all(played)
    for record in played.transport.records():
        assert record.opened_at <= at
        if record.closed_at is not None:
            assert record.closed_at <= at + scenario.grace
        if record.term_at == at:
            assert record.closed_at == record.ended_at
            if record.kill_at is not None:
                assert record.kill_at == at + scenario.grace
    for worker in played.workers:
        for result in worker.results().values():
            if isinstance(result.outcome, Aborted):
                assert played.records()[result.node].term_at == at


@holds_of(st.tuples(scenarios(eventful=False), ticks(0, 40), st.booleans()))
def test_cancelling_the_block_at_any_instant_ends_all_and_comes_out(
    drawn: tuple[Scenario, float, bool],
) -> None:
    scenario, at, off_the_grid = drawn
    at += off_the_grid / 16
    left_alone = play(scenario).over_at
    played = play(replace(scenario, cancel=at))
    check_all(played)
    assert played.raised is None
    assert played.over_at <= max(at, min(left_alone, at)) + scenario.grace
    if at < left_alone:
        assert played.cancelled
        assert played.over_at >= at
    elif at > left_alone:
        assert not played.cancelled


@holds_of(st.tuples(scenarios(eventful=False), st.integers(0, 40), st.booleans()))
def test_what_a_handler_raises_comes_out_when_all_is_closed(
    drawn: tuple[Scenario, int, bool],
) -> None:
    scenario, number, slow = drawn
    quiet = len(play(scenario).events)
    played = play(replace(scenario, raises=number, delay=0.125 if slow else 0.0))
    check_all(played)
    if number < quiet and not slow:
        assert isinstance(played.raised, BaseExceptionGroup)
        assert all(isinstance(error, Boom) for error in leaves(played.raised))
        at = played.events[number][0]
        assert played.over_at <= at + scenario.grace
    elif played.raised is not None:
        assert isinstance(leaves(played.raised)[0], Boom)
        assert len(played.events) > number


@st.composite
def chatty(draw: st.DrawFn) -> Scenario:
    """Nodes that write more than all buffers hold, to a handler that is slow."""
    counts = draw(st.lists(st.integers(1, 60), min_size=1, max_size=4))
    size = draw(st.integers(1, 7))
    nodes = []
    for count in counts:
        data = b"".join(b"%d\n" % line for line in range(count))
        nodes.append(Script(tuple(data[i : i + size] for i in range(0, len(data), size))))
    delay = draw(st.sampled_from([0.125, 0.5]))
    pipe = draw(st.integers(1, 16))
    return Scenario(
        (WorkerPlan(tuple(nodes)),), delay=delay, pipe_bytes=pipe, seed=draw(st.integers(0, 999))
    )


@holds_of(chatty())
def test_a_slow_handler_slows_the_nodes_and_loses_nothing(scenario: Scenario) -> None:
    backlog: list[int] = []

    def watch(playing: Play, nursery: trio.Nursery) -> None:
        async def look() -> None:
            (worker,) = playing.workers
            while not worker.closed:
                told = sum(len(e.msg) + 1 for _, e in playing.events if isinstance(e, Read))
                taken = sum(map(len, playing.transport.taken.values()))
                backlog.append(taken - told)
                await trio.sleep(1 / 16)

        nursery.start_soon(look)

    played = play(scenario, watch)
    check_all(played)
    for _, _, node, script in played.runs():
        result = played.workers[0].results()[node]
        assert result.stdout == b"".join(script.program)  # type: ignore[arg-type]  # all bytes
    # 32 reports may wait, and each node may have one in its hand and one more in the pipe.
    nodes = len(scenario.workers[0].scripts)
    assert max(backlog) <= (32 + 3 * nodes) * scenario.pipe_bytes + 16 * nodes


@holds_of(st.tuples(chatty(), ticks(0, 24), st.sampled_from(["abort", "cancel", "timeout"])))
def test_an_end_in_the_midst_of_a_flood_loses_nothing_that_was_taken(
    drawn: tuple[Scenario, float, str],
) -> None:
    scenario, at, how = drawn
    if how == "timeout":
        workers = tuple(replace(plan, timeout=at) for plan in scenario.workers)
        scenario = replace(scenario, workers=workers)
    elif how == "abort":
        scenario = replace(scenario, actions=((at, ("abort", 0)),))
    else:
        scenario = replace(scenario, cancel=at)
    check_all(play(scenario))


@holds_of(
    st.tuples(
        scenarios(eventful=False),
        st.lists(st.tuples(ticks(0, 20), st.integers(0, 20)), min_size=1, max_size=4),
    )
)
def test_consumers_that_come_late_or_stop_early_cost_nothing(
    drawn: tuple[Scenario, list[tuple[float, int]]],
) -> None:
    scenario, visits = drawn
    heard: list[tuple[int, list[Event]]] = []

    async def visit(worker: Worker, at: float, most: int) -> None:
        await trio.sleep_until(at)
        events: list[Event] = []
        heard.append((most, events))
        async for event in worker.events():
            events.append(event)
            if len(events) == most:
                break

    def watch(playing: Play, nursery: trio.Nursery) -> None:
        for number, (at, most) in enumerate(visits):
            worker = playing.workers[number % len(playing.workers)]
            nursery.start_soon(visit, worker, at, most)

    played = play(scenario, watch)
    check_all(played)
    for most, events in heard:
        complete = len(events) != most
        check_grammar(events, complete=complete)
        if complete:
            worker = events[0].worker
            told = [event for _, event in played.events if event.worker is worker]
            for node in [None, *worker.results()]:
                assert _part(events, node) == _part(told, node)


def _part(events: list[Event], node: object) -> list[Event]:
    """What is told of one node, stream by stream (a late comer is told one after the other)."""
    mine = [event for event in events if getattr(event, "node", None) == node]
    return sorted(mine, key=lambda event: getattr(event, "sname", ""))


@st.composite
def inputs(draw: st.DrawFn) -> Scenario:
    """Nodes that echo what is written to them, each at its own pace."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
    size = st.integers(1, 16)
    nodes = draw(st.lists(st.tuples(size, ticks(0, 3)), min_size=1, max_size=5))
    plan = WorkerPlan(
        tuple(echo(size=least, pause=pause) for least, pause in nodes),
        input=tuple(pieces),
        early=draw(st.booleans()),
    )
    return Scenario(
        (plan,),
        fanout=draw(st.integers(1, 5)),
        pipe_bytes=draw(st.sampled_from([1, 8, 65536])),
        delay=draw(st.sampled_from([0.0, 0.125])),
        seed=draw(st.integers(0, 999)),
    )


@holds_of(inputs())
def test_every_node_has_all_of_the_input_in_order(scenario: Scenario) -> None:
    played = play(scenario)
    check_all(played)
    pieces = scenario.workers[0].input or ()
    for node, result in played.workers[0].results().items():
        assert result.ok
        assert result.stdout == b"".join(pieces)
        record = played.records()[node]
        assert (record.stdin, record.eof) == (b"".join(pieces), True)
        written = [e for _, e in played.events if isinstance(e, Written) and e.node == node]
        assert [event.size for event in written] == [len(piece) for piece in pieces]


@holds_of(
    st.tuples(
        st.lists(st.tuples(ticks(0, 40), st.one_of(st.none(), ticks(1, 8))), max_size=5),
        ticks(1, 60),
    )
)
def test_timers_fire_at_their_instants_and_keep_the_task(
    drawn: tuple[list[tuple[float, float | None]], float],
) -> None:
    timers, until = drawn
    until += 1 / 16
    lasts = Script(until)

    def watch(playing: Play, nursery: trio.Nursery) -> None:
        for fire, interval in timers:
            # One that goes on for ever must not keep the Task open.
            playing.task.timer(fire, Keeper(playing), interval, autoclose=interval is not None)

    played = play(Scenario((WorkerPlan((lasts,)),)), watch)
    check_nothing_left(played)
    once = [fire for fire, interval in timers if interval is None]
    over_at = max([until, *once])
    expected = list(once)
    for fire, interval in timers:
        if interval is not None:
            expected += [fire + n * interval for n in range(600) if fire + n * interval <= over_at]
    assert played.over_at == over_at
    # A repeating one that is due at the very end may be told still, or not any more.
    assert [t for t in sorted(played.fired) if t < over_at] == [
        t for t in sorted(expected) if t < over_at
    ]
    assert not any(t > over_at for t in played.fired)


@QUICK
@given(mixed.mixtures())
def test_whatever_is_mixed_every_promise_is_kept(drawn: mixed.Mixed) -> None:
    """Faults of the transport, handlers of every kind that do anything, consumers, timers, ends."""
    check(stage.play(drawn))


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_mixed_for_long(part: int) -> None:
    """5 000 examples, in parts so that none takes longer than a hanging test may."""
    LONGEST(given(mixed.mixtures())(lambda drawn: check(stage.play(drawn))))()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("strategy", "holds"), PROPERTIES, ids=[check.__name__ for _, check in PROPERTIES]
)
def test_for_long(strategy: st.SearchStrategy[Any], holds: Property) -> None:
    LONG(given(strategy)(holds))()
