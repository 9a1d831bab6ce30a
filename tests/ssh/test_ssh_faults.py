"""What a server can do wrong: each ends in time, in the right outcome, and disturbs nobody else."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio

from trioshell import Exited, Read, Task, TimedOut, Unreachable, run
from trioshell._results import Outcome
from trioshell._targets import resolve_targets
from trioshell.testing import SshCluster
from trioshell.testing._cluster_faults import (
    ChangedHostKey,
    DropsBeforeAuth,
    DropsInOutput,
    Fault,
    GoesSilent,
    HangsInAuth,
    HangsInChannel,
    HangsInKex,
    NeverCloses,
    NobodyListens,
    RefusesKey,
    RevokedHostKey,
    SaysNothing,
    SpeaksGarbage,
    UnknownHostKey,
)
from trioshell.transports import Job, SshTransport

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture) -> object:
    """asyncio says "exception was never retrieved" in its log; there must be no such thing."""
    yield
    bad = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in bad] == []


async def outcomes(
    cluster: SshCluster, command: str = "echo in", connect_timeout: float = 1.5
) -> tuple[Outcome, Outcome]:
    """The outcomes of node1, which has a fault, and of node2, which has none."""
    async with Task(transport=cluster.transport(), connect_timeout=connect_timeout) as task:
        worker = task.shell(command, nodes="node[1-2]")
    results = worker.results()
    await cluster.wait_until(lambda seen: seen.connections_now == 0)
    return results["node1"].outcome, results["node2"].outcome


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (NobodyListens(), r"can't connect to node1 \(127.0.0.1 port \d+\): Connection refused"),
        (SaysNothing(), r"no answer from node1 .* within 1.5 s: waiting for the server's greeting"),
        (HangsInKex(), "waiting for the key exchange"),
        (HangsInAuth(), "waiting for the login"),
        (HangsInChannel(), "waiting for the session"),
        (HangsInChannel("exec"), "waiting for the session"),
        (SpeaksGarbage(), "node1 .*: waiting for the server's greeting"),
        (SpeaksGarbage(b"\xff" * 9000 + b"\n"), "node1 .* failed during the server's greeting"),
        (SpeaksGarbage(b"hello\n", endless=True), "Too many banner lines"),
        (SpeaksGarbage(b"SSH-1.5-old\r\n"), "Unsupported SSH version"),
        (RefusesKey(), "node1 .* refused the login of user"),
        (DropsBeforeAuth(), "closed the connection during .*, tried again and again"),
        (ChangedHostKey(), r"has changed: it shows ssh-ed25519 SHA256:\S+, but \S+ line \d+"),
        (UnknownHostKey(), r"is not known: ssh-ed25519 SHA256:\S+ is not in \S+known_hosts"),
        (RevokedHostKey(), r"is revoked by \S+ line \d+"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, Fault) else "",
)
async def test_a_node_that_cannot_be_reached(fault: Fault, reason: str) -> None:
    async with SshCluster(2, faults={"node1": fault}, shared_host_key=False) as cluster:
        began = trio.current_time()
        faulty, healthy = await outcomes(cluster)
        assert trio.current_time() - began < 8
        assert isinstance(faulty, Unreachable)
        assert re.search(reason, faulty.reason), faulty.reason
        assert healthy == Exited(0)
        assert cluster.processes() == ()


async def test_a_name_that_does_not_resolve() -> None:
    async with SshCluster(1) as cluster:
        transport = cluster.transport()
        async with Task(transport=transport) as task:
            worker = task.shell("echo in", nodes="node1,nosuch.invalid")
        outcome = worker.results()["nosuch.invalid"].outcome
        assert isinstance(outcome, Unreachable)
        assert "nosuch.invalid" in outcome.reason
        assert worker.results()["node1"].outcome == Exited(0)


async def test_a_server_that_drops_some_connections_is_tried_again() -> None:
    async with SshCluster(2, faults={"node1": DropsBeforeAuth(times=3)}) as cluster:
        assert await outcomes(cluster, connect_timeout=10) == (Exited(0), Exited(0))
        assert cluster.statistics("node1").connections == 4


async def test_max_startups_of_a_real_server(start_sshd: Callable[..., Sshd]) -> None:
    server = start_sshd("MaxStartups 2:100:2")
    async with Task(transport=SshTransport(**server.options()), connect_timeout=30) as task:
        worker = task.shell("echo in", nodes="any[1-12]")
    assert {result.outcome for result in worker.results().values()} == {Exited(0)}


async def test_what_came_before_the_drop_is_kept() -> None:
    async with SshCluster(2, faults={"node1": DropsInOutput(70_000)}) as cluster:
        command = "head -c 90000 /dev/zero; exec sleep 1000"
        async with Task(transport=cluster.transport()) as task:
            broken = task.shell(command, nodes="node1")
            fine = task.shell("echo in", nodes="node2")
        result = broken.results()["node1"]
        assert isinstance(result.outcome, Unreachable)
        # The report of the shell that leads the command is among the 70 000 bytes.
        assert 69_900 < len(result.stdout) < 70_000
        assert fine.results()["node2"].outcome == Exited(0)
        assert "the command has been ended there" in result.outcome.reason


async def test_a_node_that_goes_silent_in_the_middle_is_noticed_in_time() -> None:
    async with SshCluster(2) as cluster:
        transport = cluster.transport(keepalive=0.8)
        async with Task(transport=transport) as task:
            silent = task.shell("echo on; exec sleep 1000", nodes="node1")
            patient = task.shell("sleep 3; echo done", nodes="node2")  # silent too, but there
            async for event in silent.events():
                if isinstance(event, Read):
                    cluster.fault("node1", GoesSilent())
                    began = trio.current_time()
            took = trio.current_time() - began
        outcome = silent.results()["node1"].outcome
        assert isinstance(outcome, Unreachable)
        assert "not responding to keepalive" in outcome.reason
        assert "may still run there" in outcome.reason
        # Twice the keepalive; a tick; and the time to try to reach it again.
        assert 1.5 < took < 1.6 + 1 + 5
        assert patient.results()["node2"].outcome == Exited(0)


async def test_a_flood_ends_with_its_timeout() -> None:
    async with SshCluster(2) as cluster:
        async with Task(transport=cluster.transport(), keep_results=False) as task:
            flood = task.shell("yes", nodes="node1", timeout=0.5)
            fine = task.shell("echo in", nodes="node2")
        assert flood.results()["node1"].outcome == TimedOut(0.5)
        assert fine.results()["node2"].outcome == Exited(0)


async def test_output_that_nobody_reads_stays_on_the_target() -> None:
    async with SshCluster(1) as cluster, cluster.transport() as transport:
        written = cluster.root("node1") / "written"
        command = (
            "for i in 1 2 3 4 5 6 7 8 9 10; do head -c 1000000 /dev/zero; echo $i >>written; done"
        )
        session = await transport.open(Job(command, resolve_targets("node1")), "node1", 0)
        # More than enough for all of it, if anybody took it. What does not happen tells nobody.
        await trio.sleep(1.0)
        assert len(written.read_bytes().split()) < 5
        size = 0
        while chunks := await session.receive():
            size += sum(len(data) for _, data in chunks)
        assert (size, session.exit) == (10_000_000, Exited(0))
        await session.aclose()


async def test_a_close_that_is_never_answered() -> None:
    async with SshCluster(2, faults={"node1": NeverCloses()}) as cluster:
        async with Task(transport=cluster.transport()) as task:
            worker = task.shell("echo in", nodes="node[1-2]")
        assert {result.outcome for result in worker.results().values()} == {Exited(0)}


async def test_many_hosts_at_once() -> None:
    async with SshCluster(60) as cluster:
        worker = await run(
            "hostname", cluster.nodes, fanout=30, transport=cluster.transport(), connect_timeout=60
        )
        results = worker.results()
        assert [(str(node), result.stdout) for node, result in results.items()] == [
            (f"node{n}", b"node%d\n" % n) for n in range(1, 61)
        ]
        assert cluster.statistics().logins == 60
        await cluster.wait_until(lambda seen: seen.connections_now == 0)
