"""Bounded output of real commands: they go on undisturbed, and what is missing is known."""

from __future__ import annotations

import math
import os

import pytest

import trioshell
from tests.real.probes import Event, Recorder, only, run_python
from trioshell import Exited, Read, StreamWorker, Task


async def test_a_command_above_its_cap_is_not_disturbed() -> None:
    recorder = Recorder()
    worker = await trioshell.run(
        "head -c 5000000 /dev/zero && echo end >&2",
        "n1",
        transport="exec",
        handler=recorder,
        stdin=False,
        stderr=True,
        max_output_bytes=100_000,
    )
    result = only(worker)
    assert result.outcome == Exited(0)
    assert result.stdout == bytes(100_000)
    assert result.stderr == b""  # too late
    assert result.missing_bytes == 5_000_000 + 4 - 100_000
    assert result.truncated
    assert "missing_bytes=4900004" in repr(result)
    assert recorder.lines() == [bytes(100_000)]
    assert recorder.lines("stderr") == []


async def test_both_streams_together_have_one_allowance() -> None:
    def react(event: Event) -> None:
        if isinstance(event, Read):
            worker.write(b"x\n")

    async with Task() as task:
        worker = task.shell(
            "echo abc; read x; echo de >&2",
            handler=Recorder(react),
            stderr=True,
            max_output_bytes=5,
        )
    result = only(worker)
    assert (result.stdout, result.stderr, result.missing_bytes) == (b"abc\n", b"d", 2)


async def test_each_node_has_an_allowance_of_its_own() -> None:
    async with Task(transport="exec", max_output_bytes=3) as task:
        worker = task.shell("echo %h", nodes="n[9-11]", stdin=False)
    assert [bytes(message) for message, _ in worker.iter_buffers()] == [b"n9", b"n10", b"n11"]
    assert [result.missing_bytes for result in worker.results().values()] == [0, 1, 1]


async def test_a_worker_says_otherwise_than_its_task() -> None:
    async with Task(max_output_bytes=3, max_line_bytes=2) as task:
        workers = [
            task.shell("echo abcdef", stdin=False),
            task.shell("echo abcdef", stdin=False, max_line_bytes=math.inf),
            task.shell("echo abcdef", stdin=False, max_output_bytes=2),
            task.shell(
                "echo abcdef", stdin=False, max_output_bytes=math.inf, max_line_bytes=math.inf
            ),
        ]
    assert [only(worker).stdout for worker in workers] == [b"ab\n", b"abc", b"ab", b"abcdef\n"]
    assert [only(worker).missing_bytes for worker in workers] == [4, 4, 5, 0]


async def test_streams_that_exist_already_are_bounded_too() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"abc\nde\n")
    os.close(writing)
    worker = StreamWorker(max_line_bytes=2)
    worker.set_reader("stdout", reading)
    async with Task() as task:
        task.schedule(worker)
    assert worker.read() == b"ab\nde"
    assert only(worker).missing_bytes == 1


async def test_who_listens_late_is_told_no_more_than_who_was_there() -> None:
    async with Task() as task:
        worker = await task.run("printf 'abcd\\nef'", stdin=False, max_line_bytes=3)
    lines = [event.msg async for event in worker.events() if isinstance(event, Read)]
    assert lines == [b"abc", b"ef"]


async def test_a_line_without_an_end_is_told_while_it_goes_on() -> None:
    async with Task(kill_grace=0.1) as task:
        recorder = Recorder(lambda event: worker.abort() if isinstance(event, Read) else None)
        worker = task.shell(
            "tr '\\0' x < /dev/zero", handler=recorder, stdin=False, max_line_bytes=5
        )
    assert recorder.lines() == [b"xxxxx"]
    assert only(worker).stdout == b"xxxxx\n"
    assert only(worker).truncated


ENDLESS = """
import os, resource, sys, trio, trioshell
caps = {sys.argv[1]: 1000000}

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

async def main():
    async with trioshell.Task(transport="exec", **caps) as task:
        await task.run("echo x", nodes="n1", stdin=False)
        before = peak()
        worker = task.shell("head -c 50000000 /dev/zero", nodes="n[1-4]", stdin=False)
    for result in worker.results().values():
        assert result.rc == 0
        assert result.missing_bytes == 49000000
    print(peak() - before)

trio.run(main)
"""


@pytest.mark.parametrize("cap", ["max_output_bytes", "max_line_bytes"])
def test_an_endless_line_takes_no_more_memory_than_its_cap(cap: str) -> None:
    # 4 MB are kept; 200 MB would show.
    assert int(run_python(ENDLESS, cap)) < 30_000  # KB
