"""The embedded cluster behaves as sshd does, seen from ssh(1) and sftp(1)."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from trioshell.testing._cluster import SshCluster

Start = Callable[..., SshCluster]


def argv(cluster: SshCluster, node: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
    given = [word for option in ("BatchMode=yes", *options) for word in ("-o", option)]
    return ["ssh", "-F", str(cluster.config_file), *given, "--", node, *words]


def ssh(
    cluster: SshCluster, node: str, *words: str, stdin: bytes = b"", options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    command = argv(cluster, node, *words, options=options)
    return subprocess.run(command, check=False, input=stdin, capture_output=True, timeout=20)


def sftp(cluster: SshCluster, node: str, batch: str) -> subprocess.CompletedProcess[bytes]:
    command = ["sftp", "-F", str(cluster.config_file), "-b", "-", node]
    return subprocess.run(
        command, check=False, input=batch.encode(), capture_output=True, timeout=20
    )


# -- commands ----------------------------------------------------------------------------


def test_each_node_is_a_host_of_its_own_with_a_home(ssh_cluster: Start) -> None:
    cluster = ssh_cluster("web[1-2],db")
    for node in cluster.nodes:
        done = ssh(cluster, node, "hostname; pwd; echo $HOME")
        home = str(cluster.root(node))
        assert done.stdout.decode().split() == [node, home, home]


def test_streams_are_apart_and_the_exit_status_is_the_commands(ssh_cluster: Start) -> None:
    done = ssh(ssh_cluster(1), "node1", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")


def test_input_reaches_the_command_and_ends(ssh_cluster: Start) -> None:
    data = bytes(range(256)) * 12_000  # more than a pipe and than an SSH window hold
    assert ssh(ssh_cluster(1), "node1", "cat", stdin=data).stdout == data


def test_a_command_that_reads_no_input_ends_all_the_same(ssh_cluster: Start) -> None:
    done = ssh(ssh_cluster(1), "node1", "exec <&-; echo gone", stdin=b"x" * 5_000_000)
    assert (done.returncode, done.stdout) == (0, b"gone\n")


def test_a_shell_without_a_command_reads_its_input(ssh_cluster: Start) -> None:
    assert ssh(ssh_cluster(1), "node1", stdin=b"echo from a script\n").stdout == b"from a script\n"


def test_a_command_leads_a_session_of_its_own(ssh_cluster: Start) -> None:
    done = ssh(ssh_cluster(1), "node1", "ps -o pid=,pgid=,sid= -p $$")
    assert len(set(done.stdout.split())) == 1


def test_the_exit_is_told_at_once_and_the_channel_stays_open_for_a_grandchild(
    ssh_cluster: Start,
) -> None:
    cluster = ssh_cluster(1)
    # The fifo lets the test say when the grandchild ends.
    command = "mkfifo go; (read _ < go; echo late) & exit 7"
    with subprocess.Popen(argv(cluster, "node1", command), stdout=subprocess.PIPE) as client:
        while cluster.statistics().sessions == 0 or cluster.statistics().commands_now:
            time.sleep(0.001)
        assert client.poll() is None
        (cluster.root("node1") / "go").write_text("\n")
        assert client.communicate()[0] == b"late\n"
    assert client.returncode == 7


async def test_when_the_connection_goes_the_command_is_not_killed() -> None:
    async with SshCluster(1) as cluster:
        command = argv(cluster, "node1", "echo on; sleep 1000")
        with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == b"on\n"
            client.kill()
        await cluster.wait_until(lambda seen: seen.connections_now == 0)
        assert cluster.statistics("node1").commands_now == 1
        assert any(p.command.endswith("sleep 1000") for p in cluster.processes("node1"))


def test_stopping_kills_even_a_daemon_that_ignores_what_it_can(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(2)
    daemon = "trap '' TERM HUP; (setsid sh -c 'sleep 1000; sleep 1001' >/dev/null 2>&1 &) ; echo"
    ssh(cluster, "node1", daemon)
    left = cluster.processes()
    assert {process.node for process in left} == {"node1"}
    cluster.stop()
    assert not [process for process in left if command_of(process.pid)]


def command_of(pid: int) -> bytes:
    """Its command line; empty if it is gone, or a zombie that init has yet to bury."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_sessions_beyond_max_sessions_are_refused(ssh_cluster: Start, tmp_path: Path) -> None:
    cluster = ssh_cluster(1, max_sessions=1)
    control = ("ControlMaster=auto", f"ControlPath={tmp_path}/c", "ControlPersist=no")
    command = argv(cluster, "node1", "echo on; exec cat", options=control)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as master:
        assert master.stdout is not None
        assert master.stdout.readline() == b"on\n"
        # The second session of the connection is refused, and ssh takes one of its own.
        assert ssh(cluster, "node1", "echo two", options=control).stdout == b"two\n"
        assert cluster.statistics().connections == 2


# -- logging in --------------------------------------------------------------------------


def test_nobody_gets_in_without_the_clusters_key(ssh_cluster: Start, tmp_path: Path) -> None:
    cluster = ssh_cluster(1)
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    ssh_config = cluster.config_file.read_text().replace(str(cluster.identity_file), str(other))
    cluster.config_file.write_text(ssh_config)
    done = ssh(cluster, "node1", "true")
    assert done.returncode == 255
    assert b"Permission denied" in done.stderr
    assert cluster.statistics().logins == 0


