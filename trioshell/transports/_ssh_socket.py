"""The bytes under an SSH connection: an asyncio transport over a socket that Trio waits for."""

from __future__ import annotations

import socket
from typing import Any, Protocol

import trio

from trioshell.transports._ssh_bridge import Bridge

_READ_BYTES = 65536

# After so many reads in a row that had something at once, let others run.
_READS_IN_A_ROW = 16


class Receiver(Protocol):
    """The part of an asyncio protocol (asyncssh's connection) that we call."""

    def connection_made(self, transport: Any) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...


class SocketTransport:
    """What asyncssh takes for an asyncio transport.

    Reading goes on in a Trio task of the bridge's nursery, which closes the socket when it
    ends. What is written is collected and sent at the end of the same turn, so that a
    packet does not cost a system call. It is not bounded here: asyncssh ignores a transport
    that asks for a pause, and what it writes is bounded by the windows of its channels.

    Attributes:
        heard_at: when the other side last said something, on the Trio clock.
        closed: set when the socket has been closed.
    """

    def __init__(self, bridge: Bridge, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._bridge = bridge
        self._sock = sock
        self._receiver: Receiver
        self._out: list[bytes] = []
        self._blocked = False
        self._closing = False
        self._scope = trio.CancelScope()
        self.heard_at = trio.current_time()
        self.closed = trio.Event()

    def start(self, receiver: Receiver) -> None:
        """Begin to hand what comes to `receiver`. From here on the socket is ours."""
        self._receiver = receiver
        self._bridge.nursery.start_soon(self._read)
        receiver.connection_made(self)

    async def _read(self) -> None:
        try:
            with self._scope:
                await self._receive_all()
        finally:
            self._closing = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self.closed.set()

    async def _receive_all(self) -> None:
        in_a_row = 0
        while not self._closing:
            try:
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                in_a_row = 0
                await trio.lowlevel.wait_readable(self._sock)
                continue
            except OSError as exc:
                self._bridge.give(self._receiver.connection_lost, exc)
                return
            if not data:
                self._bridge.give(self._receiver.eof_received)
                return
            self.heard_at = trio.current_time()
            self._bridge.give(self._receiver.data_received, data)
            in_a_row += 1
            if len(data) < _READ_BYTES:  # that was all
                in_a_row = 0
                await trio.lowlevel.wait_readable(self._sock)
            elif in_a_row >= _READS_IN_A_ROW:
                in_a_row = 0
                await trio.lowlevel.checkpoint()

    # -- what asyncssh calls ------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send `data`, soon."""
        if self._closing:
            return
        if not self._out and not self._blocked:
            self._bridge.write_later(self)
        self._out.append(data)

    def flush(self) -> None:
        """Send what has been written, as far as the socket takes it."""
        if self._blocked or self._closing or not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._bridge.loop.call_soon(self._receiver.connection_lost, exc)
            return
        if sent < len(data):
            self._blocked = True
            self._out.append(data[sent:])
            self._bridge.nursery.start_soon(self._flush_later)

    async def _flush_later(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._sock)
        except (trio.ClosedResourceError, OSError):
            return  # the reader has closed it, and has said so
        self._blocked = False
        self._bridge.give(self.flush)

    def abort(self) -> None:
        """Close at once. What has been written is sent if the socket takes it."""
        self.flush()
        self._closing = True
        self._scope.cancel()

    close = abort

    def is_closing(self) -> bool:
        """True once it has been closed, from whichever side."""
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The socket, and the addresses of its ends."""
        try:
            if name == "socket":
                return self._sock
            if name == "sockname":
                return self._sock.getsockname()
            if name == "peername":
                return self._sock.getpeername()
        except OSError:
            pass
        return default
