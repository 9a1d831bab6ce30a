"""Connections: shared, replaced, bounded, closed; and the ways around a direct one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trioshell
from trioshell import EventHandler, Exited, Task, TimedOut, Unreachable, Worker, run
from trioshell._targets import resolve_targets
from trioshell.testing import SshCluster
from trioshell.transports import Job, Session, SshTransport, _ssh_pool

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd


async def opened(transport: SshTransport, command: str, node: str = "node1") -> Session:
    job = Job(command, resolve_targets(node), stdin=True)
    transport.check(job)
    return await transport.open(job, node, 0)


def logins(server: Sshd) -> int:
    return (server.directory / "log").read_text().count("Accepted ")


async def test_workers_of_a_task_share_one_connection_a_node() -> None:
    async with SshCluster(2) as cluster:
        async with Task(transport=cluster.transport()) as task:
            first = task.shell("echo 1", nodes="node[1-2]")
            await first.wait()
            again = [task.shell(f"echo {n}", nodes="node[1-2]") for n in range(5)]
        assert {r.outcome for w in [first, *again] for r in w.results().values()} == {Exited(0)}
        assert cluster.statistics().logins == 2
        assert cluster.statistics().sessions == 12
        await cluster.wait_until(lambda seen: seen.connections_now == 0)


async def test_a_transport_that_is_entered_keeps_its_connections_between_runs() -> None:
    async with SshCluster(1) as cluster:
        async with cluster.transport() as transport:
            for n in range(3):
                worker = await run(f"exit {n}", "node1", transport=transport)
                assert worker.results()["node1"].outcome == Exited(n)
            assert cluster.statistics().logins == 1
        await cluster.wait_until(lambda seen: seen.connections_now == 0)
        transport = cluster.transport()
        for _ in range(2):  # each enters and leaves it
            await run("true", "node1", transport=transport)
        assert cluster.statistics().logins == 3


async def test_more_sessions_than_a_connection_may_have_get_another_one() -> None:
    async with SshCluster(1, max_sessions=2) as cluster, cluster.transport() as transport:
        sessions = [await opened(transport, "echo on; cat") for _ in range(5)]
        assert cluster.statistics().connections_now == 3
        for session in sessions:
            await session.end(2.0)  # for its guard there is no place, except on one more
            await session.aclose()
        # None of the three is over its limit now, and the places are used again.
        before = cluster.statistics().logins
        again = [await opened(transport, "exit 0") for _ in range(2)]
        assert cluster.statistics().logins == before
        for session in again:
            while await session.receive():
                pass
            await session.aclose()


async def test_max_sessions_1_of_a_real_server(start_sshd: Callable[..., Sshd]) -> None:
    server = start_sshd("MaxSessions 1")
    async with Task(transport=SshTransport(**server.options()), kill_grace=0.2) as task:
        workers = [task.shell("trap '' TERM; sleep 1000; sleep 1000", nodes="any", timeout=0.5)]
        workers += [task.shell("echo in", nodes="any") for _ in range(3)]
    outcomes = [worker.results()["any"].outcome for worker in workers]
    assert outcomes == [TimedOut(0.5), *[Exited(0)] * 3]
    assert server.commands() == []


async def test_a_server_that_allows_no_session(start_sshd: Callable[..., Sshd]) -> None:
    server = start_sshd("MaxSessions 0")
    worker = await run("echo in", "any", transport=SshTransport(**server.options()))
    outcome = worker.results()["any"].outcome
    assert isinstance(outcome, Unreachable)
    assert "open" in outcome.reason


async def test_a_connection_that_broke_while_it_was_idle_is_replaced() -> None:
    async with SshCluster(1) as cluster, cluster.transport() as transport:
        for logins in (1, 2, 3):
            worker = await run("echo in", "node1", transport=transport)
            assert worker.results()["node1"].outcome == Exited(0)
            assert cluster.statistics().logins == logins
            cluster.drop("node1")


async def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ssh_pool, "_IDLE_SECONDS", 0.3)
    async with SshCluster(1) as cluster, cluster.transport() as transport:
        await run("echo in", "node1", transport=transport)
        session = await opened(transport, "echo on; read _")
        await cluster.wait_until(lambda seen: seen.connections_now == 1)
        await trio.sleep(0.7)  # it has a session, so it is not idle: nothing must happen
        assert cluster.statistics().connections_now == 1
        await session.send_eof()
        while await session.receive():
            pass
        await session.aclose()
        await cluster.wait_until(lambda seen: seen.connections_now == 0)
        await run("echo in", "node1", transport=transport)
        assert cluster.statistics().logins == 2


async def test_there_are_never_too_many_idle_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ssh_pool, "_MOST_IDLE", 3)
    async with SshCluster(8) as cluster, cluster.transport() as transport:
        await run("echo in", cluster.nodes, transport=transport)
        await cluster.wait_until(lambda seen: seen.connections_now == 3)


def test_without_free_descriptors_it_waits_and_goes_on(sshd: Sshd) -> None:
    script = Path(__file__).with_name("few_descriptors.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", script, sshd.config_file, sshd.known_hosts],
        env=os.environ | {"PYTHONPATH": str(Path(trioshell.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr.strip()) == ("{Exited(rc=0)}", "")


async def test_nothing_of_the_loop_is_left_after_the_last_user() -> None:
    async with SshCluster(1) as cluster:
        transport = cluster.transport()
        async with transport:
            await run("echo in", "node1", transport=transport)
            pool = transport._pool
            assert pool is not None
            bridge = pool.bridge
        assert transport._pool is None
        assert bridge.loop.is_closed()
        assert asyncio.all_tasks(bridge.loop) == set()


async def test_cancelling_who_came_first_does_not_disturb_who_came_second() -> None:
    async with SshCluster(1) as cluster, cluster.transport() as transport:
        first = trio.CancelScope()
        sessions = []

        async def one() -> None:
            with first:
                await opened(transport, "cat")

        async def another() -> None:
            sessions.append(await opened(transport, "cat"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            nursery.start_soon(another)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
        await sessions[0].send(b"still here")
        assert b"".join(data for _, data in await sessions[0].receive()) == b"still here"
        await sessions[0].aclose()


async def test_asyncio_in_other_threads_stays_what_it_was() -> None:
    async with SshCluster(1) as cluster:
        await run("echo in", "node1", transport=cluster.transport())
    found = []

    def elsewhere() -> None:
        async def look() -> None:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            loop.call_soon(lambda: future.set_result(asyncio.get_running_loop()))
            found.append((type(loop).__module__.split(".")[0], await future is loop))

        asyncio.run(look())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [("asyncio", True)]


# -- other ways ---------------------------------------------------------------------------


async def test_nodes_behind_a_jump_host_share_one_connection_to_it(
    start_sshd: Callable[..., Sshd],
) -> None:
    server = start_sshd()
    transport = SshTransport(**server.options(), jump="root@gate", host_keys="strict")
    async with transport:
        async with Task(transport=transport) as task:
            worker = task.shell("echo $SSH_CONNECTION", nodes="behind[1-4]")
        assert {r.outcome for r in worker.results().values()} == {Exited(0)}
        late = await run("sleep 1000", "behind1", transport=transport, timeout=0.3)
        assert late.results()["behind1"].outcome == TimedOut(0.3)
        assert logins(server) == 5
    assert server.commands() == []


async def test_a_chain_of_jump_hosts_and_a_jump_host_of_the_config(
    start_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    server = start_sshd()
    config = tmp_path / "config"
    config.write_text(f"Include {server.config_file}\nHost inner\n  ProxyJump gate1,gate2\n")
    worker = await run("echo in", "inner", transport=SshTransport(**server.options(config=config)))
    assert worker.results()["inner"].outcome == Exited(0)
    assert logins(server) == 3


async def test_a_node_behind_a_jump_host_that_falls_silent_is_noticed(
    start_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    gate, inner = start_sshd(), start_sshd()
    config = tmp_path / "config"
    own = f"Host inner\n  Port {inner.port}\n  ProxyJump gate\nMatch all\n"
    config.write_text(f"{own}Include {gate.config_file}\n")
    known = tmp_path / "known_hosts"
    known.write_text(gate.known_hosts.read_text() + inner.known_hosts.read_text())
    transport = SshTransport(config=config, known_hosts=known, user="root", keepalive=0.5)
    async with Task(transport=transport) as task:
        worker = task.shell("echo on; exec sleep 1000", nodes="inner", handler=Stopper(inner))
    inner.signal_connections(signal.SIGCONT)
    outcome = worker.results()["inner"].outcome
    assert isinstance(outcome, Unreachable)
    assert "not responding to keepalive" in outcome.reason
    assert "ended there" in outcome.reason


class Stopper(EventHandler):
    """Makes a server silent at the first word of a command."""

    def __init__(self, server: Sshd) -> None:
        self.server = server

    def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
        self.server.signal_connections(signal.SIGSTOP)


async def test_a_jump_host_that_cannot_reach_it_says_so(start_sshd: Callable[..., Sshd]) -> None:
    server = start_sshd("PermitOpen 127.0.0.1:1")
    worker = await run("true", "any", transport=SshTransport(**server.options(), jump="gate"))
    outcome = worker.results()["any"].outcome
    assert isinstance(outcome, Unreachable)
    assert "jump host gate" in outcome.reason


RELAY = """
import os, socket, sys, threading
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def copy(read, write, end):
    while data := read(65536):
        write(data)
    end()
