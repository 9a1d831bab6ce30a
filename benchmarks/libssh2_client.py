"""The least that is needed to drive libssh2 from Trio: what it could bring at best."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_EAGAIN = -37


@dataclass(frozen=True)
class Place:
    """Where the one sshd is that stands for all hosts, and what is needed to log in."""

    directory: Path
    port: int

    @property
    def config(self) -> Path:
        return self.directory / "config"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def key(self) -> Path:
        return self.directory / "key"

    @property
    def host_key(self) -> bytes:
        return base64.b64decode((self.directory / "host_key.pub").read_text().split()[1])


class Libssh2Client:
    """One connection. It checks the host key, and does nothing else of what trioshell does."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @classmethod
    async def log_in(cls, where: Place) -> Self:
        import trio
        from ssh2.session import Session

        sock = socket.socket()
        sock.setblocking(False)
        await trio.socket.from_stdlib_socket(sock).connect(("127.0.0.1", where.port))
        session = Session()
        session.set_blocking(False)
        client = cls(session)
        await client._done(session.handshake, sock)
        assert session.hostkey()[0] == where.host_key
        private = where.key.read_bytes()
        await client._done(session.userauth_publickey_frommemory, "root", private)
        return client

    async def run(self, command: str) -> int:
        """Run it to its end, and say how many bytes it wrote."""
        channel = await self._done(self._session.open_session)
        await self._done(channel.execute, command)
        total = 0
        while (size := (await self._done(channel.read, 65536))[0]) > 0:
            total += size
        await self._done(channel.close)
        assert channel.get_exit_status() == 0
        return total

    async def _done(self, call: Callable[..., Any], *args: Any) -> Any:
        """Make a call again and again, until it does not have to wait."""
        import trio
        from ssh2.session import LIBSSH2_SESSION_BLOCK_OUTBOUND

        while True:
            result = call(*args)
            if result != _EAGAIN and not (type(result) is tuple and result[0] == _EAGAIN):
                return result
            if self._session.block_directions() & LIBSSH2_SESSION_BLOCK_OUTBOUND:
                await trio.lowlevel.wait_writable(self._session.sock)
            else:
                await trio.lowlevel.wait_readable(self._session.sock)
