"""The end at every single point, again over real processes; see the walk in virtual time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from tests.checker import check_told, leaves, rc_of
from tests.test_cancellation_walk import AtStep
from trioshell import Task
from trioshell._events import Close, Event, Hup, Pickup, Read, Start
from trioshell._worker import Worker

pytestmark = pytest.mark.soak

NODES = {"a": ["a1", "a2"], "b": ["b1", "b2"]}


@dataclass
class Seen:
    """One Task, and what became of it."""

    workers: dict[str, Worker] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)
    heard: list[Event] = field(default_factory=list)
    raised: BaseException | None = None
    steps: int = 0


class Slow:
    """Writes down what it is told, and takes its time."""

    def __init__(self, told: list[Event]) -> None:
        self.told = told

    async def ev_start(self, worker: Worker) -> None:
        self.told.append(Start(worker))
        await trio.sleep(0.001)

    async def ev_pickup(self, worker: Worker, node: Hashable) -> None:
        self.told.append(Pickup(worker, node))
        await trio.sleep(0.001)

    def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
        self.told.append(Read(worker, node, sname, msg))

    async def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> None:
        self.told.append(Hup(worker, node, rc))
        await trio.sleep(0.001)

    async def ev_close(self, worker: Worker, timedout: bool) -> None:
        self.told.append(Close(worker, timedout))
        await trio.sleep(0.001)


async def _block(task: Task, seen: Seen, mark: str) -> None:
    handler = Slow(seen.told)
    a = task.shell("echo a; cat; echo e >&2", nodes="a[1-2]", handler=handler, fanout=1)
    a.write(b"input\n")
    a.set_write_eof()
    # A tree of which one ignores SIGTERM, and all hold the output open.
    tree = f"trap '' TERM; sleep 60.{mark} & sh -c 'sleep 60.{mark}; :'"
    seen.workers |= {"a": a, "b": task.shell(tree, nodes="b[1-2]", handler=handler, timeout=0.03)}
    async for event in a.events():
        seen.heard.append(event)


async def _walk(step: int, kind: str, mark: str) -> Seen:
    seen = Seen()
    task = Task(transport="exec", fanout=3, kill_grace=0.02)
    scope = trio.CancelScope()
    ends: dict[str, Callable[[], None]] = {
        "cancelled": scope.cancel,
        "aborted": task.abort,
        "interrupted": lambda: signal.raise_signal(signal.SIGINT),
    }
    instrument = AtStep(step, ends[kind])
    trio.lowlevel.add_instrument(instrument)
    try:
        with scope:
            async with task:
                await _block(task, seen, mark)
    except BaseException as exc:  # noqa: BLE001  # whatever it is, the checks look at it
        seen.raised = exc
    trio.lowlevel.remove_instrument(instrument)
    if kind == "interrupted":
        with suppress(KeyboardInterrupt):  # it may be delivered after the Task
            await trio.sleep(0.001)
    seen.steps = instrument.steps
    return seen


def children() -> set[str]:
    tasks = Path("/proc/self/task")
    return {pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()}


def running(mark: str) -> list[str]:
    """The processes whose command line has the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # gone meanwhile
            if f"60.{mark}".encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def check_seen(seen: Seen, kind: str) -> None:
    came = leaves(seen.raised)
    assert all(isinstance(error, KeyboardInterrupt) for error in came)
    assert not came or kind == "interrupted"
    for name, worker in seen.workers.items():
        assert worker.closed
        told = [event for event in seen.told if event.worker is worker]
        check_told(NODES[name], told, whole=True)
        results = worker.results()
        assert list(results) == NODES[name]
        for node, result in results.items():
            assert result.rc == rc_of(result.outcome)
            hups = [event.rc for event in told if isinstance(event, Hup) and event.node == node]
            assert hups in ([result.rc], [])
            lines = [e.msg for e in told if isinstance(e, Read) and e.node == node]
            assert lines == result.stdout.splitlines()
    check_told(NODES["a"], seen.heard, whole=False)


@pytest.mark.parametrize("kind", ["cancelled", "aborted", "interrupted"])
def test_an_end_at_every_third_step_over_real_processes(kind: str) -> None:
    quiet = trio.run(_walk, 0, kind, f"{os.getpid()}0")
    check_seen(quiet, kind)
    before, fds = children(), set(os.listdir("/proc/self/fd"))
    for step in range(1, quiet.steps + 1, 3):
        mark = f"{os.getpid()}{step}"
        seen = trio.run(_walk, step, kind, mark)
        try:
            check_seen(seen, kind)
            assert running(mark) == []
            assert children() <= before
            assert set(os.listdir("/proc/self/fd")) == fds
        except AssertionError as error:
            error.add_note(f"{kind} right after step {step} of {quiet.steps}")
            raise