threading.Thread(target=copy, args=(
    lambda n: os.read(0, n), sock.sendall, lambda: sock.shutdown(1)), daemon=True).start()
copy(sock.recv, lambda data: os.write(1, data), lambda: os._exit(0))
"""


async def test_a_proxy_command_is_run_and_ended(sshd: Sshd, tmp_path: Path) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    transport = SshTransport(
        **sshd.options(), options={"ProxyCommand": f"{sys.executable} {relay} %h %p"}
    )
    async with transport:
        worker = await run("head -c 1000000 /dev/zero", "any", transport=transport)
        result = worker.results()["any"]
        assert (result.outcome, len(result.stdout)) == (Exited(0), 1_000_000)


async def test_a_proxy_command_is_not_run_by_a_shell_that_reads_bashrc_first(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".bashrc").write_text("echo from bashrc; sleep 60\n")
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    transport = SshTransport(
        **sshd.options(), options={"ProxyCommand": f"{sys.executable} {relay} %h %p"}
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("SHLVL", "0")
    worker = await run("true", "any", transport=transport, connect_timeout=5)
    assert worker.results()["any"].outcome == Exited(0)


@pytest.mark.parametrize("command", ["exit 1", "exec /nosuchprogram", "echo nonsense; sleep 1000"])
async def test_a_proxy_command_that_is_no_way(sshd: Sshd, command: str) -> None:
    transport = SshTransport(**sshd.options(), options={"ProxyCommand": command})
    worker = await run("true", "any", transport=transport, connect_timeout=1.5)
    outcome = worker.results()["any"].outcome
    assert isinstance(outcome, Unreachable)
    assert "greeting" in outcome.reason


async def test_a_name_cannot_put_anything_into_a_proxy_command(sshd: Sshd, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    options = {"ProxyCommand": "echo %n"}
    transport = SshTransport(**sshd.options(), options=options)
    with pytest.raises(ValueError, match="can't be put into the command"):
        transport.check(Job("true", resolve_targets(f"x;touch$IFS{proof}")))
    assert not proof.exists()
