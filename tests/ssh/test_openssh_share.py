"""Connections shared by ssh processes: one login a node, and a guard that is there before."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio

from trioshell import CopyWorker, Exited, Read, Signaled, Task, Unreachable, run
from trioshell.testing import SshCluster, check_transport
from trioshell.testing._cluster_faults import DropsBeforeAuth, NobodyListens
from trioshell.transports import OpenSshTransport

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd

TREE = ("sh", "-c", "trap '' TERM; (sleep 1000 & sleep 1000 & wait) & echo on; wait; sleep 1000")


async def test_the_contract_is_kept_over_shared_connections() -> None:
    async with SshCluster(4, faults={"node4": NobodyListens()}) as cluster:
        await check_transport(cluster.openssh(share=True), "node[1-3]", unreachable="node4")
        assert cluster.statistics().logins == 3
        await cluster.wait_quiet()
        await cluster.wait_until(lambda seen: seen.connections_now == 0)


@pytest.mark.soak  # as over connections of the embedded cluster, and slower
async def test_the_contract_is_kept_with_a_real_server(sshd: Sshd) -> None:
    exclude = dict.fromkeys(("unreachable", "task_unreachable"), "every name leads to this server")
    exclude["leaks"] = "tried on the embedded cluster"
    transport = OpenSshTransport(**sshd.options(share=True))
    # More sessions than MaxSessions lets through: the rest log in by themselves.
    await check_transport(transport, "any[1-2]", exclude=exclude, clause_timeout=60)


async def test_one_login_serves_all_that_a_transport_does() -> None:
    async with SshCluster(2) as cluster:
        transport = cluster.openssh(share=True)
        async with transport:
            for _ in range(3):
                worker = await run("hostname; exit 3", cluster.nodes, transport=transport)
                assert {r.outcome for r in worker.results().values()} == {Exited(3)}
            worker = await run("kill -KILL $$", "node1", transport=transport)
            assert worker.results()["node1"].outcome == Signaled(9)
            copies = CopyWorker(
                cluster.nodes, source=cluster.config_file, dest="copied", transport=transport
            )
            async with Task(transport=transport) as task:
                task.schedule(copies)
            assert {r.outcome for r in copies.results().values()} == {Exited(0)}
            assert cluster.statistics().logins == 2
            assert cluster.statistics().connections_now == 2
        await cluster.wait_until(lambda seen: seen.connections_now == 0)


async def test_sessions_that_a_connection_does_not_take_log_in_by_themselves() -> None:
    async with SshCluster(1, max_sessions=3) as cluster:
        async with Task(transport=cluster.openssh(share=True)) as task:
            workers = [task.shell(f"read _; echo {n}", nodes="node1") for n in range(6)]
            await cluster.wait_until(lambda seen: seen.commands_now >= 7)  # and the guard
            for worker in workers:
                worker.write(b"\n")
        for n, worker in enumerate(workers):
            assert worker.results()["node1"].stdout == b"%d\n" % n
        assert cluster.statistics().logins == 5


async def test_when_the_connection_breaks_the_node_itself_ends_what_ran_over_it() -> None:
    async with SshCluster(1) as cluster:
        async with Task(transport=cluster.openssh(share=True)) as task:
            worker = task.shell(TREE, nodes="node1")
            async for event in worker.events():
                if isinstance(event, Read):
                    # Nobody will be able to come back and look.
                    cluster.fault("node1", NobodyListens())
                    cluster.drop("node1")
        assert isinstance(worker.results()["node1"].outcome, Unreachable)
        await cluster.wait_quiet()


async def test_a_broken_connection_is_replaced() -> None:
    async with SshCluster(1) as cluster, cluster.openssh(share=True) as transport:
        for logins in (1, 2, 3):
            worker = await run("hostname", "node1", transport=transport)
            assert worker.results()["node1"].stdout == b"node1\n"
            assert cluster.statistics().logins == logins
            cluster.drop("node1")
            await cluster.wait_until(lambda seen: seen.connections_now == 0)


async def test_a_broken_connection_ends_its_commands_with_a_reason(
    start_sshd: Callable[..., Sshd],
) -> None:
    server = start_sshd()
    async with Task(transport=OpenSshTransport(**server.options(share=True))) as task:
        worker = task.shell(TREE, nodes="any")
        async for event in worker.events():
            if isinstance(event, Read):
                server.signal_connections(signal.SIGKILL)
    outcome = worker.results()["any"].outcome
    assert isinstance(outcome, Unreachable)
    assert "closed by the other side" in outcome.reason
    with trio.fail_after(5):
        while server.commands():  # noqa: ASYNC110  # nobody tells
            await trio.sleep(0.01)


async def test_a_dropped_login_is_tried_again() -> None:
    async with SshCluster(1, faults={"node1": DropsBeforeAuth(times=2)}) as cluster:
        worker = await run("hostname", "node1", transport=cluster.openssh(share=True))
        assert worker.results()["node1"].outcome == Exited(0)
        assert cluster.statistics().connections == 3


async def test_what_was_left_in_the_background_is_let_live_when_the_connection_goes() -> None:
    async with SshCluster(1) as cluster:
        await run(
            "sleep 1000 >/dev/null 2>&1 & true", "node1", transport=cluster.openssh(share=True)
        )
        await cluster.wait_until(lambda seen: seen.connections_now == 0)
        assert [process.command for process in cluster.processes()] == ["sleep 1000"]


def test_share_is_a_flag() -> None:
    with pytest.raises(TypeError, match="share"):
        OpenSshTransport(share="yes")  # type: ignore[arg-type]  # that is the point
