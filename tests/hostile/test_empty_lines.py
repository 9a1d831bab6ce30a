"""Millions of empty lines: each is told, none takes more memory than its newline."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Hashable
from typing import Any

import pytest

from trioshell import EventHandler, MsgTree, Task


class Counting(EventHandler):
    def __init__(self) -> None:
        self.lines = 0

    def ev_read(self, worker: Any, node: Hashable, sname: str, msg: bytes) -> None:
        self.lines += 1
        assert msg == b""


async def count(lines: int, *, gather: bool) -> tuple[float, int]:
    """The CPU seconds that so many take, and by how many bytes our memory grows at most."""
    handler = Counting()
    tracemalloc.start()
    began = time.process_time()
    async with Task(transport="exec") as task:
        worker = task.shell(
            f"yes '' | head -n {lines}", nodes="n[1-2]", handler=handler, gather=gather
        )
    seconds = time.process_time() - began
    if gather:
        groups = [(len(message), str(nodes)) for message, nodes in worker.iter_buffers()]
        assert groups == [(lines - 1, "n[1-2]")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert handler.lines == 2 * lines
    return seconds, peak


@pytest.mark.parametrize("lines", [200_000, pytest.param(2_000_000, marks=pytest.mark.soak)])
async def test_they_are_told_in_bounded_memory(lines: int) -> None:
    _, peak = await count(lines, gather=False)
    assert peak < 8 << 20


@pytest.mark.parametrize("lines", [200_000, pytest.param(2_000_000, marks=pytest.mark.soak)])
async def test_gathered_they_are_their_newlines(lines: int) -> None:
    # A node's chunks and what they are joined to, once for both, and the message of that.
    _, peak = await count(lines, gather=True)
    assert peak < 8 * lines + (8 << 20)


@pytest.mark.soak
async def test_ten_times_as_many_take_ten_times_as_long() -> None:
    few, many = [(await count(lines, gather=True))[0] for lines in (200_000, 2_000_000)]
    assert many < 25 * few


def test_a_tree_of_messages_knows_equal_lines() -> None:
    tree: MsgTree = MsgTree()
    for _ in range(100_000):
        for node in ("n1", "n2", "n3"):
            tree.add(node, b"")
    [(message, keys)] = tree.walk()
    assert (len(message), sorted(keys)) == (99_999, ["n1", "n2", "n3"])
