"""The cable of one connection to a cluster node, and all faults that need no SSH to happen.

A `Wire` stands between the TCP connection and the SSH server's own protocol object. So a
fault that is about bytes (silence, garbage, a drop) works the same at any point of the SSH
protocol, and the SSH server's code does not know of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from trioshell.testing._cluster_faults import HangsInKex, SaysNothing, SpeaksGarbage
from trioshell.testing._cluster_node import ClusterNode

_LONE_BANNER = b"SSH-2.0-trioshell\r\n"
_GARBAGE_BLOCK = 65536


class Wire(asyncio.Protocol):
    """One accepted connection of a node, with the node's faults in it.

    Args:
        node: whose connection it is; decides what happens to it.
        serve: makes the protocol object that speaks SSH, for a connection that gets so far.
    """

    def __init__(self, node: ClusterNode, serve: Callable[[], asyncio.Protocol]) -> None:
        self._node = node
        self._serve = serve
        self._inner: asyncio.Protocol | None = None
        self._garbage: bytes | None = None
        self._silent = False
        self._deaf = False
        # Invariant: both are empty and False unless _silent.
        self._held: list[bytes] = []
        self._close_held = False

    # What the TCP connection tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._tcp = transport
        self._node.opened(self)
        if (drops := self._node.take_drop()) is not None:
            transport.write(drops.message)
            transport.close()
        elif self._node.fault(SaysNothing) is not None:
            pass
        elif (garbage := self._node.fault(SpeaksGarbage)) is not None:
            self._speak_garbage(garbage)
        elif self._node.fault(HangsInKex) is not None:
            transport.write(_LONE_BANNER)
        else:
            self._inner = self._serve()
            self.set_silent(self._node.is_silent)
            self._inner.connection_made(_InnerTransport(self, transport))

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._node.closed(self)
        if self._inner is not None:
            inner, self._inner = self._inner, None
            inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()
        elif self._garbage is not None:
            self._tcp.write(self._garbage)

    # What the SSH server asks for, through _InnerTransport.

    def write(self, data: bytes) -> None:
        """Send, or keep while the wire is silent."""
        if self._silent:
            self._held.append(bytes(data))
        elif not self._tcp.is_closing():
            self._tcp.write(data)

    def close(self) -> None:
        """Close once all that was written has been sent; a silent wire does not tell."""
        if self._silent:
            self._close_held = True
        else:
            self._tcp.close()

    # What faults ask for.

    def set_silent(self, silent: bool) -> None:
        """Let nothing pass any more in either direction, or let it pass again."""
        if silent == self._silent:
            return
        self._silent = silent
        self._update_reading()
        if not silent:
            held, self._held = self._held, []
            self.write(b"".join(held))
            if self._close_held:
                self._close_held = False
                self._tcp.close()

    def set_deaf(self) -> None:
        """Hear nothing any more; what the server says still goes out."""
        self._deaf = True
        self._update_reading()

    def drop(self) -> None:
        """Close the connection from the node's side, after what was already sent."""
        self._tcp.close()

    def destroy(self) -> None:
        """Cut the connection at once, whatever is in it."""
        self._tcp.abort()

    def _update_reading(self) -> None:
        if self._tcp.is_closing():
            return
        if self._silent or self._deaf:
            self._tcp.pause_reading()
        else:
            self._tcp.resume_reading()

    def _speak_garbage(self, garbage: SpeaksGarbage) -> None:
        if not garbage.endless:
            self._tcp.write(garbage.data)
            return
        # Always one block more than the high-water mark: resume_writing comes each time
        # that the client has taken some, and it sends the next.
        self._garbage = garbage.data * (1 + _GARBAGE_BLOCK // max(1, len(garbage.data)))
        self._tcp.set_write_buffer_limits(high=len(self._garbage) // 2)
        self._tcp.write(self._garbage)


class _InnerTransport(asyncio.Transport):
    """The transport that the SSH server's protocol object is given: the wire's inner end."""

    def __init__(self, wire: Wire, tcp: asyncio.Transport) -> None:
        super().__init__()
        self._wire = wire
        self._tcp = tcp

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._wire.write(bytes(data))

    def close(self) -> None:
        self._wire.close()

    def abort(self) -> None:
        # asyncssh aborts right after it has written its disconnect message; a close sends
        # that message on its way first.
        self._wire.close()

    def is_closing(self) -> bool:
        return self._tcp.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._wire if name == "wire" else self._tcp.get_extra_info(name, default)
