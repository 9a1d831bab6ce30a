"""The lies of an SFTP server over a real connection, by either way to reach it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.hostile.server import Attack, attacked
from tests.hostile.sftp import STAT, HostileSftp
from trioshell import Aborted, CopyWorker, Exited, Task, TimedOut, Unreachable
from trioshell.transports import OpenSshTransport, SshTransport

WAYS = [SshTransport, OpenSshTransport]


@contextmanager
def reached(place: Path, way: type[Any], server: Callable[[], HostileSftp]) -> Iterator[Any]:
    attack = Attack(subsystem=lambda: server().answer)
    with attacked(place, {"hostile": attack}) as config:
        yield way(config=config, known_hosts=place / "known_hosts")


@pytest.mark.parametrize("way", WAYS)
async def test_names_stay_in_the_destination(tmp_path: Path, way: type[Any]) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    names = [b"..", b"../out", b"/tmp/out", b"nul\0", b"x" * 300, b"\x1b[2J", b"fine"]
    with reached(tmp_path, way, lambda: HostileSftp(lambda: iter([names]))) as transport:
        async with Task(transport=transport, stderr=True) as task:
            worker = task.rcopy("root", dest, "hostile")
    result = worker.results()["hostile"]
    assert result.outcome == Exited(1)
    assert result.stderr.count(b"not a name that a file here may have") == 4
    assert {path.name for path in (dest / "root.hostile").iterdir()} == {"\x1b[2J", "fine"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["abort", "timeout"])
async def test_a_tree_without_an_end(tmp_path: Path, way: type[Any], end: str) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    server = HostileSftp(lambda: ([b"%d.%d" % (n, m) for m in range(200)] for n in range(5000)))
    with reached(tmp_path, way, lambda: server) as transport:
        worker = CopyWorker(
            "hostile",
            timeout=1.0 if end == "timeout" else None,
            source="root",
            dest=dest,
            reverse=True,
            transport=transport,
        )
        async with Task(transport=transport) as task:
            task.schedule(worker)
            if end == "abort":
                # If it ends before, the outcome below says why.
                while server.asked < 100 and not worker.closed:  # noqa: ASYNC110  # nobody tells
                    await trio.sleep(0.005)
                task.abort()
    outcome = worker.results()["hostile"].outcome
    assert outcome == (Aborted() if end == "abort" else TimedOut(1.0))
    assert not [path for path in dest.rglob("*") if ".trioshell-" in path.name]


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_no_sftp(tmp_path: Path, way: type[Any]) -> None:
    numbers = itertools.count()
    server = HostileSftp(reply={STAT: lambda number: b"\xff" * 5000 + b"%d" % next(numbers)})
    with reached(tmp_path, way, lambda: server) as transport:
        async with Task(transport=transport) as task:
            worker = task.rcopy("root", tmp_path, "hostile")
    outcome = worker.results()["hostile"].outcome
    assert isinstance(outcome, Unreachable)
    assert "says something that is no SFTP" in outcome.reason
