"""What ends a command on the target: abort, timeout, a broken connection; nothing is left there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import trioshell
from trioshell import Aborted, Exited, Read, Signaled, Task, TimedOut, Unreachable, run
from trioshell._errors import TransportError
from trioshell._targets import resolve_targets
from trioshell.testing import SshCluster
from trioshell.testing._cluster_faults import DropsInOutput, GoesSilent, NobodyListens
from trioshell.transports import SshTransport
from trioshell.transports._base import Job, Session

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd, Users

# Each says "on" when all of it runs, and none of it ends by itself. In sh, for whatever the
# login shell is: as vectors.
COMMANDS = {
    "plain": "echo on; exec sleep 1000",
    "ignores TERM": "trap '' TERM; echo on; sleep 1000; sleep 1000",
    "pipeline": "sleep 1000 | sleep 1000 | (echo on >&2; sleep 1000)",
    "tree": "(trap '' TERM; (sleep 1000 & sleep 1000 & wait) & wait) & echo on; wait",
    "group of its own": "timeout 1000 sh -c 'trap \"\" TERM; echo on >&2; sleep 1000; sleep 1000'",
    "background and then": "sleep 1000 & sleep 1000 & echo on; wait",
}


def left_on(cluster: SshCluster) -> list[str]:
    """What runs there and is not the guard, which stays for as long as there is a session."""
    return [p.command for p in cluster.processes() if not is_guard(p.command)]


def left_of(server: Sshd) -> list[str]:
    return [command for command in server.commands() if not is_guard(command)]


def is_guard(command: str) -> bool:
    return "trap '' HUP PIPE" in command


async def first_output(session: Session) -> None:
    data = b""
    while b"on\n" not in data:
        chunks = await session.receive()
        assert chunks, session.exit
        data += b"".join(chunk for _, chunk in chunks)


async def opened(
    transport: SshTransport, command: str, node: str = "node1", *, stdin: bool = False
) -> Session:
    job = Job(("sh", "-c", command), resolve_targets(node), stdin=stdin, stderr=True)
    transport.check(job)
    return await transport.open(job, node, 0)


# -- ended by us -------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_nothing_is_left_after_an_end(command: str) -> None:
    async with SshCluster(1) as cluster, cluster.transport() as transport:
        session = await opened(transport, command)
        await first_output(session)
        assert cluster.processes()
        await session.end(0.3)
        assert left_on(cluster) == []  # when end has returned, and not some time later
        assert session.exit is None
        while await session.receive():
            pass
        await session.aclose()
        await cluster.wait_until(lambda seen: seen.commands_now == 0)  # the guard has gone too


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_nothing_is_left_after_a_close(command: str) -> None:
    async with SshCluster(1) as cluster, cluster.transport() as transport:
        session = await opened(transport, command)
        await first_output(session)
        await session.aclose()
        assert left_on(cluster) == []


@pytest.mark.parametrize("name", ["root", "sh", "csh", "fish"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_nothing_is_left_on_a_real_server(
    sshd: Sshd, users: Users, name: str, command: str
) -> None:
    # The leak check around each test finds what carries this test run's mark.
    async with SshTransport(**sshd.options(getattr(users, name))) as transport:
        session = await opened(transport, command)
        await first_output(session)
        assert sshd.commands()
        await session.end(0.3)
        assert left_of(sshd) == []
        await session.aclose()


async def test_timeout_and_abort_are_told_apart_and_end_all_of_it() -> None:
    command = ("sh", "-c", COMMANDS["tree"])
    async with SshCluster(3) as cluster:
        async with Task(transport=cluster.transport(), kill_grace=0.3) as task:
            late = task.shell(command, nodes="node[1-2]", timeout=0.6)
            aborted = task.shell(command, nodes="node3")
            async for event in aborted.events():
                if isinstance(event, Read):
                    aborted.abort()
        outcomes = [result.outcome for result in late.results().values()]
        assert outcomes == [TimedOut(0.6), TimedOut(0.6)]
        assert aborted.results()["node3"].outcome == Aborted()
        assert left_on(cluster) == []


async def test_what_ended_by_itself_leaves_its_daemon_alone() -> None:
    async with SshCluster(1) as cluster:
        daemon = "sleep 1000 >/dev/null 2>&1 & echo on"
        worker = await run(daemon, "node1", transport=cluster.transport())
        assert worker.results()["node1"].outcome == Exited(0)
        assert [process.command for process in cluster.processes()] == ["sleep 1000"]


async def test_many_sessions_of_one_node_are_ended_over_one_login() -> None:
    async with SshCluster(1) as cluster, cluster.transport() as transport:
        sessions = [await opened(transport, COMMANDS["ignores TERM"]) for _ in range(5)]
        async with trio.open_nursery() as nursery:
            for session in sessions:
                nursery.start_soon(session.end, 0.3)
        assert left_on(cluster) == []
        assert cluster.statistics().logins == 1
        for session in sessions:
            await session.aclose()


async def test_a_command_that_ends_while_it_is_being_ended_has_ended_by_itself() -> None:
    async with SshCluster(1) as cluster, cluster.transport() as transport:
        session = await opened(transport, "echo on; read _; exit 7", stdin=True)
        await first_output(session)
        await session.send(b"\n")
        await cluster.wait_until(lambda seen: seen.commands_now == 0)
        await session.end(5.0)
        assert session.exit == Exited(7)
        assert list(await session.receive()) == []
        await session.aclose()


async def test_an_end_that_cannot_be_confirmed_says_so_in_time() -> None:
    async with SshCluster(1) as cluster, cluster.transport() as transport:
        session = await opened(transport, COMMANDS["plain"])
        await first_output(session)
        cluster.fault("node1", GoesSilent())
        began = trio.current_time()
        with pytest.raises(TransportError, match=r"node1 .*may still run there \(process \d+\)"):
            await session.end(0.1)
        assert trio.current_time() - began < 5
        assert list(await session.receive()) == []
        await session.aclose()
        assert left_on(cluster)


async def test_a_command_that_reports_no_group_can_not_be_ended_for_sure(
    start_sshd: Callable[..., Sshd],
) -> None:
    server = start_sshd("ForceCommand echo on; exec cat")
    async with SshTransport(**server.options()) as transport:
        session = await opened(transport, "echo is not run", stdin=True)
        await first_output(session)
        with pytest.raises(TransportError, match="did not say which process group"):
            await session.end(0.2)  # and sshd refuses to signal a forced command
        await session.aclose()


# -- a broken connection -----------------------------------------------------------------


async def outcome_of(cluster: SshCluster, command: str, **options: object) -> object:
    worker = await run(("sh", "-c", command), "node1", transport=cluster.transport(**options))
    return worker.results()["node1"].outcome


async def test_a_command_whose_connection_breaks_is_ended_over_another() -> None:
    async with SshCluster(1, faults={"node1": DropsInOutput(2_000)}) as cluster:
        outcome = await outcome_of(cluster, "head -c 5000 /dev/zero; exec sleep 1000")
        assert isinstance(outcome, Unreachable)
        assert "closed by the other side" in outcome.reason
        assert "the command has been ended there" in outcome.reason
        assert left_on(cluster) == []


async def test_if_it_cannot_be_reached_again_the_outcome_says_what_may_be_left() -> None:
    async with SshCluster(1) as cluster:
        async with Task(transport=cluster.transport()) as task:
            worker = task.shell(COMMANDS["plain"], nodes="node1")
            async for event in worker.events():
                if isinstance(event, Read):
                    cluster.fault("node1", NobodyListens())
                    cluster.drop("node1")
        outcome = worker.results()["node1"].outcome
        assert isinstance(outcome, Unreachable)
        found = re.search(r"may still run there \(process (\d+)\)", outcome.reason)
        assert found, outcome.reason
        assert int(found[1]) in [process.pid for process in cluster.processes()]


async def test_a_node_that_falls_silent_is_noticed_by_the_keepalive() -> None:
    async with SshCluster(2) as cluster:
        async with Task(transport=cluster.transport(keepalive=1)) as task:
            silent = task.shell("echo on; exec sleep 1000", nodes="node1")
            async for event in silent.events():
                if isinstance(event, Read):
                    cluster.fault("node1", GoesSilent())
                    began = trio.current_time()
                    fine = task.shell("echo fine", nodes="node2")
            took = trio.current_time() - began
        outcome = silent.results()["node1"].outcome
        assert isinstance(outcome, Unreachable)
        assert "keepalive" in outcome.reason
        assert "may still run there" in outcome.reason
        assert took < 20  # twice the keepalive, and some seconds for the try to reach it again
        assert fine.results()["node2"].outcome == Exited(0)


async def test_a_server_that_dies_does_not_keep_its_commands_alive(
    start_sshd: Callable[..., Sshd],
) -> None:
    server = start_sshd()
    async with SshTransport(**server.options()) as transport:
        session = await opened(transport, COMMANDS["tree"])
        await first_output(session)
        left = server.commands()
        assert left
        server.signal_connections(signal.SIGKILL)
        while await session.receive():
            pass
        assert isinstance(session.exit, Unreachable)
        assert "ended there" in session.exit.reason
        assert left_of(server) == []
        await session.aclose()


# -- 255 and its neighbours --------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("exit 255", Exited(255)),
        ("echo 'Connection to x closed by remote host.' >&2; exit 255", Exited(255)),
        ("kill -KILL $$", Signaled(9)),
        ("kill -TERM 0; sleep 1000", Signaled(15)),
    ],
)
async def test_255_of_the_command_is_told_from_that_of_ssh(command: str, outcome: object) -> None:
    async with SshCluster(1) as cluster:
        assert await outcome_of(cluster, command) == outcome


async def test_words_that_ssh_might_have_said_are_the_commands_own() -> None:
    async with SshCluster(1) as cluster:
        words = "Connection to x closed by remote host."
        worker = await run(
            f"echo '{words}' >&2; exit 255", "node1", stderr=True, transport=cluster.transport()
        )
        result = worker.results()["node1"]
        assert (result.outcome, result.stderr) == (Exited(255), words.encode() + b"\n")


async def test_a_connection_that_hangs_is_noticed_and_the_command_ended_over_another(
    start_sshd: Callable[..., Sshd],
) -> None:
    server = start_sshd()
    transport = SshTransport(**server.options(), keepalive=0.6)
    async with transport:
        session = await opened(transport, COMMANDS["ignores TERM"])
        await first_output(session)
        server.signal_connections(signal.SIGSTOP)
        began = trio.current_time()
        while await session.receive():
            pass
        assert trio.current_time() - began < 1.2 + 1 + 4
        assert isinstance(session.exit, Unreachable)
        assert "not responding to keepalive" in session.exit.reason
        assert "ended there" in session.exit.reason
        await session.aclose()
        server.signal_connections(signal.SIGCONT)
    assert left_of(server) == []


async def test_a_client_that_is_killed_takes_its_commands_with_it(sshd: Sshd, users: Users) -> None:
    script = (
        "import sys, trio, trioshell\n"
        "from trioshell.transports import SshTransport\n"
        "class Say(trioshell.EventHandler):\n"
        "    def ev_read(self, worker, node, sname, msg): print(msg, flush=True)\n"
        "async def main(config, known_hosts, user):\n"
        "    transport = SshTransport(config=config, known_hosts=known_hosts, user=user)\n"
        "    command = 'trap \"\" TERM; sleep 1.5; echo on; sleep 1000; sleep 1000'\n"
        "    argv = ('sh', '-c', command)\n"
        "    await trioshell.run(argv, 'any', transport=transport, handler=Say())\n"
        "trio.run(main, *sys.argv[1:])\n"
    )
    arguments = [str(sshd.config_file), str(sshd.known_hosts), users.sh]
    root = str(Path(trioshell.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline()  # it has run for long enough that a guard knows of it
        assert left_of(sshd)
        client.kill()
    with trio.fail_after(10):
        while sshd.commands():  # noqa: ASYNC110  # nobody tells; the guard is one of them
            await trio.sleep(0.05)
