"""Races and corners that a reader of the engine found, each once as it went wrong."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING

import pytest
import trio

import trioshell
from trioshell import (
    Exited,
    NotStarted,
    Read,
    StreamWorker,
    Task,
    TaskError,
    Unreachable,
    Worker,
)
from trioshell.testing import Recorder, Script, SimulatedTransport, check_grammar
from trioshell.transports import Job, Session, Transport

if TYPE_CHECKING:
    from tests.real.probes import Mark


async def leave(task: Task) -> None:
    async with task:
        pass


async def test_a_group_younger_than_the_last_look_is_ended_too(mark: Mark) -> None:
    # The first abort makes the engine look at all processes; what the second is about is born
    # after that.
    class Second:
        def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
            worker.abort()

    class First(Second):
        def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> None:
            task.shell("timeout 900 sh -c 'echo on; exec sleep 987'; true", handler=Second())

    for _ in range(5):
        async with Task(kill_grace=0.2) as task:
            task.shell("echo on; sleep 60", handler=First())
        assert mark.living() == []


async def test_a_lagging_consumer_does_not_hold_an_end_up() -> None:
    async with trio.open_nursery() as nursery:

        async def sleep_over_each() -> None:
            async for _ in worker.events():
                await trio.sleep(60)

        with trio.move_on_after(0.5):
            async with Task(kill_grace=0.2) as task:
                worker = task.shell("yes", gather=False)
                nursery.start_soon(sleep_over_each)
        with trio.fail_after(10):
            await worker.wait()
        nursery.cancel_scope.cancel()


async def test_nodes_that_wait_for_a_slow_handler_do_not_start_after_an_abort() -> None:
    class Slow:
        async def ev_pickup(self, worker: Worker, node: Hashable) -> None:
            if node == "n1":
                await trio.sleep(0.3)

    transport = SimulatedTransport(Script(60.0))
    async with Task(fanout=100, transport=transport, kill_grace=0) as task:
        worker = task.shell("x", nodes="n[1-100]", handler=Slow())
        await trio.sleep(0.1)
        opened = transport.statistics().opened
        worker.abort()
    assert transport.statistics().opened == opened < 100
    outcomes = [result.outcome for result in worker.results().values()]
    assert sum(isinstance(outcome, NotStarted) for outcome in outcomes) == 100 - opened


async def test_send_all_waits_for_the_only_node_to_open() -> None:
    transport = SimulatedTransport(Script(connect=0.2))
    async with Task(transport=transport) as task:
        worker = task.shell("cat", nodes="n1")
        with trio.move_on_after(0.1) as scope:
            await worker.send_all(b"x")
        assert scope.cancelled_caught
        worker.set_write_eof()


async def test_send_all_in_a_handler_is_refused() -> None:
    class Answers:
        async def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
            with pytest.raises(TaskError, match=r"send_all.* would wait for itself"):
                await worker.send_all(b"x")
            worker.set_write_eof()

    async with Task() as task:
        task.shell("echo go; cat", handler=Answers())


async def test_what_is_being_ended_cannot_renew_itself_for_ever() -> None:
    class Phoenix:
        fired = 0

        async def ev_timer(self, timer: object) -> None:
            self.fired += 1
            timer.set_nextfire(0.001)  # type: ignore[attr-defined]

        def ev_close(self, worker: Worker, timedout: bool) -> None:
            task.shell("sleep 60", handler=self)

    task = Task(kill_grace=0, keep_results=False)
    task.timer(0, Phoenix())
    task.shell("sleep 60", handler=Phoenix())
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(20), trio.move_on_after(0.2):
        await leave(task)
    assert caught.group_contains(TaskError, match="is being ended")


async def test_nothing_of_a_closed_worker_is_kept_not_even_of_the_first() -> None:
    async with Task(keep_results=False) as task:
        worker = task.shell("true", stdin=False)
        await worker.wait()
        first = weakref.ref(worker)
        del worker
        streams = StreamWorker()
        ours, theirs = trio.testing.memory_stream_pair()
        streams.set_reader("stdout", ours)
        await theirs.aclose()
        await task.schedule(streams).wait()
        second = weakref.ref(streams)
        del streams, ours
        await task.run("true")
        gc.collect()
        assert first() is None
        assert second() is None


async def test_a_consumer_that_comes_during_the_last_half_line_is_told_of_it() -> None:
    late: list[object] = []

    class Late:
        def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
            if msg == b"b":
                late.append(worker.events())

    worker = await trioshell.run("printf 'a\\nb'", key="k", handler=Late())
    (events,) = late
    assert [event.msg async for event in events if isinstance(event, Read)] == [b"a", b"b"]  # type: ignore[attr-defined]
    assert worker.closed


async def test_what_a_handler_raised_is_not_lost_over_a_cancellation() -> None:
    class Raises:
        def ev_start(self, worker: Worker) -> None:
            scope.cancel()
            raise LookupError("first")

        def ev_close(self, worker: Worker, timedout: bool) -> None:
            raise KeyError("second")

    with pytest.raises(LookupError, match="first"), trio.CancelScope() as scope:
        await trioshell.run("sleep 60", handler=Raises())


class Failing(Transport):
    """Breaks its promise: it raises what nobody can expect."""

    def check(self, job: Job) -> None:
        pass

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        raise ZeroDivisionError("a defect")


async def test_a_transport_with_a_defect_comes_out_and_all_is_told_to_the_end() -> None:
    recorder = Recorder()
    task = Task(transport=Failing())
    worker = task.shell("x", nodes="n[1-3]", handler=recorder)
    beside = task.shell("sleep 60", key="k")
    with pytest.raises(ExceptionGroup) as caught:
        await leave(task)
    assert caught.group_contains(ZeroDivisionError, depth=1)
    assert worker.closed
    assert beside.closed
    check_grammar(recorder.events)
    outcomes = {type(result.outcome) for result in worker.results().values()}
    assert len(worker.results()) == 3
    assert outcomes <= {Unreachable, NotStarted}


class Stopping(SimulatedTransport):
    """Keeps account of its being left, and may break its promise while it is."""

    def __init__(self, left: list[str], name: str, error: BaseException | None = None) -> None:
        super().__init__()
        self.left, self.name, self.error = left, name, error

    async def stop(self) -> None:
        self.left.append(self.name)
        if self.error is not None:
            raise self.error


async def test_a_transport_that_cannot_be_left_does_not_keep_the_others_from_being_left() -> None:
    left: list[str] = []
    odd = KeyboardInterrupt()
    ways = [Stopping(left, "a"), Stopping(left, "b", odd), Stopping(left, "c", ZeroDivisionError())]
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012  # a whole Task is what raises
        async with Task() as task:
            for way in ways:
                await task.run("x", nodes="n1", transport=way)
    assert left == ["c", "b", "a"]
    assert sorted(map(type, caught.value.exceptions), key=str) == [
        KeyboardInterrupt,
        ZeroDivisionError,
    ]


async def test_one_descriptor_for_both_directions() -> None:
    ours, theirs = trio.socket.socketpair()
    fd = ours.detach()
    worker = StreamWorker(key="k")
    worker.set_reader("stdout", fd)
    worker.set_writer("stdin", fd)
    async with Task() as task:
        task.schedule(worker)
        worker.write(b"question")
        worker.set_write_eof()
        assert await theirs.recv(100) == b"question"
        await theirs.send(b"answer")
        theirs.close()
    assert worker.results()["k"].outcome == Exited(0)
    assert worker.results()["k"].stdout == b"answer"


async def test_work_from_another_thread_is_refused_before_anything_has_changed() -> None:
    with trio.fail_after(10):
        async with Task() as task:
            with pytest.raises(TaskError, match=r"outside of its trio\.run"):
                await trio.to_thread.run_sync(task.shell, "true")
            worker = await trio.to_thread.run_sync(
                lambda: trio.from_thread.run_sync(lambda: task.shell("true", key="k"))
            )
    assert worker.results()["k"].ok


def test_a_lone_surrogate_is_refused_and_an_escaped_byte_is_not() -> None:
    task = Task()
    with pytest.raises(ValueError, match="command must not contain lone surrogates"):
        task.shell(["echo", "\ud800"])
    task.shell(["echo", "\udcff"])


def test_keys_and_handlers_that_can_be_none() -> None:
    task = Task()
    with pytest.raises(TypeError, match="key must be hashable"):
        task.shell("true", key=[])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="handler must have a method"):
        task.shell("true", handler=3)
