"""Handlers may do anything from inside any method, be slow, and raise: the Task stays whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from typing import Any

import pytest
import trio
import trio.lowlevel

import trioshell
from tests.real.probes import (
    AT_ONCE_SECONDS,
    Event,
    Mark,
    Recorder,
    check_order,
    only,
    wait_line,
    wait_until,
)
from trioshell import (
    Aborted,
    Close,
    EventHandler,
    Exited,
    Hup,
    NotStarted,
    Pickup,
    Read,
    Start,
    Task,
    TaskError,
    Worker,
    Written,
)

METHODS = {
    "ev_start": Start,
    "ev_pickup": Pickup,
    "ev_read": Read,
    "ev_written": Written,
    "ev_hup": Hup,
    "ev_close": Close,
}
EVERY_METHOD = pytest.mark.parametrize("method", METHODS)
SYNC_AND_ASYNC = pytest.mark.parametrize("asynchronous", [False, True])


class OddError(Exception):
    pass


class AsyncRecorder:
    """The same as a `Recorder`, each method async and not done at once."""

    def __init__(self, react: Callable[[Event], object] | None = None) -> None:
        self.recorder = Recorder(react)
        self.inside = 0

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(name)
        method = getattr(self.recorder, name)

        async def call(*args: object) -> None:
            assert self.inside == 0  # one at a time
            self.inside += 1
            try:
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
            finally:
                self.inside -= 1
            method(*args)

        return call


def reacting(asynchronous: bool, react: Callable[[Event], object]) -> tuple[Any, Recorder]:
    """A handler that calls `react` with each event, and who keeps its events."""
    if asynchronous:
        handler = AsyncRecorder(react)
        return handler, handler.recorder
    recorder = Recorder(react)
    return recorder, recorder


def once(method: str, react: Callable[[Event], object]) -> Callable[[Event], None]:
    """React at the first event of the method's kind, and then no more."""
    state = {"done": False}

    def react_once(event: Event) -> None:
        if isinstance(event, METHODS[method]) and not state["done"]:
            state["done"] = True
            react(event)

    return react_once


def fed(task: Task, handler: object, command: str = "cat; exit 3") -> Worker:
    """A worker that goes through every method, on two nodes."""
    worker = task.shell(command, nodes="n[1-2]", handler=handler, transport="exec")
    worker.write(b"line\n")
    worker.set_write_eof()
    return worker


@SYNC_AND_ASYNC
async def test_every_method_is_called_in_order(asynchronous: bool) -> None:
    handler, recorder = reacting(asynchronous, lambda event: None)
    async with Task() as task:
        worker = fed(task, handler)
    check_order(recorder)
    kinds = [type(event) for event in recorder.events]
    assert kinds.count(Start) == kinds.count(Close) == 1
    for kind in (Pickup, Read, Written, Hup):
        assert sorted(event.node for event in recorder.of(kind)) == ["n1", "n2"]
    assert {event.worker for event in recorder.events} == {worker}
    assert {event.rc for event in recorder.of(Hup)} == {3}
    assert recorder.of(Close)[0].timedout is False


@pytest.mark.parametrize("missing", METHODS)
async def test_a_handler_may_be_any_object_with_some_methods(missing: str) -> None:
    recorder = Recorder()
    names = [name for name in METHODS if name != missing]
    some = type("Some", (), {name: staticmethod(getattr(recorder, name)) for name in names})
    async with Task() as task:
        fed(task, some())
    assert {type(event) for event in recorder.events} == set(METHODS.values()) - {METHODS[missing]}


async def test_the_base_class_does_nothing() -> None:
    async with Task() as task:
        worker = fed(task, EventHandler())
    assert worker.closed


@EVERY_METHOD
@SYNC_AND_ASYNC
async def test_what_is_told_is_already_readable(method: str, asynchronous: bool) -> None:
    seen = []

    def look(event: Event) -> None:
        worker = event.worker
        seen.append(type(event))
        assert worker.started
        assert not worker.closed
        match event:
            case Pickup(node=node):
                assert worker.current_node == node
            case Read(node=node, sname=sname, msg=msg):
                assert (worker.current_node, worker.current_sname) == (node, sname)
                assert worker.current_msg == msg
                assert worker.read(node) == b"line"
            case Written(node=node, sname=sname):
                assert (worker.current_node, worker.current_sname) == (node, sname)
            case Hup(node=node, rc=rc):
                assert (worker.current_node, worker.current_rc) == (node, rc)
                assert worker.results()[node].outcome == Exited(3)
                assert worker.results()[node].stdout == b"line\n"
            case Close():
                assert set(worker.results()) == {"n1", "n2"}

    handler, _ = reacting(asynchronous, look)
    async with Task() as task:
        fed(task, handler)
    assert METHODS[method] in seen


