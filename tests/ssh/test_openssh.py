"""The way through ssh(1): how a node is reached, or not, and what passes in both directions."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from trioshell import Aborted, Exited, NotStarted, Read, Task, Unreachable, Worker, run
from trioshell._errors import TransportError
from trioshell._targets import resolve_targets
from trioshell.testing import SshCluster
from trioshell.testing._cluster_faults import (
    ChangedHostKey,
    DropsBeforeAuth,
    Fault,
    Floods,
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
from trioshell.transports import OpenSshTransport
from trioshell.transports._base import Job

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd, Users


async def reason(worker: Worker, node: str) -> str:
    outcome = worker.results()[node].outcome
    assert isinstance(outcome, Unreachable), outcome
    return outcome.reason


# -- not reached -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (NobodyListens(), "Connection refused"),
        (SpeaksGarbage(endless=True), "node2"),
        (RefusesKey(), "node2 refused the login"),
        (ChangedHostKey(), "{known_hosts} line 2 has another one"),
        (UnknownHostKey(), "no ED25519 key for [127.0.0.1]:{port} in {known_hosts}"),
        (RevokedHostKey(), "marked @revoked in {known_hosts}"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else "",
)
async def test_a_node_that_refuses_us_is_unreachable_for_a_reason(fault: Fault, said: str) -> None:
    async with SshCluster(3, faults={"node2": fault}) as cluster:
        worker = await run("hostname", cluster.nodes, transport=cluster.openssh())
        expected = said.format(known_hosts=cluster.known_hosts, port=cluster.port("node2"))
        assert expected in await reason(worker, "node2")
        for node in ("node1", "node3"):
            assert worker.results()[node].stdout == node.encode() + b"\n"


@pytest.mark.parametrize(
    "fault",
    [SaysNothing(), SpeaksGarbage(), HangsInKex(), HangsInAuth(), HangsInChannel("exec")],
    ids=repr,
)
async def test_a_node_that_hangs_is_given_up_after_the_connect_timeout(fault: Fault) -> None:
    async with SshCluster(2, faults={"node2": fault}) as cluster:
        async with Task(transport=cluster.openssh(), connect_timeout=1.5) as task:
            began = trio.current_time()
            worker = task.shell("hostname", nodes=cluster.nodes)
            await worker.wait()
            took = trio.current_time() - began
        await reason(worker, "node2")
        assert worker.results()["node1"].outcome == Exited(0)
        assert 1.4 < took < 6
        await cluster.wait_until(lambda seen: seen.connections_now == 0)


async def test_a_dropped_login_is_tried_again_within_the_connect_timeout() -> None:
    async with SshCluster(1, faults={"node1": DropsBeforeAuth(times=3)}) as cluster:
        worker = await run("hostname", "node1", transport=cluster.openssh())
        assert worker.results()["node1"].outcome == Exited(0)
        assert cluster.statistics().connections == 4
        cluster.fault("node1", DropsBeforeAuth())
        worker = await run("hostname", "node1", transport=cluster.openssh(), connect_timeout=1.0)
        assert "may take no more" in await reason(worker, "node1")
        assert cluster.statistics().connections > 5


async def test_max_startups_of_a_real_server(start_sshd: Callable[..., Sshd]) -> None:
    server = start_sshd("MaxStartups 1:100:1")
    nodes = "n[1-6]"
    transport = OpenSshTransport(**server.options())
    worker = await run("echo in", nodes, transport=transport, connect_timeout=60)
    assert {result.outcome for result in worker.results().values()} == {Exited(0)}


async def test_a_name_that_nobody_knows() -> None:
    transport = OpenSshTransport(config=None)
    worker = await run("true", "no-such-host.invalid", transport=transport)
    assert "no-such-host.invalid" in await reason(worker, "no-such-host.invalid")


async def test_aborted_on_its_way_a_node_has_not_started() -> None:
    async with SshCluster(1, faults={"node1": SaysNothing()}) as cluster:
        async with Task(transport=cluster.openssh()) as task:
            worker = task.shell("true", nodes="node1")
            await cluster.wait_until(lambda seen: seen.connections_now == 1)
            task.abort()
        assert isinstance(worker.results()["node1"].outcome, NotStarted)
        await cluster.wait_until(lambda seen: seen.connections_now == 0)


@pytest.mark.parametrize("node", ["-oProxyCommand=touch HERE", "-oProxyCommand=id", "a;touch HERE"])
async def test_hostile_names_never_reach_ssh(node: str, tmp_path: Path) -> None:
    node = node.replace("HERE", str(tmp_path / "here"))
    with pytest.raises(ValueError, match="node"):
        await run("true", [node], transport=OpenSshTransport(config=None))
    # Even past the check that is there to find it, it could be no more than a host.
    async with OpenSshTransport(config=None) as transport:
        job = Job("true", resolve_targets("fine"))
        with pytest.raises(TransportError):
            await transport.open(job, "-oProxyCommand=touch\t" + str(tmp_path / "here"), 0)
    assert not (tmp_path / "here").exists()


async def test_without_ssh_the_transport_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(TransportError, match=r"ssh\(1\), which is not installed"):
        OpenSshTransport().check(Job("true", resolve_targets("node1")))


def test_nodes_are_needed() -> None:
    with pytest.raises(ValueError, match="nodes"):
        OpenSshTransport().check(Job("true"))


# -- reached -----------------------------------------------------------------------------


async def test_new_host_keys_are_accepted_on_request_and_changed_ones_are_not() -> None:
    async with SshCluster(2, faults={"node[1-2]": UnknownHostKey()}) as cluster:
        transport = cluster.openssh(host_keys="accept-new")
        worker = await run("hostname", "node1", transport=transport)
        assert worker.results()["node1"].outcome == Exited(0)
        assert f"[127.0.0.1]:{cluster.port('node1')}" in cluster.known_hosts.read_text()
        cluster.fault("node1", ChangedHostKey())
        worker = await run("hostname", "node1", transport=transport)
        assert "has changed" in await reason(worker, "node1")
        worker = await run("hostname", "node1", transport=cluster.openssh(host_keys="off"))
        assert worker.results()["node1"].outcome == Exited(0)


async def test_several_config_files_count_in_their_order(tmp_path: Path) -> None:
    first = tmp_path / "first"
    async with SshCluster(2) as cluster:
        first.write_text(f"Host node1\n  Port {cluster.port('node2')}\n")
        transport = cluster.openssh(config=[first, cluster.config_file])
        worker = await run("hostname", "node1", transport=transport)
        assert worker.results()["node1"].stdout == b"node2\n"


async def test_over_a_jump_host(tmp_path: Path) -> None:
    async with SshCluster(3, faults={"node2": NobodyListens()}) as cluster:
        worker = await run("hostname", "node3", transport=cluster.openssh(jump="node1"))
        assert worker.results()["node3"].stdout == b"node3\n"
        assert cluster.statistics("node1").logins == 1
        worker = await run("hostname", "node3", transport=cluster.openssh(jump="node1,node1"))
        assert worker.results()["node3"].stdout == b"node3\n"
        worker = await run("hostname", "node3", transport=cluster.openssh(jump="node2"))
        assert "Connection refused" in await reason(worker, "node3")
        await cluster.wait_until(lambda seen: seen.connections_now == 0)


async def test_a_password_is_given_to_ssh_and_shown_to_nobody() -> None:
    asked: list[tuple[str, str]] = []

    async def answer(node: str, prompt: str) -> str:
        await trio.lowlevel.checkpoint()
        asked.append((node, prompt))
        return "open sesame"

    no_key = {"PubkeyAuthentication": "no"}
    async with SshCluster(2, password="open sesame") as cluster:
        for password in ("open sesame", answer):
            transport = cluster.openssh(password=password, options=no_key)
            worker = await run("echo in", cluster.nodes, transport=transport)
            assert {result.outcome for result in worker.results().values()} == {Exited(0)}
        worker = await run(
            "true", "node1", transport=cluster.openssh(password="wrong", options=no_key)
        )
        assert "refused the login" in await reason(worker, "node1")
    assert sorted(node for node, _ in asked) == ["node1", "node2"]
    assert all(prompt.strip().lower().endswith("password:") for _, prompt in asked)


async def test_an_error_of_the_password_callback_comes_out() -> None:
    def broken(node: str, prompt: str) -> str:
        raise KeyError(node)

    async with SshCluster(1, password="x") as cluster:
        transport = cluster.openssh(password=broken, options={"PubkeyAuthentication": "no"})
        with pytest.raises(KeyError, match="node1"):
            await run("true", "node1", transport=transport)


async def test_a_password_of_a_real_user(sshd: Sshd, users: Users) -> None:
    transport = OpenSshTransport(
        **sshd.options(users.sh, password=users.password, options=["PubkeyAuthentication=no"])
    )
    worker = await run("id -un", "any", transport=transport)
    assert worker.results()["any"].stdout.decode() == users.sh + "\n"


# -- output, input, the end --------------------------------------------------------------


async def test_many_nodes_at_once() -> None:
    async with SshCluster(24) as cluster:
        worker = await run("hostname", cluster.nodes, transport=cluster.openssh(), fanout=12)
        assert {n: r.stdout.decode().strip() for n, r in worker.results().items()} == {
            n: n for n in cluster.nodes
        }
        await cluster.wait_until(lambda seen: seen.connections_now == 0)


async def test_input_goes_to_every_node_and_ends() -> None:
    data = bytes(range(256)) * 2000
    async with SshCluster(3) as cluster:
        async with Task(transport=cluster.openssh()) as task:
            worker = task.shell(("cat",), nodes=cluster.nodes)
            worker.write(data)
            worker.set_write_eof()
        assert {result.stdout for result in worker.results().values()} == {data}


async def test_a_flood_is_taken_as_slowly_as_it_is_read() -> None:
    async with SshCluster(2, faults={"node2": Floods(b"wave\n")}) as cluster:
        # The flood stands in the place of the command, so its start is never reported.
        worker = await run("true", cluster.nodes, transport=cluster.openssh(), timeout=2.0)
        await reason(worker, "node2")
        assert worker.results()["node2"].stdout.startswith(b"wave\nwave\n")
        assert worker.results()["node1"].outcome == Exited(0)
        async with Task(transport=cluster.openssh()) as task:
            endless = task.shell("yes", nodes="node1")
            count = 0
            async for event in endless.events():
                count += isinstance(event, Read)
                if count == 10_000:
                    endless.abort()
        assert endless.results()["node1"].outcome == Aborted()


async def test_a_close_that_never_comes_does_not_hold_up_the_end() -> None:
    async with SshCluster(1, faults={"node1": NeverCloses()}) as cluster:
        began = trio.current_time()
        worker = await run("echo said; exit 4", "node1", transport=cluster.openssh())
        assert worker.results()["node1"].outcome == Exited(4)
        assert worker.results()["node1"].stdout == b"said\n"
        assert trio.current_time() - began < 5


async def test_a_forced_command_is_taken_for_what_it_is(start_sshd: Callable[..., Sshd]) -> None:
    server = start_sshd("ForceCommand echo forced; exit 3")
    worker = await run("echo mine", "any", transport=OpenSshTransport(**server.options()))
    result = worker.results()["any"]
    assert (result.outcome, result.stdout) == (Exited(3), b"forced\n")


async def test_a_banner_does_not_get_into_the_output(
    start_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    banner = tmp_path / "banner"
    banner.write_text("Authorized use only.\n")
    banner.chmod(0o644)
    server = start_sshd(f"Banner {banner}")
    transport = OpenSshTransport(**server.options())
    for command in ("echo mine", ("echo", "mine")):
        worker = await run(command, "any", transport=transport, stderr=True)
        result = worker.results()["any"]
        assert (result.stdout, result.stderr) == (b"mine\n", b"")


async def test_a_transport_can_be_entered_again_and_leaves_no_file() -> None:
    def ours() -> list[str]:
        return [name for name in os.listdir("/tmp") if f"trioshell-ssh-{os.getpid()}-" in name]

    async with SshCluster(1, password="x") as cluster:
        transport = cluster.openssh(password="x", options=["PubkeyAuthentication=no"])
        for _ in range(2):
            async with transport:
                worker = await run("echo in", "node1", transport=transport)
                assert worker.results()["node1"].outcome == Exited(0)
                assert len(ours()) == 1
            assert ours() == []
