"""`StreamWorker` on what exists already: pipes, sockets, files, terminals, Trio's own streams."""

from __future__ import annotations

import os
import pty
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair

from tests.real.probes import AT_ONCE_SECONDS, Recorder, check_order, only, wait_until
from trioshell import (
    Aborted,
    Exited,
    NotStarted,
    Start,
    StreamWorker,
    Task,
    TimedOut,
    Unreachable,
    WorkerError,
    Written,
)


async def test_a_pipe_is_read_to_its_end() -> None:
    read, write = os.pipe()
    recorder = Recorder()
    worker = StreamWorker(recorder, "pipe")
    worker.set_reader("log", read)
    os.write(write, b"a\rb\r\nc\nlast")
    async with Task() as task:
        assert task.schedule(worker) is worker
        await wait_until(lambda: len(recorder.lines("log")) == 2)
        assert not worker.closed
        os.close(write)
    assert recorder.lines("log") == [b"a\rb", b"c", b"last"]
    check_order(recorder)
    assert only(worker).outcome == Exited(0)
    assert worker.read("pipe", "log") == b"a\rb\nc\nlast"
    assert worker.command is None
    assert task.key_retcode("pipe") == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)  # the worker has taken it over, and closed it


async def test_several_readers_and_writers_by_name() -> None:
    ours = [os.pipe() for _ in range(4)]
    recorder = Recorder()
    worker = StreamWorker(recorder, "k")
    worker.set_reader("stdout", ours[0][0])
    worker.set_reader("stderr", ours[1][0])
    worker.set_writer("left", ours[2][1])
    worker.set_writer("right", ours[3][1])
    async with Task() as task:
        task.schedule(worker)
        worker.write(b"to the left\n", "left")
        worker.write(b"to the right\n", sname="right")
        await wait_until(lambda: len(recorder.of(Written)) == 2)
        assert os.read(ours[2][0], 100) == b"to the left\n"
        assert os.read(ours[3][0], 100) == b"to the right\n"
        worker.set_write_eof("left")
        with trio.fail_after(AT_ONCE_SECONDS):
            assert await trio.to_thread.run_sync(os.read, ours[2][0], 100) == b""
        worker.write(b"more\n", "right")
        worker.set_write_eof()
        os.write(ours[0][1], b"out\n")
        os.write(ours[1][1], b"err\n")
        os.close(ours[0][1])
        os.close(ours[1][1])
    assert os.read(ours[3][0], 100) == b"more\n"
    os.close(ours[2][0])
    os.close(ours[3][0])
    assert recorder.lines("stdout") == [b"out"]
    assert recorder.lines("stderr") == [b"err"]
    assert [(event.sname, event.size) for event in recorder.of(Written)] == [
        ("left", 12),
        ("right", 13),
        ("right", 5),
    ]
    assert (only(worker).stdout, only(worker).stderr) == (b"out\n", b"err\n")
    assert worker.read("k") == b"out"
    assert task.key_error("k") == b"err"
    check_order(recorder)


async def test_one_socket_both_ways() -> None:
    ours, theirs = socket.socketpair()
    recorder = Recorder()
    worker = StreamWorker(recorder)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    worker.set_reader("stdout", stream)
    worker.set_writer("stdin", stream)
    other = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    async with Task() as task:
        task.schedule(worker)
        worker.write(b"question\n")
        assert await other.receive_some(100) == b"question\n"
        worker.set_write_eof()
        assert await other.receive_some(100) == b""
        await other.send_all(b"answer\n")
        await other.aclose()
    assert recorder.lines() == [b"answer"]
    assert only(worker).outcome == Exited(0)


async def test_sockets_as_descriptors() -> None:
    ours, theirs = socket.socketpair()
    worker = StreamWorker()
    worker.set_reader("stdout", ours)
    theirs.sendall(b"hello\n")
    theirs.close()
    async with Task() as task:
        task.schedule(worker)
    assert worker.read() == b"hello"


