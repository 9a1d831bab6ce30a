"""The bytes under an SSH connection: an asyncio transport over a socket that Trio waits for."""

from __future__ import annotations

import socket
from typing import Any, Protocol

import trio

from trioshell.transports._ssh_bridge import Bridge, log
from trioshell.transports._ssh_poller import READABLE, WRITABLE

_READ_BYTES = 65536

# So much may wait to be sent before whoever has more to send waits too.
_MOST_WAITING_BYTES = 1 << 20

# More than that are our answers to what the other side asks. Beyond this it does not take them,
# and is not listened to until it does, or they would fill the memory.
_DEAF_BYTES = 16 << 20

# After so many reads in a row that had something at once, let others have their turn.
_READS_IN_A_ROW = 8


class Receiver(Protocol):
    """The part of an asyncio protocol (asyncssh's connection) that we call."""

    def connection_made(self, transport: Any) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...


class SocketTransport:
    """What asyncssh takes for an asyncio transport.

    What is written is collected and sent at the end of the same turn, so that a packet does
    not cost a system call. asyncssh ignores a transport that asks for a pause, and the windows
    of its channels are as large as the other side says: so whoever sends more than a few bytes
    waits for room himself (`wait_room`), and what asyncssh answers is bounded by not listening.

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
        self._size = 0  # of what is in _out
        self._blocked = False
        self._ended = False  # nothing more will come
        self._room = trio.Event()
        self.heard_at = trio.current_time()
        self.closed = trio.Event()

    def start(self, receiver: Receiver) -> None:
        """Begin to hand what comes to `receiver`. From here on the socket is ours."""
        self._receiver = receiver
        self._bridge.poller.add(self._sock.fileno(), self._ready)
        self._bridge.transports.add(self)
        receiver.connection_made(self)

    def _ready(self) -> None:
        try:
            if self._blocked:
                self._send()
            self._receive()
        # A bug of ours or asyncssh's must not end the connections of the others.
        except Exception as exc:  # noqa: BLE001  # see above
            log.exception("an SSH connection has failed")
            self._receiver.connection_lost(exc)

    def _receive(self) -> None:
        for _ in range(_READS_IN_A_ROW):
            if self.is_closing() or self._is_deaf:
                return
            try:
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError as exc:
                self._receiver.connection_lost(exc)
                return
            if not data:
                self._stop_reading()
                self._receiver.eof_received()
                return
            self.heard_at = trio.current_time()
            self._receiver.data_received(data)
            if len(data) < _READ_BYTES:  # that was all
                return

    def _stop_reading(self) -> None:
        # asyncssh closes us in a moment; until then the end of the stream stays readable.
        if not self.is_closing():
            self._ended = True
            self._bridge.poller.set_mask(self._sock.fileno(), 0)

    @property
    def _is_deaf(self) -> bool:
        return self._size > _DEAF_BYTES

    async def wait_room(self) -> None:
        """Wait while more than enough waits to be sent; returns too when it is closed."""
        while self._size > _MOST_WAITING_BYTES and not self.is_closing():
            if self._room.is_set():  # there may be more than one who waits
                self._room = trio.Event()
            await self._room.wait()

    # -- what asyncssh calls ------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send `data`, soon."""
        if not self.is_closing():
            if not self._out and not self._blocked:
                self._bridge.write_later(self)
            self._out.append(data)
            self._size += len(data)

    def flush(self) -> None:
        """Send what has been written, as far as the socket takes it."""
        if self._out and not self._blocked and not self.is_closing():
            self._send()

    def _send(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._bridge.loop.call_soon(self._receiver.connection_lost, exc)
            return
        self._size = len(data) - sent
        if self._size:
            self._out.append(data[sent:])
        if self._size <= _MOST_WAITING_BYTES:
            self._room.set()
        self._watch(blocked=self._size > 0)

    def _watch(self, *, blocked: bool) -> None:
        """Have ourselves called when there is something to do."""
        if blocked or self._blocked:
            listens = not self._ended and not self._is_deaf
            mask = (READABLE if listens else 0) | (WRITABLE if blocked else 0)
            self._bridge.poller.set_mask(self._sock.fileno(), mask)
        self._blocked = blocked

    def abort(self) -> None:
        """Close at once. What has been written is sent if the socket takes it."""
        if self.is_closing():
            return
        self.flush()
        self.closed.set()
        self._room.set()
        if self in self._bridge.transports:
            self._bridge.transports.discard(self)
            self._bridge.poller.remove(self._sock.fileno())
        self._sock.close()

    close = abort

    def is_closing(self) -> bool:
        """True once it has been closed."""
        return self.closed.is_set()

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
