"""Servers that break the protocol: one outcome in time, and nobody else is disturbed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.hostile.attacks import CASES, Case
from tests.hostile.server import Attack, attacked
from trioshell import Exited, NodeResult, Task
from trioshell.transports import OpenSshTransport, SshTransport

# What our memory may grow by under any attack. The server is in the same process. What a flood of
# output brings is kept, as much of it as is wanted.
_MOST_BYTES = 160 << 20
_KEPT_BYTES = 8 << 20


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture) -> object:
    yield
    assert [record.getMessage() for record in caplog.records] == []


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def attack(
    place: Path, cases: Sequence[Case], transport: type[Any], seconds: float
) -> list[tuple[Case, NodeResult]]:
    """Run commands on all hostile nodes and a friendly one at once; each case and its result."""
    before = most = resident_bytes()

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, resident_bytes())
            await trio.sleep(0.02)

    nodes = {f"hostile{number}": case for number, case in enumerate(cases)}
    attacks = {node: case.attack for node, case in nodes.items()}
    with attacked(place, {**attacks, "friendly": Attack()}) as config:
        way = transport(config=config, known_hosts=place / "known_hosts")
        workers = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            with trio.fail_after(60):
                async with Task(
                    transport=way,
                    connect_timeout=3,
                    kill_grace=0.1,
                    max_output_bytes=_KEPT_BYTES,
                ) as task:
                    for given in sorted({case.stdin for case in cases}):
                        fed = [node for node, case in nodes.items() if case.stdin == given]
                        worker = task.shell("true", nodes=[*fed, "friendly"], timeout=seconds)
                        if given:
                            worker.write(bytes(given))
                            worker.set_write_eof()
                        workers.append(worker)
            nursery.cancel_scope.cancel()
    results: dict[Any, NodeResult] = {}
    for worker in workers:
        results |= worker.results()
        friendly = results.pop("friendly")
        assert (friendly.outcome, friendly.stdout) == (Exited(0), b"in\n")
    assert most - before < _MOST_BYTES
    return [(case, results[node]) for node, case in nodes.items()]


def wrong(results: Iterable[tuple[Case, NodeResult]], way: str) -> Iterator[str]:
    """What came out otherwise than it should."""
    for case, result in results:
        told = str(result.outcome)
        if not re.search(getattr(case, way), told) or len(told) > 600:
            yield f"{case}: {told}"
        if case.stdout not in (None, result.stdout):
            yield f"{case}: its output is {result.stdout!r}"


async def test_in_this_process(tmp_path: Path) -> None:
    assert list(wrong(await attack(tmp_path, CASES, SshTransport, 1.0), "ssh")) == []


@pytest.mark.soak
async def test_by_the_users_own_ssh(tmp_path: Path) -> None:
    cases = [replace(case, stdout=None) for case in CASES]
    assert list(wrong(await attack(tmp_path, cases, OpenSshTransport, 2.0), "openssh")) == []
