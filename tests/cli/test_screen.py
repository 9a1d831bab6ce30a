"""The screen: order kept, nothing blocked by a reader that has stopped, failures told."""

from __future__ import annotations

import fcntl
import os
import select
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing

from trioshell.cli._screen import Screen


class Pipe:
    """Where a screen writes to, and what came out of it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, 65536)

    def read(self, count: int = 1 << 20) -> bytes:
        return os.read(self.read_end, count)

    def close(self) -> None:
        for fd in (self.read_end, self.write_end):
            if fd >= 0:
                os.close(fd)
        self.read_end = self.write_end = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def unexpected() -> None:
    raise AssertionError("writing failed")


@pytest.fixture
async def screen(pipe: Pipe) -> AsyncIterator[Screen]:
    """A screen of which both outputs go to the pipe, running."""
    made = Screen(unexpected, out=pipe.write_end, err=pipe.write_end)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_pieces_come_out_in_order(screen: Screen, pipe: Pipe) -> None:
    screen.out(b"1\n")
    screen.err(b"2\n")
    screen.out(b"3\n")
    screen.out(b"")
    await screen.wait_written()
    assert pipe.read() == b"1\n2\n3\n"
    assert not screen.busy


async def test_what_is_drawn_gives_way_to_what_is_written(screen: Screen, pipe: Pipe) -> None:
    screen.set_status("1/8")
    screen.set_status("2/8")
    screen.out(b"line\n")
    screen.out(b"line\n")
    screen.set_status("8/8")
    screen.set_status("")
    await screen.wait_written()
    assert pipe.read() == b"1/8\r   \r2/8\r   \rline\nline\n8/8\r   \r"


async def test_a_reader_that_has_stopped_stops_only_those_who_wait_for_room(
    screen: Screen, pipe: Pipe
) -> None:
    total = 0
    while not screen.full:
        screen.out(b"x" * 65536)
        total += 65536
        await trio.testing.wait_all_tasks_blocked()
    with trio.CancelScope() as waiting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.wait_room)
            await trio.testing.wait_all_tasks_blocked()
            waiting.cancel()
    assert waiting.cancelled_caught
    read = bytearray()

    def read_all() -> None:
        while len(read) < total:
            read.extend(pipe.read())

    reader = threading.Thread(target=read_all)
    reader.start()
    await screen.wait_room()
    await screen.wait_written()
    reader.join()
    assert bytes(read) == b"x" * total


async def test_a_screen_can_be_given_up(screen: Screen, pipe: Pipe) -> None:
    screen.out(b"x" * 500_000)
    await trio.lowlevel.wait_readable(pipe.read_end)
    screen.drop()
    await screen.wait_written()
    await screen.wait_room()
    screen.out(b"more")
    # What was in the pipe comes out, and the write that had begun; nothing after it.
    os.set_blocking(pipe.read_end, False)
    came = b""
    while screen.busy or _has_more(pipe):
        await trio.lowlevel.checkpoint()
        if _has_more(pipe):
            came += pipe.read()
    assert came.strip(b"x") == b""
    assert 0 < len(came) <= 2 * 65536


def _has_more(pipe: Pipe) -> bool:
    return bool(select.select([pipe.read_end], [], [], 0)[0])


async def test_a_reader_that_is_gone_is_told_once(pipe: Pipe) -> None:
    failed = trio.Event()
    screen = Screen(failed.set, out=pipe.write_end, err=pipe.write_end)
    os.close(pipe.read_end)
    pipe.read_end = -1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(screen.run)
        screen.out(b"x")
        with trio.fail_after(5):
            await failed.wait()
            await screen.wait_written()
        assert isinstance(screen.failure, BrokenPipeError)
        screen.out(b"dropped")
        assert not screen.busy
        nursery.cancel_scope.cancel()


async def test_a_descriptor_that_somebody_made_non_blocking_is_waited_for(
    screen: Screen, pipe: Pipe
) -> None:
    os.set_blocking(pipe.write_end, False)
    data = os.urandom(300_000)
    screen.out(data)
    read = bytearray()
    while len(read) < len(data):
        await trio.lowlevel.wait_readable(pipe.read_end)
        read.extend(pipe.read())
    await screen.wait_written()
    assert read == data
