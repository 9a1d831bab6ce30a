"""A hostile SSH server: asyncssh's own, which at some point does what no server may do.

An `Attack` says what happens when somebody has connected, logs in, has logged in, and runs a
command. What it does not say is as in a friendly server, whose every command prints ``in`` and
exits with 0. Whatever speaks SSH can be given one: see `attacked`.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.packet import Boolean, Byte, String, UInt32

# The numbers of RFC 4250, for attacks.
DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, KEXINIT = 1, 2, 3, 4, 20
USERAUTH_BANNER, USERAUTH_SUCCESS, INFO_REQUEST = 53, 52, 60
GLOBAL_REQUEST, REQUEST_SUCCESS, CHANNEL_OPEN = 80, 81, 90
WINDOW_ADJUST, DATA, EXTENDED_DATA, EOF, CLOSE, REQUEST, SUCCESS = 93, 94, 95, 96, 97, 98, 99

__all__ = ["Attack", "Boolean", "Byte", "Channel", "String", "UInt32", "attacked", "flood"]

# asyncssh's connection and channel of a server, with what they have inside: an attack sends
# packets that nothing public would send.
Connection = Any
Channel = Any

# A flood fills the socket and no more: what waits in this process is not the client's fault.
_MOST_WAITING_BYTES = 1 << 18
_PAUSE_SECONDS = 0.0005
_BURST = 100


def _friendly(channel: Channel) -> None:
    channel.write(b"in\n")
    channel.exit(0)


async def _nothing(connection: Connection) -> None:
    pass


@dataclass(frozen=True)
class Attack:
    """What a hostile server does.

    Attributes:
        name: what is tried, in a few words.
        login: awaited before a login is granted, with the connection.
        entered: called when somebody has logged in, with the connection.
        run: called when a command is to be run, with its channel.
        confirm: the window and the size of packets that a channel is opened with.
        subsystem: makes what answers the bytes that come to a subsystem.
        questions: asked as keyboard-interactive does, instead of letting everybody in.
    """

    name: str = "nothing"
    login: Callable[[Connection], Awaitable[None]] = _nothing
    entered: Callable[[Connection], object] = field(default=lambda connection: None)
    run: Callable[[Channel], object] = _friendly
    confirm: tuple[int, int] | None = None
    subsystem: Callable[[], Callable[[bytes], bytes]] | None = None

    def __repr__(self) -> str:
        return self.name


def _waiting(transport: Any) -> int:
    return int(transport.get_write_buffer_size())


def flood(connection: Connection, burst: Callable[[], object]) -> None:
    """Have `burst` write again and again, as fast as the client takes it, until it goes."""

    async def go_on() -> None:
        while (transport := connection._transport) is not None and not transport.is_closing():
            for _ in range(_BURST):
                if not transport._conn_lost and _waiting(transport) < _MOST_WAITING_BYTES:
                    with suppress(OSError):  # closed in the meantime
                        burst()
            await asyncio.sleep(_PAUSE_SECONDS)

    task = asyncio.get_running_loop().create_task(go_on())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


# asyncio itself keeps only weak references to tasks.
_tasks: set[asyncio.Task[None]] = set()


class _Server(asyncssh.SSHServer):
    def __init__(self, attack: Attack) -> None:
        self._attack = attack

    def connection_made(self, conn: Connection) -> None:
        self._connection = conn

    async def begin_auth(self, username: str) -> bool:
        await self._attack.login(self._connection)
        return False

    def auth_completed(self) -> None:
        self._attack.entered(self._connection)

    def session_requested(self) -> Any:
        session = _Session(self._attack)
        if self._attack.confirm is None:
            return session
        channel = self._connection.create_server_channel(None, "strict")
        channel._recv_window, channel._recv_pktsize = self._attack.confirm
        return channel, session


class _Session(asyncssh.SSHServerSession[bytes]):
    def __init__(self, attack: Attack) -> None:
        self._attack = attack
        self._answer: Callable[[bytes], bytes] | None = None

    def connection_made(self, chan: Channel) -> None:
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        if self._attack.subsystem is None:
            return False
        self._answer = self._attack.subsystem()
        return True

    def session_started(self) -> None:
        if self._answer is None:
            self._attack.run(self._channel)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._answer is not None:
            self._channel.write(self._answer(data))


class _Connection(asyncssh.SSHServerConnection):
    async def reload_config(self) -> None:
        """No option depends on who logs in; the original would ask a thread to find out."""


def _is_ours(record: logging.LogRecord) -> bool:
    """False for what asyncio says of a server that writes to a client that has gone."""
    return record.getMessage() != "socket.send() raised exception."


@contextmanager
def attacked(place: Path, attacks: Mapping[str, Attack]) -> Iterator[Path]:
    """A server for each name, with its attack; the ssh config by which all are found.

    The host keys are in ``known_hosts`` beside it.
    """
    made: queue.SimpleQueue[asyncio.AbstractEventLoop] = queue.SimpleQueue()

    def serve() -> None:
        with asyncio.Runner() as runner:
            # Of the thread itself: where there is Trio, asyncio's loops are made by others.
            loop = runner.get_loop()
            loop.call_soon(made.put, loop)
            loop.run_forever()

    thread = threading.Thread(target=serve, name="hostile servers")
    thread.start()
    loop = made.get()
    logging.getLogger("asyncio").addFilter(_is_ours)

    def do(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    key = asyncssh.generate_private_key("ssh-ed25519")
    servers = []
    try:
        lines, known = [], []
        for name, attack in attacks.items():
            server = do(_listen(attack, key))
            servers.append(server)
            port = server.sockets[0].getsockname()[1]
            lines.append(f"Host {name}\n    HostName 127.0.0.1\n    Port {port}\n")
            known.append(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
        (place / "known_hosts").write_text("".join(known))
        lines.append(
            f"Host *\n    UserKnownHostsFile {place}/known_hosts\n"
            "    GlobalKnownHostsFile /dev/null\n    IdentityAgent none\n    User somebody\n"
        )
        (place / "ssh_config").write_text("".join(lines))
        yield place / "ssh_config"
    finally:
        do(_close(servers))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        logging.getLogger("asyncio").removeFilter(_is_ours)


async def _listen(attack: Attack, key: asyncssh.SSHKey) -> asyncio.Server:
    options = asyncssh.SSHServerConnectionOptions(
        server_factory=lambda: _Server(attack),
        server_host_keys=[key],
        encoding=None,
        line_editor=False,
        login_timeout=0,
        gss_host=None,
    )
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _track(_Connection(loop, options)), "127.0.0.1", 0)


_connections: set[Connection] = set()


def _track(connection: Connection) -> Any:
    _connections.add(connection)
    return connection


async def _close(servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    for connection in list(_connections):
        connection.abort()
    _connections.clear()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