async def test_a_regular_file(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "in").write_bytes(data)
    worker = StreamWorker(key="copy")
    source, sink = (tmp_path / "in").open("rb"), (tmp_path / "out").open("wb")
    worker.set_reader("stdout", source)
    worker.set_writer("stdin", sink)
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            task.schedule(worker)
            await worker.send_all(data)
            worker.set_write_eof()
    assert only(worker).stdout == data
    assert (tmp_path / "out").read_bytes() == data
    assert source.closed
    assert sink.closed


async def test_what_a_file_object_has_buffered_comes_first(tmp_path: Path) -> None:
    sink = (tmp_path / "out").open("w")
    sink.write("before ")
    worker = StreamWorker()
    worker.set_writer("log", sink)
    async with Task() as task:
        task.schedule(worker)
        worker.write(b"after\n")  # the only writer there is
        worker.set_write_eof()
    assert (tmp_path / "out").read_text() == "before after\n"


async def test_a_terminal() -> None:
    ours, theirs = pty.openpty()
    recorder = Recorder()
    worker = StreamWorker(recorder)
    worker.set_reader("tty", ours)
    async with Task(kill_grace=0.1) as task:
        task.schedule(worker)
        os.write(theirs, b"line\n")
        await wait_until(lambda: recorder.lines("tty") == [b"line"])
        os.close(theirs)
    # Linux reports the end of a terminal as an error.
    assert isinstance(only(worker).outcome, Exited | Unreachable)


async def test_streams_of_trio() -> None:
    ours, theirs = memory_stream_pair()
    recorder = Recorder()
    worker = StreamWorker(recorder)
    worker.set_reader("stdout", ours)
    async with Task() as task:
        task.schedule(worker)
        await theirs.send_all(b"a\nhal")
        await theirs.send_all(b"f\n")
        await theirs.aclose()
    assert recorder.lines() == [b"a", b"half"]


async def test_a_stream_that_breaks_is_unreachable_and_says_which() -> None:
    class Broken(trio.abc.ReceiveStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError("the line went dead")

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    recorder = Recorder()
    worker = StreamWorker(recorder)
    worker.set_reader("feed", Broken())
    async with Task() as task:
        task.schedule(worker)
    outcome = only(worker).outcome
    assert isinstance(outcome, Unreachable)
    assert "feed" in outcome.reason
    assert "the line went dead" in outcome.reason
    assert only(worker).rc == 255
    check_order(recorder)


async def test_a_writer_that_nobody_reads_is_unreachable_and_hurts_nobody() -> None:
    read, write = os.pipe()
    os.close(read)
    worker = StreamWorker()
    worker.set_writer("stdin", write)
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            task.schedule(worker)
            await worker.send_all(b"x" * 1_000_000)
            worker.set_write_eof()
            other = await task.run("echo fine", stdin=False)
    assert isinstance(only(worker).outcome, Unreachable)
    assert other.read() == b"fine"


async def test_writing_has_backpressure() -> None:
    read, write = os.pipe()
    worker = StreamWorker()
    worker.set_writer("stdin", write)
    done = []

    async def send() -> None:
        await worker.send_all(b"x" * 1_000_000)
        done.append(True)

    async with Task() as task, trio.open_nursery() as nursery:
        task.schedule(worker)
        await wait_until(lambda: worker.started)
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert done == []
        left = 1_000_000
        while left:
            left -= len(await trio.to_thread.run_sync(os.read, read, 65536))
        await wait_until(lambda: done == [True])
        worker.set_write_eof()
    os.close(read)


@pytest.mark.parametrize("way", ["abort", "task abort", "timeout", "cancel"])
async def test_however_it_is_ended_its_streams_are_closed(way: str) -> None:
    read, write = os.pipe()
    read2, write2 = os.pipe()
    recorder = Recorder()
    worker = StreamWorker(recorder, "k", timeout=0.1 if way == "timeout" else None)
    worker.set_reader("stdout", read)
    worker.set_writer("stdin", write2)
    os.write(write, b"whole\nhalf")
    with trio.CancelScope() as scope, trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            task.schedule(worker)
            await wait_until(lambda: recorder.lines() == [b"whole"])
            if way == "abort":
                worker.abort()
            elif way == "task abort":
                task.abort()
            elif way == "cancel":
                scope.cancel()
    assert only(worker).outcome == (TimedOut(0.1) if way == "timeout" else Aborted())
    assert recorder.lines() == [b"whole", b"half"]
    assert only(worker).stdout == b"whole\nhalf"
    check_order(recorder)
    for fd in (read, write2):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    os.close(write)
    os.close(read2)


async def test_it_takes_no_place_in_the_fanout_and_may_be_autoclose() -> None:
    read, write = os.pipe()
    worker = StreamWorker(autoclose=True)
    worker.set_reader("stdout", read)
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(fanout=1) as task:
            task.schedule(worker)
            other = await task.run("echo fine", stdin=False)
            assert not worker.closed
    os.close(write)
    assert other.read() == b"fine"
    assert only(worker).outcome == Aborted()


async def test_a_flood_to_a_slow_handler_is_whole() -> None:
    read, write = os.pipe()
    numbers: list[int] = []

    class Slow(Recorder):
        async def ev_read(self, worker: object, node: object, sname: str, msg: bytes) -> None:  # type: ignore[override]
            numbers.append(int(msg))
            if len(numbers) % 1000 == 0:
                await trio.sleep(0.001)

    worker = StreamWorker(Slow(), gather=False)
    worker.set_reader("stdout", read)

    def write_all() -> None:
        with open(write, "wb") as sink:
            sink.write(b"".join(b"%d\n" % i for i in range(50_000)))

    async with Task() as task:
        task.schedule(worker)
        await trio.to_thread.run_sync(write_all)
    assert numbers == list(range(50_000))


async def test_one_that_is_aborted_before_it_starts_closes_its_streams_too() -> None:
    read, write = os.pipe()
    worker = StreamWorker()
    worker.set_reader("stdout", read)
    worker.abort()
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            task.schedule(worker)
    os.close(write)
    assert isinstance(only(worker).outcome, NotStarted)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)


