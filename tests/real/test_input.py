"""What is written reaches every command, or hurts nobody: pending nodes, early ends, 1 MB, EOF."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

import trioshell
from tests.real.probes import AT_ONCE_SECONDS, Recorder, check_order, only, wait_line, wait_until
from trioshell import (
    DistantWorker,
    Exited,
    NotStarted,
    Task,
    TimedOut,
    Worker,
    WorkerError,
    Written,
)

MEGABYTE = b"0123456789abcde\n" * 65536


async def test_written_before_the_task_is_entered() -> None:
    task = Task()
    worker = task.shell("cat")
    worker.write(b"a\n")
    worker.write(b"b\n")
    worker.set_write_eof()
    with trio.fail_after(AT_ONCE_SECONDS):
        async with task:
            pass
    assert only(worker).stdout == b"a\nb\n"


async def test_written_after_it_started_in_order() -> None:
    async with Task() as task:
        worker = task.shell("echo ready; cat")
        await wait_line(worker)
        for number in range(500):
            worker.write(b"%d\n" % number)
        worker.set_write_eof()
    assert only(worker).stdout == b"ready\n" + b"".join(b"%d\n" % n for n in range(500))


async def test_every_node_gets_all_of_it_also_one_that_starts_late() -> None:
    recorder = Recorder()
    async with Task(fanout=1, transport="exec") as task:
        worker = task.shell("cat", nodes="n[1-4]", handler=recorder)
        worker.write(b"early\n")
        await wait_until(lambda: bool(recorder.of(Written)))
        worker.write(b"late\n")
        worker.set_write_eof()
    assert [result.stdout for result in worker.results().values()] == [b"early\nlate\n"] * 4
    sizes = dict.fromkeys(worker.results(), 0)
    for event in recorder.of(Written):
        assert event.sname == "stdin"
        sizes[event.node] += event.size
    assert set(sizes.values()) == {11}
    check_order(recorder)


async def test_a_megabyte_into_a_command_that_reads_it() -> None:
    recorder = Recorder()
    async with Task() as task:
        worker = task.shell("cat", handler=recorder)
        for _ in range(4):
            worker.write(MEGABYTE)
        worker.set_write_eof()
    assert only(worker).stdout == MEGABYTE * 4
    assert sum(event.size for event in recorder.of(Written)) == 4 * len(MEGABYTE)


@pytest.mark.parametrize("command", ["exit 0", "head -c 10", "exec <&-; echo on"])
async def test_a_megabyte_into_a_command_that_does_not_read_it(command: str) -> None:
    recorder = Recorder()
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            worker = task.shell(command, handler=recorder)
            worker.write(MEGABYTE)
            with trio.fail_after(AT_ONCE_SECONDS):
                await worker.send_all(MEGABYTE)
            worker.set_write_eof()
    assert only(worker).outcome == Exited(0)
    check_order(recorder)


async def test_a_megabyte_into_a_command_whose_grandchild_holds_its_stdin(tmp_path: Path) -> None:
    # The pipe does not break then: nobody but the end of the command says that it is over.
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            worker = task.shell(f"exec 3<&0; (read -r x <{fifo}) >&- 2>&- <&3 & exit 6")
            worker.write(MEGABYTE)
            await worker.wait()
        fifo.write_text("go\n")  # blocks until it has been read: the grandchild lives still
    assert only(worker).outcome == Exited(6)


async def test_a_node_that_has_ended_does_not_disturb_the_feeding_of_another() -> None:
    async with Task(transport="exec") as task:
        command = "[ %h = n1 ] && exit 7; echo ready; cat | wc -c"
        worker = task.shell(command, nodes="n[1-2]")
        await wait_line(worker)
        await worker.send_all(MEGABYTE)
        worker.set_write_eof()
    assert worker.results()["n1"].outcome == Exited(7)
    assert worker.results()["n2"].stdout.split() == [b"ready", b"%d" % len(MEGABYTE)]


async def test_send_all_waits_until_every_running_node_has_taken_it(tmp_path: Path) -> None:
    fifos = {node: tmp_path / node for node in ("n1", "n2")}
    for fifo in fifos.values():
        os.mkfifo(fifo)
    done: list[str] = []
    recorder = Recorder()

    async def send(worker: Worker) -> None:
        await worker.send_all(MEGABYTE)
        done.append("sent")

    async with Task(transport="exec") as task, trio.open_nursery() as nursery:
        command = f"echo ready; read -r go <{tmp_path}/%h; cat >/dev/null"
        worker = task.shell(command, nodes="n[1-2]", handler=recorder)
        await wait_line(worker, times=2)
        nursery.start_soon(send, worker)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert done == []
        fifos["n1"].write_text("go\n")
        await wait_until(lambda: len(recorder.of(Written)) == 1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert done == []
        fifos["n2"].write_text("go\n")
        await wait_until(lambda: done == ["sent"])
        worker.set_write_eof()
    assert [event.size for event in recorder.of(Written)] == [len(MEGABYTE)] * 2


async def test_send_all_waits_for_the_first_node_and_ends_with_the_worker() -> None:
    async with Task(transport="exec", fanout=1) as task:
        holder = task.shell("echo ready; cat")
        await wait_line(holder)
        worker = task.shell("cat", nodes="n[1-2]")
        with trio.move_on_after(0.05) as patience:
            await worker.send_all(b"queued all the same\n")
        assert patience.cancelled_caught
        worker.set_write_eof()
        holder.set_write_eof()
    assert [r.stdout for r in worker.results().values()] == [b"queued all the same\n"] * 2

    async with Task(transport="exec") as task:
        worker = task.shell("echo ready; kill -STOP $$", nodes="n1")
        await wait_line(worker)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.send_all, MEGABYTE)
            await trio.testing.wait_all_tasks_blocked(0.01)
            worker.abort()


async def test_send_all_before_the_task_is_entered_does_not_wait() -> None:
    task = Task()
    worker = task.shell("cat")
    with trio.fail_after(AT_ONCE_SECONDS):
        await worker.send_all(b"x\n")
    worker.set_write_eof()
    async with task:
        pass
    assert only(worker).stdout == b"x\n"


async def test_end_of_input_reaches_pending_nodes_and_may_be_repeated() -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(transport="exec", fanout=1) as task:
            worker = task.shell("cat; echo over", nodes="n[1-3]")
            worker.set_write_eof()
            worker.set_write_eof("stdin")
    assert {result.stdout for result in worker.results().values()} == {b"over\n"}
    worker.set_write_eof()


async def test_without_stdin_a_command_reads_an_empty_one() -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            worker = task.shell("cat; readlink /proc/self/fd/0", stdin=False)
            with pytest.raises(WorkerError, match="stdin=False"):
                worker.write(b"x")
            with pytest.raises(WorkerError, match="stdin=False"):
                await worker.send_all(b"x")
            worker.set_write_eof()
    assert only(worker).stdout == b"/dev/null\n"


async def test_run_without_a_handler_has_no_stdin_that_could_be_waited_for() -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        worker = await trioshell.run("cat; echo over")
    assert only(worker).stdout == b"over\n"


async def test_a_command_that_nobody_feeds_waits_until_its_timeout() -> None:
    async with Task() as task:
        worker = task.shell("cat", timeout=0.2)
    assert only(worker).outcome == TimedOut(0.2)


async def test_nothing_can_be_written_after_the_end_of_input() -> None:
    async with Task() as task:
        worker = task.shell("cat")
        worker.set_write_eof()
        with pytest.raises(WorkerError, match="set_write_eof"):
            worker.write(b"x")
        with pytest.raises(WorkerError, match="set_write_eof"):
            await worker.send_all(b"x")


async def test_writing_to_a_closed_worker_is_passed_over() -> None:
    async with Task() as task:
        worker = await task.run("true")
        worker.write(b"late")
        await worker.send_all(b"late")
        worker.set_write_eof()
    assert only(worker).outcome == Exited(0)


async def test_data_is_taken_as_it_is_at_the_call() -> None:
    data = bytearray(b"then\n")
    task = Task()
    worker = task.shell("cat")
    worker.write(data)
    worker.write(memoryview(b"view\n"))
    worker.write(b"")
    data[:] = b"now!\n"
    worker.set_write_eof()
    async with task:
        pass
    assert only(worker).stdout == b"then\nview\n"


async def test_input_of_an_aborted_worker_hurts_nobody() -> None:
    async with Task(transport="exec", fanout=1) as task:
        worker = task.shell("echo ready; kill -STOP $$", nodes="n[1-3]")
        await wait_line(worker)
        worker.write(MEGABYTE)
        await trio.testing.wait_all_tasks_blocked(0.01)
        worker.abort()
        worker.write(b"more")
    assert isinstance(worker, DistantWorker)
    outcomes = [result.outcome for result in worker.results().values()]
    assert outcomes[0] == trioshell.Aborted()
    assert [type(outcome) for outcome in outcomes[1:]] == [NotStarted, NotStarted]


async def test_input_and_output_flow_at_the_same_time() -> None:
    # A deadlock, if one of the two were waited for before the other.
    class Echo(Recorder):
        count = 0

        def ev_read(self, worker: Worker, node: object, sname: str, msg: bytes) -> None:
            self.count += 1
            if self.count == 65536:
                worker.set_write_eof()

    with trio.fail_after(30):
        async with Task() as task:
            handler = Echo()
            worker = task.shell("cat", handler=handler, gather=False)
            await worker.send_all(MEGABYTE)
    assert handler.count == 65536
