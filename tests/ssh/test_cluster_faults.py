"""Each fault of the embedded cluster does what it says, seen from ssh(1), and to one node only."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from trioshell.testing._cluster import SshCluster
from trioshell.testing._cluster_faults import (
    ChangedHostKey,
    DropsBeforeAuth,
    DropsInOutput,
    Fault,
    Floods,
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

Start = Callable[..., SshCluster]


def argv(cluster: SshCluster, node: str, command: str, *options: str) -> list[str]:
    given = [word for option in ("BatchMode=yes", *options) for word in ("-o", option)]
    return ["ssh", "-F", str(cluster.config_file), *given, "--", node, command]


def ssh(
    cluster: SshCluster, node: str, command: str, *options: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        argv(cluster, node, command, *options),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
    )


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (NobodyListens(), b"Connection refused"),
        (DropsBeforeAuth(), b"Connection closed|kex_exchange_identification|not allowed"),
        (RefusesKey(), b"Permission denied"),
        (ChangedHostKey(), b"HOST IDENTIFICATION HAS CHANGED"),
        (UnknownHostKey(), b"Host key verification failed"),
        (RevokedHostKey(), b"REVOKED HOST KEY"),
        (SpeaksGarbage(b"\xff" * 9000 + b"\n"), b"banner|invalid|kex_exchange"),
        (SpeaksGarbage(b"hello\n", endless=True), b"banner|kex_exchange"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else "",
)
def test_ssh_is_turned_away(ssh_cluster: Start, fault: Fault, complaint: bytes) -> None:
    cluster = ssh_cluster(2, faults={"node2": fault})
    done = ssh(cluster, "node2", "echo in")
    assert (done.returncode, done.stdout) == (255, b"")
    assert any(part in done.stderr for part in complaint.split(b"|")), done.stderr
    assert ssh(cluster, "node1", "hostname").stdout == b"node1\n"
    cluster.heal("node2")
    assert ssh(cluster, "node2", "hostname").stdout == b"node2\n"


@pytest.mark.parametrize(
    ("fault", "connections", "logins", "sessions"),
    [
        (SaysNothing(), 1, 0, 0),
        (HangsInKex(), 1, 0, 0),
        (SpeaksGarbage(), 1, 0, 0),
        (HangsInAuth(), 1, 0, 0),
        (HangsInChannel(), 1, 1, 0),
        (HangsInChannel("exec"), 1, 1, 0),
    ],
    ids=repr,
)
async def test_ssh_is_kept_waiting(
    fault: Fault, connections: int, logins: int, sessions: int
) -> None:
    async with SshCluster(2, faults={"node2": fault}) as cluster:
        with subprocess.Popen(
            argv(cluster, "node2", "echo in"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as client:
            await cluster.wait_until(lambda seen: seen.logins == logins and seen.connections == 1)
            with pytest.raises(subprocess.TimeoutExpired):
                client.wait(0.3)
            client.kill()
        await cluster.wait_until(lambda seen: seen.connections_now == 0)
        seen = cluster.statistics("node2")
        assert (seen.connections, seen.logins, seen.sessions) == (connections, logins, sessions)


def test_only_so_many_connections_are_dropped(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(1, faults={"node1": DropsBeforeAuth(times=2)})
    codes = [ssh(cluster, "node1", "true").returncode for _ in range(4)]
    assert codes == [255, 255, 0, 0]


def test_the_output_before_a_drop_arrives_and_the_command_goes_on(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(1, faults={"node1": DropsInOutput(after_bytes=70_000)})
    command = "head -c 69999 /dev/zero; read _; head -c 70000 /dev/zero; sleep 1000"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv(cluster, "node1", command), stdin=pipe, stdout=pipe, stderr=pipe
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert len(client.stdout.read(69_999)) == 69_999
        client.stdin.write(b"\n")
        client.stdin.flush()
        # ssh does not always pass on what it received in the same moment as the end.
        assert len(client.stdout.read()) <= 1
        assert client.wait(20) == 255
    assert any(process.command.endswith("sleep 1000") for process in cluster.processes())


def test_open_connections_can_be_cut(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(2)
    command = argv(cluster, "node1", "echo on; exec sleep 1000")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"on\n"
        cluster.drop("node1")
        assert client.wait(20) == 255


def test_a_silent_node_is_noticed_by_keepalives_alone(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(1)
    command = argv(
        cluster, "node1", "echo on; exec cat", "ServerAliveInterval=1", "ServerAliveCountMax=1"
    )
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"on\n"
        cluster.fault("node1", GoesSilent())
        assert client.wait(20) == 255


def test_a_silent_node_goes_on_where_it_stopped(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(1, faults={"node1": GoesSilent(after_bytes=3)})
    command = argv(cluster, "node1", "echo on; exec cat")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline() == b"on\n"
        client.stdin.write(b"kept\n")
        client.stdin.flush()
        cluster.heal()
        client.stdin.close()
        assert client.stdout.read() == b"kept\n"
        assert client.wait(20) == 0


def test_a_node_that_fell_silent_in_the_middle_of_its_output_has_lost_none_of_it(
    ssh_cluster: Start,
) -> None:
    cluster = ssh_cluster(1, faults={"node1": GoesSilent(after_bytes=3)})
    command = argv(cluster, "node1", r"printf 'on\nkept\n'")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.read(3) == b"on\n"
        cluster.heal()
        assert client.stdout.read() == b"kept\n"
        assert client.wait(20) == 0


def test_a_flood_goes_on_for_as_long_as_it_is_taken(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(1, faults={"node1": Floods(b"wave\n")})
    with subprocess.Popen(argv(cluster, "node1", "true"), stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        got = client.stdout.read(20_000_000)
        client.kill()
    assert got == b"wave\n" * 4_000_000


def test_a_close_that_never_comes(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(1, faults={"node1": NeverCloses()})
    with subprocess.Popen(
        argv(cluster, "node1", "echo said; exit 4"), stdout=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        assert client.stdout.read() == b"said\n"  # ssh passes the end of output on
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.3)
        client.kill()


def test_faults_take_the_place_of_those_before(ssh_cluster: Start, tmp_path: Path) -> None:
    cluster = ssh_cluster(3)
    cluster.fault("node[1-2]", NobodyListens())
    cluster.fault("node2", RefusesKey())
    complaints = [ssh(cluster, f"node{n}", "true").stderr for n in (1, 2, 3)]
    assert b"Connection refused" in complaints[0]
    assert b"Permission denied" in complaints[1]
    assert complaints[2] == b""


def test_open_connections_survive_a_closed_port(ssh_cluster: Start) -> None:
    cluster = ssh_cluster(1)
    port = cluster.port("node1")
    command = argv(cluster, "node1", "echo on; exec cat")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"on\n"
        cluster.fault("node1", NobodyListens())
        assert ssh(cluster, "node1", "true").returncode == 255
        assert client.communicate(b"still\n")[0] == b"still\n"
    cluster.heal()
    assert ssh(cluster, "node1", "true").returncode == 0
    assert cluster.port("node1") == port
