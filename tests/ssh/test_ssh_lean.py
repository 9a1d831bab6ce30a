"""What a connection is spared: nothing that anybody could miss."""

from __future__ import annotations

import logging

import asyncssh
import pytest

from trioshell import Exited, Task
from trioshell.testing import SshCluster
from trioshell.transports import SshTransport
from trioshell.transports._ssh_lean import make_lean


class Connection:
    """As much of asyncssh's connection as is touched."""

    def __init__(self, cipher: str) -> None:
        self.sent: list[int] = []
        self.cipher = cipher

    def get_extra_info(self, name: str) -> str:
        assert name == "send_cipher"
        return self.cipher

    def send_packet(self, pkttype: int, *args: bytes, handler: object = None) -> None:
        if pkttype != 2:
            self.send_packet(2, b"")  # as asyncssh does before each packet
        self.sent.append(pkttype)


@pytest.mark.parametrize(
    ("cipher", "sent"),
    [
        ("aes128-gcm@openssh.com", [94]),
        ("chacha20-poly1305@openssh.com", [94]),
        ("aes256-ctr", [94]),
        ("aes256-cbc", [2, 94]),
        ("", [2, 94]),
    ],
)
def test_chaff_goes_only_where_it_protects_a_cipher(cipher: str, sent: list[int]) -> None:
    connection = Connection(cipher)
    make_lean(connection)
    connection.send_packet(94, b"data", handler=None)
    assert connection.sent == sent


async def echo(transport: SshTransport) -> None:
    async with Task(transport=transport) as task:
        worker = task.shell("echo hello", nodes="node1")
    result = worker.results()["node1"]
    assert (result.outcome, result.stdout) == (Exited(0), b"hello\n")


async def test_who_listens_to_the_log_of_asyncssh_hears_all_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asyncssh.set_debug_level(3)
    try:
        with caplog.at_level(logging.DEBUG, "asyncssh"):
            async with SshCluster(1) as cluster, cluster.transport() as transport:
                await echo(transport)
    finally:
        asyncssh.set_debug_level(1)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "Sent MSG_CHANNEL_REQUEST" in said
    assert "Received MSG_CHANNEL_DATA" in said
    assert "New SSH client connection" in said or "session" in said


async def test_nobody_who_does_not_listen_is_told(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    try:
        async with SshCluster(1) as cluster, cluster.transport() as transport:
            await echo(transport)
            (link,) = next(iter(transport._pool._targets.values())).links  # type: ignore[union-attr]
            logger = link.connection.logger
            logger.info("nothing")
            assert logger.get_child("chan=0") is logger
    finally:
        logging.getLogger("asyncssh").setLevel(logging.NOTSET)
    assert "nothing" not in caplog.text