@EVERY_METHOD
@SYNC_AND_ASYNC
async def test_new_work_from_inside(method: str, asynchronous: bool) -> None:
    added: list[Worker] = []

    def schedule(event: Event) -> None:
        task = event.worker.task
        assert task is not None
        added.append(task.shell("echo added; exit 5", handler=handler, stdin=False))
        added.append(task.shell("echo %h; exit 6", nodes="m[1-2]", transport="exec", stdin=False))

    handler, recorder = reacting(asynchronous, once(method, schedule))
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(fanout=2) as task:
            fed(task, handler)
    local, many = added
    assert only(local).outcome == Exited(5)
    assert [result.outcome for result in many.results().values()] == [Exited(6)] * 2
    check_order(recorder)


@EVERY_METHOD
@SYNC_AND_ASYNC
@pytest.mark.parametrize("whom", ["worker", "task", "other"])
async def test_abort_from_inside(method: str, asynchronous: bool, whom: str, mark: Mark) -> None:
    def abort(event: Event) -> None:
        whoms: dict[str, Worker | Task] = {"worker": event.worker, "task": task, "other": other}
        whoms[whom].abort()

    handler, recorder = reacting(asynchronous, once(method, abort))
    # One that is being started at the moment of the abort could end by itself before we end it.
    early = method in ("ev_start", "ev_pickup") and whom != "other"
    command = "sleep 61; exit 3" if early else "cat; exit 3"
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(kill_grace=0.1, transport="exec") as task:
            other = task.shell("echo ready; sleep 61", nodes="m1", stdin=False)
            await wait_line(other)
            worker = fed(task, handler, command)
            await worker.wait()
            other.abort()
    assert mark.living() == []
    assert only(other).outcome == Aborted()
    assert len(worker.results()) == 2
    for result in worker.results().values():
        assert isinstance(result.outcome, Exited | Aborted | NotStarted)
        if whom == "other":
            assert result.outcome == Exited(3)
        elif method in ("ev_start", "ev_pickup"):
            assert not isinstance(result.outcome, Exited)
    check_order(recorder)


@EVERY_METHOD
@SYNC_AND_ASYNC
async def test_writing_from_inside(method: str, asynchronous: bool) -> None:
    def write(event: Event) -> None:
        target.write(b"from inside\n")
        target.set_write_eof()
        if not isinstance(event, Close):
            event.worker.write(b"itself\n")
            event.worker.set_write_eof()

    handler, recorder = reacting(asynchronous, once(method, write))
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(transport="exec") as task:
            target = task.shell("cat", nodes="t[1-2]")
            worker = task.shell("echo out; head -n 1", nodes="n1", handler=handler)
            if method in ("ev_written", "ev_hup", "ev_close"):
                worker.write(b"first\n")
    assert {result.stdout for result in target.results().values()} == {b"from inside\n"}
    if method in ("ev_start", "ev_pickup", "ev_read"):
        assert only(worker).stdout == b"out\nitself\n"
    check_order(recorder)


@EVERY_METHOD
@SYNC_AND_ASYNC
async def test_timers_and_fanout_from_inside(method: str, asynchronous: bool) -> None:
    fired = []

    class Tick:
        def ev_timer(self, timer: Any) -> None:
            fired.append(timer)

    def retime(event: Event) -> None:
        task = event.worker.task
        assert task is not None
        task.fanout = 1
        far.set_nextfire(0)
        never.invalidate()
        fired_later.append(task.timer(0.001, Tick()))

    fired_later: list[Any] = []
    handler, _ = reacting(asynchronous, once(method, retime))
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            far = task.timer(600, Tick())
            never = task.timer(600, Tick())
            fed(task, handler)
    assert task.fanout == 1
    assert sorted(map(id, fired)) == sorted(map(id, [far, *fired_later]))


@EVERY_METHOD
async def test_waiting_from_inside_is_an_error_and_no_deadlock(method: str) -> None:
    errors = []

    class Wait:
        def __getattr__(self, name: str) -> Any:
            if name != method:
                raise AttributeError(name)

            async def call(worker: Worker, *args: object) -> None:
                assert worker.task is not None
                for wait in (worker.wait, lambda: worker.task.run("true")):
                    with pytest.raises(TaskError, match="handler"):
                        await wait()
                    errors.append(method)
                inner = await trioshell.run("echo inner")  # a Task of its own
                assert inner.read() == b"inner"

            return call

    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            fed(task, Wait())
    assert errors


@EVERY_METHOD
@SYNC_AND_ASYNC
async def test_a_method_that_raises(method: str, asynchronous: bool, mark: Mark) -> None:
    def fail(event: Event) -> None:
        raise OddError(method)

    handler, recorder = reacting(asynchronous, once(method, fail))
    others = Recorder()
    with trio.fail_after(AT_ONCE_SECONDS), pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # a whole Task is what raises
        async with Task(kill_grace=0.1, transport="exec") as task:
            other = task.shell("echo ready; sleep 61", nodes="m[1-3]", handler=others)
            await wait_line(other, times=3)
            worker = fed(task, handler)
    assert [(type(exc), str(exc)) for exc in caught.value.exceptions] == [(OddError, method)]
    assert mark.living() == []
    assert {result.outcome for result in other.results().values()} == {Aborted()}
    assert set(worker.results()) == {"n1", "n2"}
    assert worker.closed
    assert other.closed
    check_order(others)
    if not asynchronous:  # else what comes later is cancelled
        check_order(recorder)


