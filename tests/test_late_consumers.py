"""A consumer of events may come at any time, also while a handler is still being told."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
import trio

from trioshell import Task
from trioshell._events import Event
from trioshell._worker import Worker
from trioshell.testing import Script, SimulatedTransport, check_grammar, simulate


@pytest.mark.parametrize("name", ["ev_start", "ev_pickup", "ev_read", "ev_hup", "ev_close"])
def test_one_that_comes_while_a_handler_waits_is_told_everything_once(name: str) -> None:
    heard: list[Event] = []

    async def main() -> None:
        async def listen(worker: Worker) -> None:
            heard.extend([event async for event in worker.events()])

        async def method(worker: Worker, *_args: Hashable) -> None:
            nursery.start_soon(listen, worker)
            await trio.sleep(1)

        handler = type("Handler", (), {name: staticmethod(method)})()
        task = Task(transport=SimulatedTransport(Script(b"line\n")))
        async with trio.open_nursery() as nursery, task:
            task.shell("x", nodes="a", handler=handler)

    simulate(main)
    assert [type(event).__name__ for event in heard] == ["Start", "Pickup", "Read", "Hup", "Close"]
    check_grammar(heard)
