"""`events()`: any number of consumers, late ones, slow ones, and ones that stop."""

from __future__ import annotations

import weakref

import pytest
import trio
import trio.lowlevel

import trioshell
from tests.real.probes import AT_ONCE_SECONDS, Event, Recorder, check_order, only, wait_line
from trioshell import Close, Exited, Hup, Pickup, Read, Start, Task, Worker, Written

SCRIPT = "echo one; cat; echo two >&2; exit 4"


async def consume(worker: Worker, into: list[Event]) -> None:
    async for event in worker.events():
        into.append(event)  # noqa: PERF401  # what has come must be there when it is cancelled


def fed(task: Task, handler: object = None) -> Worker:
    worker = task.shell(SCRIPT, nodes="n[1-2]", transport="exec", stderr=True, handler=handler)
    worker.write(b"line\n")
    worker.set_write_eof()
    return worker


async def test_consumers_are_told_the_same_as_the_handler() -> None:
    recorder = Recorder()
    first: list[Event] = []
    second: list[Event] = []
    async with Task() as task, trio.open_nursery() as nursery:
        worker = fed(task, recorder)
        nursery.start_soon(consume, worker, first)
        nursery.start_soon(consume, worker, second)
    assert first == second == recorder.events
    check_order(recorder)
    assert {type(event) for event in first} == {Start, Pickup, Read, Written, Hup, Close}


async def test_records_can_be_matched() -> None:
    lines = {}
    ends = {}
    async with Task(transport="exec") as task:
        worker = task.shell("echo %n; exit %n", nodes="n[1-3]", stdin=False)
        async for event in worker.events():
            match event:
                case Read(node=node, sname="stdout", msg=msg):
                    lines[node] = msg
                case Hup(node=node, rc=rc):
                    ends[node] = rc
    assert lines == {"n1": b"0", "n2": b"1", "n3": b"2"}
    assert ends == {"n1": 0, "n2": 1, "n3": 2}


async def test_a_consumer_in_the_body_needs_no_other_task() -> None:
    count = 0
    with trio.fail_after(30):
        async with Task() as task:
            async for event in task.shell("seq 50000", stdin=False).events():
                count += isinstance(event, Read)
    assert count == 50000


async def test_one_that_comes_late_misses_nothing_that_is_kept() -> None:
    late: list[Event] = []
    async with Task(transport="exec") as task, trio.open_nursery() as nursery:
        worker = task.shell("echo ready; printf half; read -r x; echo end", nodes="n[1-2]")
        await wait_line(worker, times=2)
        nursery.start_soon(consume, worker, late)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert [event.msg for event in late if isinstance(event, Read)] == [b"ready", b"ready"]
        worker.write(b"go\n")
        worker.set_write_eof()
    recorder = Recorder()
    recorder.events = late
    check_order(recorder)
    for node in ("n1", "n2"):
        assert recorder.lines(node=node) == [b"ready", b"halfend"]


async def test_one_that_comes_after_the_end_is_told_what_is_kept() -> None:
    async with Task() as task:
        worker = fed(task)
    late: list[Event] = []
    with trio.fail_after(AT_ONCE_SECONDS):
        await consume(worker, late)
    recorder = Recorder()
    recorder.events = late
    check_order(recorder)
    for node in ("n1", "n2"):
        assert recorder.lines(node=node) == [b"one", b"line"]
        assert recorder.lines("stderr", node) == [b"two"]
    assert [event.rc for event in recorder.of(Hup)] == [4, 4]


async def test_one_that_comes_before_the_task_is_entered() -> None:
    task = Task()
    worker = task.shell("echo x", stdin=False)
    events = worker.events()
    async with task:
        pass
    kinds = [type(event) async for event in events]
    assert kinds == [Start, Pickup, Read, Hup, Close]


class OddError(Exception):
    pass


async def stop_by_break(worker: Worker) -> None:
    async for event in worker.events():
        if isinstance(event, Read):
            break
    await trio.sleep_forever()


async def stop_by_return(worker: Worker) -> None:
    async for event in worker.events():
        if isinstance(event, Read):
            return


async def stop_by_exception(worker: Worker) -> None:
    try:
        async for event in worker.events():
            if isinstance(event, Read):
                raise OddError
    except OddError:
        await trio.sleep_forever()


