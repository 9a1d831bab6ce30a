"""A Task's life: entered once, given work at any time, nested, shared, and its fanout."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import pytest
import trio

import trioshell
from tests.real.probes import AT_ONCE_SECONDS, Mark, Recorder, only, wait_line, wait_until
from trioshell import (
    DistantWorker,
    ExecWorker,
    Exited,
    Hup,
    NotStarted,
    Pickup,
    Read,
    Task,
    TaskError,
    Worker,
    WorkerError,
)
from trioshell.transports import ExecTransport


async def test_leaving_waits_for_every_worker() -> None:
    async with Task() as task:
        workers = [task.shell("sleep 0.1; echo x", stdin=False) for _ in range(3)]
        assert not any(worker.closed for worker in workers)
    assert all(worker.closed for worker in workers)


async def test_an_empty_task() -> None:
    async with Task():
        pass


async def test_a_task_is_entered_once() -> None:
    task = Task()
    async with task:
        with pytest.raises(TaskError, match="once"):
            await task.__aenter__()
    with pytest.raises(TaskError, match="once"):
        await task.__aenter__()


async def test_no_work_for_a_task_that_is_over() -> None:
    async with Task() as task:
        pass
    worker = ExecWorker("n1", command="echo x")
    with pytest.raises(TaskError, match="over"):
        task.shell("echo x")
    with pytest.raises(TaskError, match="over"):
        task.schedule(worker)
    with pytest.raises(TaskError, match="over"):
        await task.run("echo x")
    with pytest.raises(TaskError, match="over"):
        task.timer(1, object())
    async with Task() as another:
        another.schedule(worker)  # it has not been spent
    assert worker.closed


async def test_a_worker_is_scheduled_once() -> None:
    async with Task() as task:
        worker = ExecWorker("n1", command="echo x", stdin=False)
        assert task.schedule(worker) is worker
        with pytest.raises(WorkerError, match="already"):
            task.schedule(worker)
        async with Task() as another:
            with pytest.raises(WorkerError, match="already"):
                another.schedule(worker)
        with pytest.raises(WorkerError, match="already"):
            task.schedule(task.shell("echo y"))
        task.abort()


async def test_waiting_in_a_task_that_is_not_entered_is_an_error() -> None:
    task = Task()
    with pytest.raises(TaskError, match="entered"):
        await task.run("echo x")
    assert task.statistics().open_workers == 0


def test_a_task_can_be_made_and_given_work_outside_of_trio() -> None:
    task = Task(transport="exec")
    worker = task.shell("echo %h", nodes="n[1-2]", stdin=False)

    async def main() -> None:
        async with task:
            pass

    trio.run(main)
    assert [result.stdout for result in worker.results().values()] == [b"n1\n", b"n2\n"]


async def test_shell_never_blocks_and_may_be_called_from_any_child_task() -> None:
    async with Task() as task, trio.open_nursery() as nursery:

        async def child(number: int) -> None:
            worker = await task.run(f"echo {number}", stdin=False)
            said.add(bytes(worker.read()))

        said: set[bytes] = set()
        for number in range(10):
            nursery.start_soon(child, number)
    assert said == {b"%d" % number for number in range(10)}


async def test_from_another_task_while_the_block_is_being_left() -> None:
    late: list[Worker] = []

    async def later(worker: Worker) -> None:
        await worker.wait()
        late.append(task.shell("echo late; exit 3", stdin=False))

    async with trio.open_nursery() as nursery, Task() as task:
        keeper = task.shell("cat")
        first = task.shell("echo first", stdin=False)
        nursery.start_soon(later, first)

        async def release() -> None:
            await wait_until(lambda: bool(late) and late[0].closed)
            keeper.set_write_eof()

        nursery.start_soon(release)
    assert only(late[0]).outcome == Exited(3)


async def test_from_a_thread_by_way_of_trio() -> None:
    async with Task() as task:

        def in_thread() -> bytes:
            worker = trio.from_thread.run(task.run, "echo from a thread")
            return bytes(worker.read())

        with trio.fail_after(AT_ONCE_SECONDS):
            task.fanout = 3
            # stdin is open, and nobody needs it
            assert await trio.to_thread.run_sync(in_thread) == b"from a thread"


async def test_nested_tasks_and_several_at_once() -> None:
    async with Task() as outer:
        first = outer.shell("echo ready; cat")
        async with Task(transport="exec") as inner:
            second = inner.shell("echo %h", nodes="n[1-3]", stdin=False)
        assert second.closed
        assert not first.closed

        async def other(number: int) -> None:
            async with Task(transport="exec", fanout=2) as task:
                worker = task.shell("echo %h", nodes=f"n[1-{number}]", stdin=False)
            assert len(worker.results()) == number

        async with trio.open_nursery() as nursery:
            for number in range(1, 6):
                nursery.start_soon(other, number)
        first.set_write_eof()
    assert only(first).outcome == Exited(0)


async def test_one_task_s_abort_is_not_another_s() -> None:
    async with Task() as one, Task(kill_grace=0.1) as two:
        stays = one.shell("echo ready; cat")
        goes = two.shell("echo ready; sleep 61")
        await wait_line(stays)
        await wait_line(goes)
        two.abort()
        await goes.wait()
        assert not stays.closed
        stays.set_write_eof()
    assert only(stays).outcome == Exited(0)


async def test_a_transport_shared_by_two_tasks_and_entered_around_them() -> None:
    transport = ExecTransport()
    async with Task(transport=transport) as one, Task(transport=transport) as two:
        first = one.shell("echo %h", nodes="n[1-3]", stdin=False)
        second = two.shell("echo %h", nodes="n[1-3]", stdin=False)
    async with transport:
        for _ in range(3):
            async with Task(transport=transport) as task:
                third = task.shell("echo %h", nodes="n1", stdin=False)
        async with Task() as task:
            fourth = task.shell("echo %h", nodes="n1", transport=transport, stdin=False)
    assert len(first.results()) == len(second.results()) == 3
    assert only(third).stdout == only(fourth).stdout == b"n1\n"


async def test_a_built_worker() -> None:
    recorder = Recorder()
    worker = ExecWorker("n[1-2]", recorder, 30, command=["echo", "%h"], stderr=True)
    assert isinstance(worker, DistantWorker)
    assert worker.eh is recorder
    assert worker.timeout == 30
    async with Task(stderr=False) as task:
        task.schedule(worker)
        worker.set_write_eof()
    assert recorder.lines() == [b"n1", b"n2"] or recorder.lines() == [b"n2", b"n1"]


async def test_fanout_bounds_what_runs_at_once(tmp_path: object) -> None:
    # Each command counts how many of its kind are there, itself included.
    script = f"touch {tmp_path}/%h; ls {tmp_path} | wc -l; sleep 0.01; rm {tmp_path}/%h"
    recorder = Recorder()
    async with Task(transport="exec", fanout=3) as task:
        for name in "ab":
            task.shell(script, nodes=f"{name}[1-12]", handler=recorder, stdin=False)
        assert task.statistics().fanout == 3
    counts = [int(line) for line in recorder.lines()]
    assert len(counts) == 24
    assert max(counts) == 3  # reached, and not exceeded


async def test_a_worker_s_own_fanout_inside_the_task_s() -> None:
    recorder = Recorder()
    async with Task(transport="exec", fanout=4) as task:
        narrow = task.shell("echo ready; cat", nodes="a[1-5]", fanout=2, handler=recorder)
        wide = task.shell("echo ready; cat", nodes="b[1-5]", fanout=50, handler=recorder)
        await wait_line(narrow, times=2)
        await wait_line(wide, times=2)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert task.statistics().running == 4
        picked = [event.worker for event in recorder.of(Pickup)]
        assert (picked.count(narrow), picked.count(wide)) == (2, 2)
        narrow.set_write_eof()
        wide.set_write_eof()
    assert len(narrow.results()) == len(wide.results()) == 5


async def test_nodes_start_in_node_order() -> None:
    recorder = Recorder()
    async with Task(transport="exec", fanout=3) as task:
        worker = task.shell("true", nodes="n[1-30]", handler=recorder, stdin=False)
    assert [event.node for event in recorder.of(Pickup)] == [f"n{i}" for i in range(1, 31)]
    started = [result.started_at for result in worker.results().values()]
    assert None not in started


async def test_fanout_can_be_changed_while_it_runs() -> None:
    recorder = Recorder()
    async with Task(transport="exec", fanout=1) as task:
        worker = task.shell("echo ready; read -r x", nodes="n[1-8]", handler=recorder)
        await wait_line(worker, times=1)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert task.statistics().running == 1
        task.fanout = 5
        await wait_line(worker, times=5)
        assert task.fanout == 5
        assert task.statistics().running == 5
        task.fanout = 2
        assert task.statistics().running == 5  # those that run are left alone
        worker.write(b"go\n")
    assert len(recorder.of(Hup)) == 8


async def test_a_place_is_given_back_though_the_handler_is_busy(tmp_path: Path) -> None:
    # The next node starts when a session is closed, not when its handler has been told.
    class Busy:
        async def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> None:
            if node == "n1":
                await wait_until((tmp_path / "n2").exists)
                seen.append(node)

    seen: list[Hashable] = []
    async with Task(transport="exec", fanout=1) as task:
        task.shell(f"touch {tmp_path}/%h", nodes="n[1-2]", handler=Busy(), stdin=False)
    assert seen == ["n1"]


async def test_many_pending_nodes_cost_nothing_to_abort() -> None:
    recorder = Recorder()
    with trio.fail_after(20):
        async with Task(transport="exec", fanout=4, kill_grace=0.1) as task:
            worker = task.shell(
                "echo ready; sleep 61", nodes="n[1-20000]", stdin=False, handler=recorder
            )
            await wait_line(worker, times=4)
            worker.abort()
    assert len(worker.results()) == 20000
    assert len(recorder.of(Pickup)) == 4
    assert isinstance(worker.results()["n20000"].outcome, NotStarted)


async def test_outcomes_of_one_node_never_disturb_another(mark: Mark) -> None:
    worker = await trioshell.run(
        "case %n in 0) kill -9 $$;; 1) exec >&-;; 2) sleep 61;; 3) sleep 30 & exit 0;; esac;"
        " echo ok",
        "n[1-8]",
        transport="exec",
        timeout=1,
        kill_grace=0.1,
    )
    good = [node for node, result in worker.results().items() if result.stdout == b"ok\n"]
    assert good == ["n5", "n6", "n7", "n8"]


async def test_wait_from_several_tasks_and_after_the_end() -> None:
    async with Task() as task, trio.open_nursery() as nursery:
        worker = task.shell("true", stdin=False)
        for _ in range(3):
            nursery.start_soon(worker.wait)
    with trio.fail_after(AT_ONCE_SECONDS):
        await worker.wait()


async def test_wait_cancelled_leaves_the_worker_alone() -> None:
    async with Task() as task:
        worker = task.shell("echo ready; cat")
        with trio.move_on_after(0.02):
            await worker.wait()
        assert not worker.closed
        await wait_line(worker)
        worker.set_write_eof()
    assert only(worker).outcome == Exited(0)


async def test_work_for_a_task_that_is_ending_is_not_started(mark: Mark) -> None:
    added: list[Worker] = []

    class Late:
        def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> None:
            assert worker.task is not None
            if not added:
                added.append(worker.task.shell("sleep 61", handler=self))

    with trio.CancelScope() as scope:
        async with Task(kill_grace=0.1) as task:
            first = task.shell("echo ready; sleep 61", handler=Late())
            await wait_line(first)
            scope.cancel()
    assert isinstance(only(added[0]).outcome, NotStarted)
    assert mark.living() == []


async def test_copies_of_output_lines_match_events() -> None:
    recorder = Recorder()
    async with Task() as task:
        worker = task.shell("seq 1000", handler=recorder, stdin=False)
    assert recorder.lines() == list(worker.read())
    assert len(recorder.of(Read)) == 1000
