"""Copies over ssh(1): files and trees, whole or not at all, and never outside of where they go."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trioshell import Aborted, CopyWorker, Exited, NodeResult, Task, Unreachable
from trioshell.testing import SshCluster
from trioshell.testing._cluster_faults import NobodyListens
from trioshell.transports import OpenSshTransport, Transport
from trioshell.transports._base import Copy
from trioshell.transports._openssh_files import Transfer
from trioshell.transports._openssh_sftp import Sftp
from trioshell.transports._openssh_sftp_packets import SftpError, SftpLost

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd, Users

ODD = 'odd *[x] "q" \\n $HOME \u00fc'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub" / "deep").mkdir(parents=True)
    (tree / "big").write_bytes(os.urandom(3_000_000))
    (tree / "big").chmod(0o751)
    (tree / "empty").write_bytes(b"")
    (tree / "sub" / ODD).write_text("odd\n")
    (tree / os.fsdecode(b"not utf-8 \xff")).write_text("bytes\n")
    (tree / "link").symlink_to("big")
    return tree


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def partial_files(root: Path) -> list[str]:
    return [str(path) for path in root.rglob("*") if ".trioshell-" in path.name]


async def copy(
    transport: Transport, nodes: str, source: object, dest: object, **options: bool
) -> dict[str, NodeResult]:
    worker = CopyWorker(
        nodes,
        source=str(source),
        dest=str(dest),
        transport=transport,
        stderr=True,
        **options,
    )
    async with Task(transport=transport) as task:
        task.schedule(worker)
    return {str(node): result for node, result in worker.results().items()}


async def test_a_tree_goes_to_every_node_and_comes_back(tree: Path, tmp_path: Path) -> None:
    async with SshCluster(3) as cluster:
        results = await copy(cluster.openssh(), "node[1-3]", tree, "there")
        assert {result.outcome for result in results.values()} == {Exited(0)}
        for node in cluster.nodes:
            assert contents(cluster.root(node) / "there") == contents(tree)
        back = tmp_path / "back"
        back.mkdir()
        results = await copy(cluster.openssh(), "node[1-3]", "there", back, reverse=True)
        assert {result.outcome for result in results.values()} == {Exited(0)}
        assert sorted(path.name for path in back.iterdir()) == [f"there.node{n}" for n in (1, 2, 3)]
        for node in cluster.nodes:
            assert contents(back / f"there.{node}") == contents(tree)
        assert partial_files(tmp_path) == []


async def test_a_directory_takes_in_what_comes_under_its_own_name(
    tree: Path, tmp_path: Path
) -> None:
    async with SshCluster(1) as cluster:
        home = cluster.root("node1")
        await copy(cluster.openssh(), "node1", tree / "big", "tmp")
        await copy(cluster.openssh(), "node1", tree / "big", "renamed")
        await copy(cluster.openssh(), "node1", f"{tree}/", "tmp")
        assert (home / "tmp" / "big").read_bytes() == (tree / "big").read_bytes()
        assert (home / "renamed").read_bytes() == (tree / "big").read_bytes()
        assert contents(home / "tmp" / "tree") == contents(tree)


async def test_modes_and_times_are_kept_on_request(tree: Path, tmp_path: Path) -> None:
    os.utime(tree / "big", (1_000_000_000, 1_100_000_000))
    os.utime(tree / "sub", (1_000_000_000, 1_200_000_000))
    async with SshCluster(1) as cluster:
        await copy(cluster.openssh(), "node1", tree, "kept", preserve=True)
        there = cluster.root("node1") / "kept"
        await copy(cluster.openssh(), "node1", "kept", tmp_path, reverse=True, preserve=True)
        for root in (there, tmp_path / "kept.node1"):
            status = (root / "big").stat()
            assert (status.st_mode & 0o777, int(status.st_mtime)) == (0o751, 1_100_000_000)
            assert int((root / "sub").stat().st_mtime) == 1_200_000_000


async def test_a_file_that_is_there_is_replaced_and_keeps_its_mode(tree: Path) -> None:
    async with SshCluster(1) as cluster:
        old = cluster.root("node1") / "old"
        old.write_bytes(b"old")
        old.chmod(0o640)
        await copy(cluster.openssh(), "node1", tree / "big", "old")
        assert old.read_bytes() == (tree / "big").read_bytes()
        assert old.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("source", "dest", "reverse", "said"),
    [
        ("{tree}/big", "no/such/place", False, b"node1:no/such/place: No such file"),
        ("{tree}/big", "no/", False, b"not a directory"),
        ("no/such", "{tmp}", True, b"node1:no/such: No such file"),
    ],
)
async def test_what_fails_is_said_and_is_one_nodes_own(
    tree: Path, tmp_path: Path, source: str, dest: str, reverse: bool, said: bytes
) -> None:
    async with SshCluster(1) as cluster:
        results = await copy(
            cluster.openssh(),
            "node1",
            source.format(tree=tree),
            dest.format(tmp=tmp_path),
            reverse=reverse,
        )
        assert results["node1"].outcome == Exited(1)
        assert said in results["node1"].stderr


async def test_one_dead_node_does_not_disturb_the_others(tree: Path) -> None:
    async with SshCluster(3, faults={"node2": NobodyListens()}) as cluster:
        results = await copy(cluster.openssh(), "node[1-3]", tree, "there")
        assert isinstance(results["node2"].outcome, Unreachable)
        for node in ("node1", "node3"):
            assert results[node].outcome == Exited(0)
            assert contents(cluster.root(node) / "there") == contents(tree)


async def test_an_aborted_copy_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    with endless.open("wb") as file:
        file.truncate(20_000_000_000)  # a hole, which takes no room here
    async with SshCluster(1) as cluster:
        transport = cluster.openssh()
        worker = CopyWorker("node1", source=endless, dest="endless", transport=transport)
        async with Task(transport=transport) as task:
            task.schedule(worker)
            while not partial_files(cluster.root("node1")):  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.005)
            task.abort()
        assert worker.results()["node1"].outcome == Aborted()
        assert partial_files(cluster.root("node1")) == []
        assert not (cluster.root("node1") / "endless").exists()


async def test_a_copy_that_breaks_leaves_no_half_under_the_final_name(tmp_path: Path) -> None:
    async with SshCluster(1) as cluster:
        source = cluster.root("node1") / "source"
        with source.open("wb") as file:
            file.truncate(2_000_000_000)
        transport = cluster.openssh()
        worker = CopyWorker(
            "node1", source="source", dest=tmp_path, reverse=True, transport=transport
        )
        async with Task(transport=transport) as task:
            task.schedule(worker)
            while not partial_files(tmp_path):  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.005)
            cluster.drop("node1")
        assert isinstance(worker.results()["node1"].outcome, Unreachable)
        assert list(tmp_path.iterdir()) == []


async def test_a_server_without_sftp(start_sshd: Callable[..., Sshd], tree: Path) -> None:
    server = start_sshd("Subsystem sftp /nonexistent")
    transport = OpenSshTransport(**server.options())
    results = await copy(transport, "any", tree / "big", "/tmp/never")
    assert isinstance(results["any"].outcome, Unreachable)


async def test_with_a_real_server(sshd: Sshd, users: Users, tree: Path, tmp_path: Path) -> None:
    transport = OpenSshTransport(**sshd.options(users.sh))
    results = await copy(transport, "any", tree, "by-openssh", preserve=True)
    assert results["any"].outcome == Exited(0), results["any"].stderr
    back = tmp_path / "back"
    back.mkdir()
    results = await copy(transport, "any", "~/by-openssh", back, reverse=True)
    assert results["any"].outcome == Exited(0), results["any"].stderr
    assert contents(back / "by-openssh.any") == contents(tree)


# -- a server that means no good ---------------------------------------------------------


class Server:
    """An SFTP server of a few files in memory, which answers as it is told to."""

    def __init__(self, names: list[bytes], content: bytes = b"", short: int = 1 << 30) -> None:
        self.names = names
        self.content = content
        self.short = short
        self._asked = bytearray()
        self._answers = bytearray()
        self._listed = False

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._asked += data
        while len(self._asked) >= 4:
            size = int.from_bytes(self._asked[:4], "big")
            if len(self._asked) < 4 + size:
                return
            packet = bytes(self._asked[4 : 4 + size])
            del self._asked[: 4 + size]
            self._answer(packet[0], packet[1:])

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        data = bytes(self._answers)
        self._answers.clear()
        return data

    def _put(self, kind: int, body: bytes) -> None:
        self._answers += struct.pack(">IB", len(body) + 1, kind) + body

    def _answer(self, kind: int, body: bytes) -> None:
        number, rest = body[:4], body[4:]
        if kind == 1:
            self._put(2, struct.pack(">I", 3))
        elif kind in (7, 17):  # lstat, stat: the root is a directory, all else are files
            path = rest[4:]
            mode = 0o40755 if path == b"root" else 0o100644
            self._put(105, number + struct.pack(">IQI", 1 | 4, len(self.content), mode))
        elif kind in (11, 3):
            self._listed = False
            self._put(102, number + struct.pack(">I", 1) + b"h")
        elif kind == 12 and not self._listed:
            self._listed = True
            body = struct.pack(">I", len(self.names))
            for name in self.names:
                body += struct.pack(">I", len(name)) + name + struct.pack(">II", 0, 0)
            self._put(104, number + body)
        elif kind == 5:
            offset, size = struct.unpack(">QI", rest[5:])
            data = self.content[offset : offset + min(size, self.short)]
            if data:
                self._put(103, number + struct.pack(">I", len(data)) + data)
            else:
                self._put(101, number + struct.pack(">III", 1, 0, 0))
        else:
            self._put(101, number + struct.pack(">III", 0 if kind == 4 else 1, 0, 0))


async def fetch(server: Server, dest: Path) -> list[str]:
    said: list[str] = []
    sftp = Sftp(server.send, server.receive)
    await sftp.start()
    await Transfer(sftp, "node", Copy("root", str(dest), reverse=True), said.append).run()
    return said


async def test_names_from_a_server_stay_in_the_destination(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    hostile = [b"..", b".", b"../out", b"/tmp/out", b"a/b", b"", b"nul\0", b"fine", b".."]
    said = await fetch(Server(hostile, b"content"), dest)
    assert contents(tmp_path) == {"dest/root.node/fine": b"content"}
    assert len(said) == 5


@given(content=st.binary(max_size=200_000), short=st.sampled_from([1 << 30, 32768, 1000, 40_000]))
def test_short_answers_lose_and_repeat_nothing(content: bytes, short: int) -> None:
    async def read() -> bytes:
        server = Server([], content, short)
        sftp = Sftp(server.send, server.receive)
        await sftp.start()
        got: list[bytes] = []
        await sftp.read_all(await sftp.open(b"file"), len(content), got.append)
        return b"".join(got)

    assert trio.run(read) == content


@given(st.binary(max_size=60))
def test_whatever_a_server_says_is_an_error_and_no_crash(said: bytes) -> None:
    async def talk() -> None:
        answers = [said]

        async def send(data: bytes) -> None:
            await trio.lowlevel.checkpoint()

        async def receive() -> bytes:
            await trio.lowlevel.checkpoint()
            return answers.pop() if answers else b""

        sftp = Sftp(send, receive)
        try:
            await sftp.start()
            await sftp.stat(b"x")
        except (SftpLost, SftpError):
            pass

    trio.run(talk)