async def stop_by_cancellation(worker: Worker) -> None:
    with trio.CancelScope() as scope:
        async for event in worker.events():
            if isinstance(event, Read):
                scope.cancel()
                await trio.lowlevel.checkpoint()
    await trio.sleep_forever()


async def stop_by_close(worker: Worker) -> None:
    events = worker.events()
    async for event in events:
        if isinstance(event, Read):
            events.close()
    await trio.sleep_forever()


async def stop_by_context(worker: Worker) -> None:
    async with worker.events() as events:
        async for event in events:
            if isinstance(event, Read):
                break
    assert events is not None
    await trio.sleep_forever()


async def stop_and_keep_the_iterator_after_the_task(worker: Worker) -> None:
    kept.append(worker.events())
    async for event in kept[-1]:  # type: ignore[attr-defined]
        if isinstance(event, Read):
            return


kept: list[object] = []


@pytest.mark.parametrize(
    "stop",
    [
        stop_by_break,
        stop_by_return,
        stop_by_exception,
        stop_by_cancellation,
        stop_by_close,
        stop_by_context,
        stop_and_keep_the_iterator_after_the_task,
    ],
)
async def test_one_that_stops_early_holds_nobody_up(stop: object) -> None:
    # 100 000 lines are far more than may wait for a consumer.
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            async with Task() as task:
                worker = task.shell("seq 100000", stdin=False)
                nursery.start_soon(stop, worker)  # type: ignore[arg-type]
            nursery.cancel_scope.cancel()
    kept.clear()
    assert only(worker).outcome == Exited(0)
    assert only(worker).stdout.endswith(b"\n100000\n")


async def test_one_that_the_body_leaves_before_it_waits_holds_nobody_up() -> None:
    with trio.fail_after(20):
        async with Task() as task:
            worker = task.shell("seq 100000", stdin=False)
            events = worker.events()
            async for event in events:
                if isinstance(event, Read):
                    break
            await worker.wait()
    numbers = [int(event.msg) async for event in events if isinstance(event, Read)]
    assert numbers == list(range(2, 100001))  # and it can still go on


async def test_a_slow_consumer_holds_the_command_back_and_loses_nothing() -> None:
    told = taken = behind = 0

    class Count:
        def ev_read(self, worker: Worker, node: object, sname: str, msg: bytes) -> None:
            nonlocal told
            told += 1

    async def slow(worker: Worker) -> None:
        nonlocal taken, behind
        async for event in worker.events():
            if isinstance(event, Read):
                taken += 1
                assert int(event.msg) == taken
                if taken % 10000 == 0:
                    await trio.testing.wait_all_tasks_blocked(0.005)
                    behind = max(behind, told - taken)

    async with Task() as task, trio.open_nursery() as nursery:
        # 40 MB, in lines of 200 bytes.
        worker = task.shell("seq -f %0199.f 200000", stdin=False, handler=Count(), gather=False)
        nursery.start_soon(slow, worker)
    assert taken == told == 200000
    # The events that may wait, and the batches of 64 KiB that were on their way by then.
    assert behind < 20000


async def test_a_consumer_may_run_more_commands_of_the_same_task() -> None:
    said = []
    async with Task(transport="exec") as task:
        worker = task.shell("echo %h", nodes="n[1-3]", stdin=False)
        async for event in worker.events():
            if isinstance(event, Read):
                inner = await task.run(["echo", "of", event.msg.decode()], stdin=False)
                said.append(bytes(inner.read()))
    assert sorted(said) == [b"of n1", b"of n2", b"of n3"]


async def test_a_consumer_may_abort_its_worker_and_sees_the_end() -> None:
    events: list[Event] = []
    async with Task(kill_grace=0.1) as task:
        worker = task.shell("echo ready; sleep 61")
        async for event in worker.events():
            events.append(event)
            if isinstance(event, Read):
                worker.abort()
    assert [type(event) for event in events] == [Start, Pickup, Read, Hup, Close]


async def test_dropped_consumers_leave_no_trace() -> None:
    async with Task() as task:
        worker = task.shell("echo ready; cat")
        await wait_line(worker)
        dropped = [weakref.ref(worker.events()) for _ in range(50)]
        assert [ref for ref in dropped if ref() is not None] == []
        worker.set_write_eof()


async def test_iterating_on_after_the_end_ends_again() -> None:
    worker = await trioshell.run("true")
    events = worker.events()
    assert [type(event) async for event in events] == [Start, Pickup, Hup, Close]
    assert [event async for event in events] == []