async def test_bad_input() -> None:
    worker = StreamWorker()
    read, write = os.pipe()
    with pytest.raises(TypeError, match=r"source must be a Trio stream.*'x'"):
        worker.set_reader("stdout", "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"sink must be a Trio stream.*None"):
        worker.set_writer("stdin", None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"source must be.*True"):
        worker.set_reader("stdout", True)
    with pytest.raises(TypeError, match=r"sname must be a name.*''"):
        worker.set_reader("", read)
    worker.set_reader("stdout", read)
    worker.set_writer("stdin", write)
    with pytest.raises(ValueError, match="'stdout' is taken"):
        worker.set_reader("stdout", read)
    with pytest.raises(ValueError, match="'stdin' is taken"):
        worker.set_writer("stdin", write)
    with pytest.raises(ValueError, match=r"must be a writer of the worker.*'other'"):
        worker.write(b"x", "other")
    with pytest.raises(WorkerError):
        worker.read()
    async with Task() as task:
        with pytest.raises(ValueError, match="must have a stream"):
            task.schedule(StreamWorker())
        task.schedule(worker)
        with pytest.raises(WorkerError, match="scheduled"):
            worker.set_reader("late", read)
        with pytest.raises(WorkerError, match="already"):
            task.schedule(worker)
        worker.set_write_eof()
        with pytest.raises(WorkerError, match="set_write_eof"):
            worker.write(b"x")
    assert only(worker).outcome == Exited(0)


async def test_descriptors_that_are_not_open_are_refused_at_the_call() -> None:
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    worker = StreamWorker()
    with pytest.raises((ValueError, TypeError), match="source"):
        worker.set_reader("stdout", read)
    with pytest.raises((ValueError, TypeError), match="source"):
        worker.set_reader("stdout", -1)


async def test_events_of_a_stream_worker() -> None:
    ours, theirs = memory_stream_pair()
    worker = StreamWorker(key="k")
    worker.set_reader("stdout", ours)
    async with Task() as task:
        task.schedule(worker)
        await theirs.send_all(b"x\n")
        await theirs.aclose()
        kinds = [type(event).__name__ async for event in worker.events()]
    assert kinds == ["Start", "Pickup", "Read", "Hup", "Close"]
    assert Start.__name__ == kinds[0]