def test_a_password_lets_in_as_well(ssh_cluster: Start, tmp_path: Path) -> None:
    cluster = ssh_cluster(1, password="open sesame")
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho open sesame\n")
    ask.chmod(0o700)
    options = ("BatchMode=no", "PubkeyAuthentication=no")
    command = argv(cluster, "node1", "echo in")
    command[1:1] = [word for option in options for word in ("-o", option)]
    env = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, check=False, capture_output=True, env=env, timeout=20)
    assert done.stdout == b"in\n"


def test_a_node_is_a_jump_host_to_the_others_and_to_nothing_else(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(2)
    done = ssh(cluster, "node2", "hostname", options=("ProxyJump=node1",))
    assert done.stdout == b"node2\n"
    assert cluster.statistics("node1").logins == 1
    elsewhere = [*argv(cluster, "node1", options=("ExitOnForwardFailure=yes",))[:-2], "-W"]
    done = subprocess.run(
        [*elsewhere, "127.0.0.1:9", "node1"], check=False, capture_output=True, timeout=20
    )
    assert done.returncode == 255


# -- files -------------------------------------------------------------------------------


def test_sftp_serves_the_nodes_home_and_nothing_outside(ssh_cluster: Start, tmp_path: Path) -> None:
    cluster = ssh_cluster(2)
    source = tmp_path / "source"
    source.write_bytes(b"some bytes\n" * 10_000)
    done = sftp(cluster, "node2", f"put {source} copied\nget copied {tmp_path}/back\nls /..\n")
    assert done.returncode == 0, done.stderr
    assert (cluster.root("node2") / "copied").read_bytes() == source.read_bytes()
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert not (cluster.root("node1") / "copied").exists()
    assert b"node1" not in done.stdout


# -- its life ----------------------------------------------------------------------------


async def test_as_a_context_manager_it_leaves_nothing() -> None:
    async with SshCluster(16) as cluster:
        directory = cluster.config_file.parent
        command = argv(cluster, "node9", "echo on; exec sleep 1000")
        async with trio.open_nursery() as nursery:
            process = await nursery.start(
                partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
            )
            assert await process.stdout.receive_some() == b"on\n"
            assert cluster.statistics("node9").connections_now == 1
            nursery.cancel_scope.cancel()
    assert not directory.exists()
    assert not [t for t in threading.enumerate() if "SshCluster" in t.name]


async def test_cancelled_while_it_starts_it_leaves_nothing() -> None:
    entered = False
    with trio.CancelScope() as scope:
        scope.cancel()
        async with SshCluster(2):
            entered = True
    assert scope.cancelled_caught
    assert not entered
    assert not [t for t in threading.enumerate() if "SshCluster" in t.name]


async def test_what_it_has_seen_can_be_waited_for() -> None:
    async with SshCluster(2) as cluster:
        await trio.run_process(argv(cluster, "node1", "sleep 1000 >/dev/null 2>&1 & true"))
        await cluster.wait_until(lambda seen: seen.connections_now == 0)
        assert cluster.statistics("node1").logins == cluster.statistics().logins == 1
        with pytest.raises(trio.TooSlowError):
            await cluster.wait_until(lambda seen: seen.logins == 2, timeout=0.01)
        with pytest.raises(AssertionError, match="sleep 1000"):
            await cluster.wait_quiet(timeout=0.01)
        await cluster.wait_quiet("node2")


def test_three_hundred_nodes_start_in_well_below_a_second(ssh_cluster: Start) -> None:
    import asyncssh  # noqa: F401  # its import is not what is measured

    began = time.process_time()  # of all threads; how busy the machine is does not count
    cluster = ssh_cluster(300)
    assert time.process_time() - began < 0.6
    assert ssh(cluster, "node300", "hostname").stdout == b"node300\n"


def test_each_node_may_have_a_host_key_of_its_own(ssh_cluster: Start) -> None:
    def keys(cluster: SshCluster) -> set[str]:
        return {line.split()[2] for line in cluster.known_hosts.read_text().splitlines()}

    assert len(keys(ssh_cluster(3))) == 1
    cluster = ssh_cluster(3, shared_host_key=False)
    assert len(keys(cluster)) == 3
    assert ssh(cluster, "node2", "hostname").stdout == b"node2\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"nodes": 0}, ValueError),
        ({"nodes": True}, TypeError),
        ({"nodes": "../etc"}, ValueError),
        ({"nodes": "a*"}, ValueError),
        ({"nodes": ""}, ValueError),
        ({"max_sessions": 0}, ValueError),
        ({"max_sessions": "2"}, TypeError),
        ({"faults": {"node1": "SaysNothing"}}, TypeError),
    ],
)
def test_bad_arguments_are_refused_at_once(
    arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        SshCluster(**arguments)  # type: ignore[arg-type]  # that is the point


def test_a_node_that_it_does_not_have_is_named(ssh_cluster: Start) -> None:
    with pytest.raises(ValueError, match="node9"):
        ssh_cluster(2).port("node9")


def test_it_says_that_it_does_not_run(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(1)
    cluster.stop()
    with pytest.raises(RuntimeError, match="does not run"):
        cluster.heal()
