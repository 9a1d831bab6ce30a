"""Abort and timeout of running commands: how soon all is gone, and what is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload, needs_module

GRACE = 1.0
TIMEOUT = 3.0
MARK = "BENCHMARK_MARK"

# Each a small tree: a shell, a child in the background, and one in front.
POLITE = "sleep 600 & sleep 600; :"
STUBBORN = f"trap '' TERM; {POLITE}"
PROCESSES = 3
COMMANDS = {"polite": POLITE, "stubborn": STUBBORN}


def mark() -> bytes:
    """What is in the environment of all that this process starts from now on."""
    os.environ[MARK] = uuid4().hex
    return f"{MARK}={os.environ[MARK]}".encode()


def marked(what: bytes) -> list[int]:
    """The processes, but for this one, that have the mark."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if what in words and int(directory.name) != os.getpid():
            found.append(int(directory.name))
    return found


def take_stock(what: bytes, ended: float, due: float, meter: Meter) -> None:
    """Note when it was over, and how much was left; then end that too."""
    left = marked(what)
    meter.note(seconds_after_due=ended - due, left=len(left))
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has ended meanwhile
            continue


class Picked:
    """A handler, theirs or ours, that knows when the last command was started."""

    def __init__(self, amount: int, then: Callable[[], object]) -> None:
        self._left = amount
        self._then = then
        self.last = 0.0

    def ev_pickup(self, worker: object, node: object) -> None:
        self._left -= 1
        self.last = time.perf_counter()
        if not self._left:
            self._then()


def ours(kind: str, timed: bool, amount: int, meter: Meter) -> None:
    import trio

    import trioshell
    import trioshell.transports._exec  # else imported when it counts

    what = mark()

    async def main() -> None:
        all_run = trio.Event()
        picked = Picked(amount, all_run.set)
        async with trioshell.Task(fanout=amount, transport="exec", kill_grace=GRACE) as task:
            timeout = TIMEOUT if timed else None
            nodes = f"node[1-{amount}]"
            worker = task.shell(COMMANDS[kind], nodes=nodes, handler=picked, timeout=timeout)
            await all_run.wait()
            due = picked.last + TIMEOUT
            if not timed:
                await _all_started(worker, amount)
                due = time.perf_counter()
                meter.__enter__()
                task.abort()
            else:
                meter.__enter__()
        ended = time.perf_counter()
        meter.__exit__()
        assert not timed or task.num_timeout() == amount
        take_stock(what, ended, due + (GRACE if kind == "stubborn" else 0.0), meter)

    async def _all_started(worker: Any, amount: int) -> None:
        """A pickup comes before the start; what is to be ended must be there."""
        while len(marked(what)) < PROCESSES * amount:
            await trio.sleep(0.2)

    trio.run(main)


def clustershell(kind: str, timed: bool, amount: int, meter: Meter) -> None:
    from ClusterShell.Event import EventHandler
    from ClusterShell.Task import task_self
    from ClusterShell.Worker.Exec import ExecWorker

    what = mark()
    task = task_self()
    task.set_info("fanout", amount)
    dues: list[float] = []

    class Handler(EventHandler):  # type: ignore[misc]  # it has no types
        def ev_pickup(self, worker: object, node: str) -> None:
            picked.ev_pickup(worker, node)

        def ev_timer(self, timer: object) -> None:
            if len(marked(what)) < PROCESSES * amount:
                task.timer(0.2, self)
                return
            dues.append(time.perf_counter())
            meter.__enter__()
            worker.abort()

    def all_run() -> None:
        if timed:
            meter.__enter__()
        else:
            task.timer(0.2, handler)

    handler = Handler()
    picked = Picked(amount, all_run)
    nodes = f"node[1-{amount}]"
    timeout = TIMEOUT if timed else None
    worker = ExecWorker(nodes, command=COMMANDS[kind], handler=handler, timeout=timeout)
    task.schedule(worker)
    task.resume()
    ended = time.perf_counter()
    meter.__exit__()
    due = picked.last + TIMEOUT if timed else dues[0]
    # It has a grace of its own, which it does not take from us.
    take_stock(what, ended, due, meter)


def run_process(kind: str, timed: bool, amount: int, meter: Meter) -> None:
    import trio

    what = mark()

    async def one() -> None:
        scope = trio.move_on_after(TIMEOUT) if timed else trio.CancelScope()
        with scope:
            await trio.run_process(["/bin/sh", "-c", COMMANDS[kind]], check=False)

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            for _ in range(amount):
                nursery.start_soon(one)
            due = time.perf_counter() + TIMEOUT
            if not timed:
                while len(marked(what)) < PROCESSES * amount:
                    await trio.sleep(0.2)
                due = time.perf_counter()
            meter.__enter__()
            if not timed:
                nursery.cancel_scope.cancel()
        return due

    due = trio.run(main)
    ended = time.perf_counter()
    meter.__exit__()
    take_stock(what, ended, due, meter)


def workload(name: str, title: str, what: str, kind: str, timed: bool) -> Workload:
    return Workload(
        name,
        title,
        f"{what} Each is a shell with two children. Measured from the moment when it is due "
        "until the program may go on, and what of the commands is still there then.",
        "command",
        (1_000,),
        (100,),
        (
            Contender(
                OURS, partial(ours, kind, timed), f"kill_grace={GRACE:g}; whole process groups"
            ),
            Contender(
                "ClusterShell",
                partial(clustershell, kind, timed),
                "ExecWorker; the grace is its own",
                needs_module("ClusterShell"),
            ),
            Contender(
                "trio.run_process",
                partial(run_process, kind, timed),
                "cancelled; its own grace of 5 s; only the direct child is killed",
            ),
        ),
        rounds=3,
    )


WORKLOADS = (
    workload(
        "abort", "abort of 1,000 running commands", "1,000 commands are aborted.", "polite", False
    ),
    workload(
        "abort-stubborn",
        "abort of 1,000 that ignore SIGTERM",
        f"1,000 commands that ignore SIGTERM are aborted; a grace of {GRACE:g} s is not counted.",
        "stubborn",
        False,
    ),
    workload(
        "timeout",
        "timeout of 1,000 running commands",
        f"1,000 commands run into a timeout of {TIMEOUT:g} s; the latest of them counts.",
        "polite",
        True,
    ),
)
