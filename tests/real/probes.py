"""What the tests with real processes share: a mark to find survivors by, a handler that records."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import trio

import trioshell
from reliability.marks import environment
from trioshell import Close, Hup, NodeResult, Pickup, Read, Start, Worker, Written

# What must not wait for anything is given this long, on a machine that is busy with other things.
AT_ONCE_SECONDS = 5.0

Event = Start | Pickup | Read | Written | Hup | Close


class Mark:
    """A name in the environment of all that a test starts, and who carries it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def living(self) -> list[str]:
        """Every process with the mark that is no zombie, as its pid and its command."""
        found = []
        needle = f"{self.name}=".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                if any(word.startswith(needle) for word in environment(entry)):
                    command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{entry}: {command.decode(errors='replace')}")
            except OSError:
                continue  # gone meanwhile, or somebody else's
        return found

    def kill(self) -> None:
        """End what a test has found to live on, and wait until it is gone."""
        for line in self.living():
            kill(int(line.partition(":")[0]))


def is_alive(pid: int) -> bool:
    return state_of(pid) not in ("", "Z", "X")


def state_of(pid: int) -> str:
    """The letter of /proc; nothing if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def kill(pid: int) -> None:
    """SIGKILL, and wait until init has buried it."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


class Recorder:
    """A handler that keeps every event as a record, and may react to it."""

    def __init__(self, react: Callable[[Event], object] | None = None) -> None:
        self.events: list[Event] = []
        self.react = react

    def lines(self, sname: str = "stdout", node: Hashable = None) -> list[bytes]:
        return [
            event.msg
            for event in self.events
            if isinstance(event, Read) and event.sname == sname and node in (None, event.node)
        ]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def _keep(self, event: Event) -> None:
        self.events.append(event)
        if self.react is not None:
            self.react(event)

    def ev_start(self, worker: Worker) -> None:
        self._keep(Start(worker))

    def ev_pickup(self, worker: Worker, node: Hashable) -> None:
        self._keep(Pickup(worker, node))

    def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
        self._keep(Read(worker, node, sname, msg))

    def ev_written(self, worker: Worker, node: Hashable, sname: str, size: int) -> None:
        self._keep(Written(worker, node, sname, size))

    def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> None:
        self._keep(Hup(worker, node, rc))

    def ev_close(self, worker: Worker, timedout: bool) -> None:
        self._keep(Close(worker, timedout))


async def wait_line(worker: Worker, wanted: bytes = b"ready", times: int = 1) -> None:
    """Wait until the worker's nodes have written a line so many times."""
    seen = 0
    with worker.events() as events:
        async for event in events:
            if isinstance(event, Read) and event.msg == wanted:
                seen += 1
                if seen == times:
                    return
    raise AssertionError(f"{worker!r} is over, with {seen} of {times} lines {wanted!r}")


async def wait_until(condition: Callable[[], bool], seconds: float = AT_ONCE_SECONDS) -> None:
    """For what /proc alone can tell: look again and again."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110  # nobody would set an event
            await trio.sleep(0.005)


def only(worker: Worker) -> NodeResult:
    """The one result of a worker with one target."""
    (result,) = worker.results().values()
    return result


def check_order(recorder: Recorder) -> None:
    """start (pickup (read | written)* hup)* close, for each worker, nodes interleaved."""
    for worker in dict.fromkeys(event.worker for event in recorder.events):
        events = [event for event in recorder.events if event.worker is worker]
        assert isinstance(events[0], Start), events[0]
        assert isinstance(events[-1], Close), events[-1]
        running: set[Hashable] = set()
        over: set[Hashable] = set()
        for event in events[1:-1]:
            match event:
                case Pickup(node=node):
                    assert node not in running | over, event
                    running.add(node)
                case Read(node=node) | Written(node=node):
                    assert node in running, event
                case Hup(node=node):
                    running.remove(node)
                    over.add(node)
                case _:
                    raise AssertionError(f"{event} in the middle")
        assert not running


def python(
    program: str, *args: str, seconds: float = 60, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a Python program of its own that can import this trioshell."""
    root = str(Path(trioshell.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", program, *args],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        **options,
    )


def run_python(program: str, *args: str, seconds: float = 60) -> str:
    """What the program prints; it must end well and complain of nothing."""
    done = python(program, *args, seconds=seconds)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
