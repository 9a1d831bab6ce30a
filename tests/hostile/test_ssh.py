"""Servers that break the protocol: one outcome in time, and nobody else is disturbed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.hostile.attacks import CASES, Case
from tests.hostile.server import Attack, attacked
from trioshell import Exited, Task
from trioshell.transports import OpenSshTransport, SshTransport

# What our memory may grow by under any attack. The server is in the same process, and a fetched
# output too.
_MOST_BYTES = 100 << 20


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture) -> object:
    yield
    assert [record.getMessage() for record in caplog.records] == []


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def attack(
    place: Path, cases: Sequence[Case], transport: type[Any], seconds: float
) -> list[tuple[Case, Any]]:
    """Run a command on all hostile nodes and a friendly one at once; each case and its result."""
    before = most = resident_bytes()

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, resident_bytes())
            await trio.sleep(0.02)

    given = max(case.stdin for case in cases)
    nodes = {f"hostile{number}": case.attack for number, case in enumerate(cases)}
    with attacked(place, {**nodes, "friendly": Attack()}) as config:
        way = transport(config=config, known_hosts=place / "known_hosts")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            with trio.fail_after(60):
                async with Task(transport=way, connect_timeout=3, kill_grace=0.1) as task:
                    worker = task.shell("true", nodes=[*nodes, "friendly"], timeout=seconds)
                    if given:
                        worker.write(bytes(given))
                        worker.set_write_eof()
                    friendly = task.shell("true", nodes="friendly", timeout=60)
            nursery.cancel_scope.cancel()
    for one in (worker, friendly):
        assert one.results()["friendly"].outcome == Exited(0)
        assert one.results()["friendly"].stdout == b"in\n"
    assert most - before < _MOST_BYTES
    return [(case, worker.results()[node]) for node, case in zip(nodes, cases, strict=True)]


def check(results: Iterable[tuple[Case, Any]], way: str) -> None:
    wrong = [
        f"{case}: {result.outcome}"
        for case, result in results
        if not re.search(getattr(case, way), str(result.outcome)) or len(str(result.outcome)) > 600
    ]
    assert wrong == []


QUIET = [case for case in CASES if not case.stdin]
FED = [case for case in CASES if case.stdin]


@pytest.mark.parametrize("cases", [QUIET, FED], ids=["quiet", "fed"])
async def test_in_this_process(tmp_path: Path, cases: list[Case]) -> None:
    check(await attack(tmp_path, cases, SshTransport, 1.0), "ssh")


@pytest.mark.soak
@pytest.mark.parametrize("cases", [QUIET, FED], ids=["quiet", "fed"])
async def test_by_the_users_own_ssh(tmp_path: Path, cases: list[Case]) -> None:
    check(await attack(tmp_path, cases, OpenSshTransport, 2.0), "openssh")


async def test_what_came_without_a_report_is_kept_when_time_is_up(tmp_path: Path) -> None:
    case = Case(Attack(run=lambda channel: channel.write(b"half a")), "", "")
    [(_, result)] = await attack(tmp_path, [case], SshTransport, 0.2)
    assert result.stdout == b"half a"