@EVERY_METHOD
@SYNC_AND_ASYNC
async def test_run_lets_it_out_bare(method: str, asynchronous: bool, mark: Mark) -> None:
    def fail(event: Event) -> None:
        if isinstance(event, Start):
            event.worker.write(b"line\n")
            event.worker.set_write_eof()
        if isinstance(event, METHODS[method]):
            raise OddError(method)

    handler, _ = reacting(asynchronous, fail)
    with trio.fail_after(AT_ONCE_SECONDS), pytest.raises(OddError, match=method):
        await trioshell.run("cat", "n[1-3]", transport="exec", handler=handler, kill_grace=0.1)
    assert mark.living() == []


async def test_all_that_several_handlers_raise_comes_out() -> None:
    class Fail:
        def ev_close(self, worker: Worker, timedout: bool) -> None:
            raise OddError(worker.command)

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # a whole Task is what raises
        async with Task(kill_grace=0.1) as task:
            first = task.shell("echo ready; sleep 61", handler=Fail())
            await wait_line(first)
            task.shell("true", handler=Fail())
    assert [type(exc) for exc in caught.value.exceptions] == [OddError, OddError]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_what_is_no_exception_comes_out_too(error: type[BaseException], mark: Mark) -> None:
    class Leave:
        def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
            raise error

    with pytest.raises(BaseExceptionGroup) as caught:
        async with Task(kill_grace=0.1) as task:
            task.shell("echo x; sleep 61", handler=Leave())
    assert [type(exc) for exc in caught.value.exceptions] == [error]
    assert mark.living() == []


async def test_a_raising_handler_and_a_raising_body_both_come_out() -> None:
    class Fail:
        def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
            told.set()
            raise OddError("handler")

    told = trio.Event()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # a whole Task is what raises
        async with Task(kill_grace=0.1) as task:
            task.shell("echo x; sleep 61", handler=Fail())
            try:
                await trio.sleep_forever()
            finally:
                raise OddError("body")
    assert {str(exc) for exc in caught.value.exceptions} == {"handler", "body"}


async def test_handlers_are_called_one_at_a_time_over_the_whole_task() -> None:
    handler = AsyncRecorder()
    async with Task(transport="exec") as task:
        for _ in range(5):
            worker = task.shell(
                "cat; echo b; echo c >&2", nodes="n[1-3]", handler=handler, stderr=True
            )
            worker.write(b"a\n")
            worker.set_write_eof()
    assert len(handler.recorder.of(Read)) == 5 * 3 * 3
    check_order(handler.recorder)


async def test_a_handler_can_be_replaced_while_the_worker_runs() -> None:
    first, second = Recorder(), Recorder()
    async with Task() as task:
        worker = task.shell("echo ready; read -r x; echo after", handler=first)
        await wait_line(worker)
        await wait_until(lambda: first.lines() == [b"ready"])
        worker.eh = second
        worker.write(b"go\n")
    assert worker.eh is second
    assert first.lines() == [b"ready"]
    assert second.lines() == [b"after"]
    assert len(second.of(Close)) == 1


async def test_a_slow_handler_loses_and_reorders_nothing() -> None:
    count = 20_000
    got: dict[str, list[int]] = {"n1": [], "n2": []}

    class Slow:
        async def ev_read(self, worker: Worker, node: str, sname: str, msg: bytes) -> None:
            got[node].append(int(msg))
            if len(got[node]) % 500 == 0:
                await trio.sleep(0.002)

    worker = await trioshell.run(
        f"seq {count}", "n[1-2]", transport="exec", handler=Slow(), gather=False, stdin=False
    )
    assert got == {"n1": list(range(1, count + 1)), "n2": list(range(1, count + 1))}
    assert {result.outcome for result in worker.results().values()} == {Exited(0)}


async def test_a_chain_of_workers_each_started_by_the_close_of_the_one_before() -> None:
    class Chain:
        count = 0

        def ev_close(self, worker: Worker, timedout: bool) -> None:
            self.count += 1
            assert worker.task is not None
            if self.count < 100:
                worker.task.shell("true", handler=self, stdin=False)

    handler = Chain()
    async with Task() as task:
        task.shell("true", handler=handler, stdin=False)
    assert handler.count == 100


async def test_an_async_handler_that_is_inside_when_the_task_is_aborted_goes_on() -> None:
    # `abort` ends commands; only the end of the Task itself ends handlers.
    done = []

    class Handler:
        async def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
            assert worker.task is not None
            worker.task.abort()
            await trio.sleep(0.01)
            done.append(msg)

    async with Task(kill_grace=0.1) as task:
        worker = task.shell("echo x; sleep 61", handler=Handler())
    assert done == [b"x"]
    assert only(worker).outcome == Aborted()


def test_the_documented_methods_are_the_ones_tested() -> None:
    documented = {
        name for name, _ in inspect.getmembers(EventHandler, inspect.isfunction) if "ev_" in name
    }
    assert documented == {*METHODS, "ev_timer"}
