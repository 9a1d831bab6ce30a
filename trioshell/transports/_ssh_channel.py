"""The bytes of one SSH channel, between asyncssh's callbacks and Trio's tasks.

Backpressure goes all the way in both directions. What comes waits here up to a limit; beyond
it reading is paused, the channel's window fills up, and the other side stops sending. What is
sent waits until the other side has opened its window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import asyncssh
import trio

from trioshell.transports._base import Chunk
from trioshell.transports._ssh_bridge import Bridge
from trioshell.transports._ssh_lean import spare_notes

if TYPE_CHECKING:
    from trioshell.transports._ssh_socket import SocketTransport

# So much of what has come waits here to be taken; more stays in the channel's window.
_HIGH_WATER_BYTES: Final = 262_144
WINDOW_BYTES: Final = 1_048_576

# asyncssh copies what is left of a piece for each packet, so pieces must not be long.
_PIECE_BYTES: Final = 65_536

# Every server takes packets of 32768 bytes (RFC 4253), and one that says it takes next to nothing
# would have us make a packet of each byte.
_SMALLEST_PACKET_BYTES: Final = 512


def check_packets(raw: Any) -> None:
    """Refuse a channel that takes only absurdly small packets.

    Raises:
        asyncssh.ProtocolError: it does.
    """
    size = raw._send_pktsize  # asyncssh has no public word for it
    if size < _SMALLEST_PACKET_BYTES:
        raise asyncssh.ProtocolError(f"it takes only {size} bytes in a packet")


class Channel:
    """What has come and not been taken yet, and what may be sent.

    Args:
        wire: what its bytes go out by in the end, as far as there is such a thing of ours.

    Attributes:
        raw: asyncssh's channel; None before there is one.
        ended: True when nothing more will come.
    """

    def __init__(self, bridge: Bridge, wire: SocketTransport | None) -> None:
        self.raw: Any = None
        self.ended = False
        self._bridge = bridge
        self._wire = wire
        self._chunks: list[Chunk] = []
        self._bytes = 0
        self._paused = False
        self._eof_sent = False
        self._deaf = False
        self._wake = trio.Event()
        self._writable = trio.Event()
        self._writable.set()

    @property
    def closing(self) -> bool:
        """True if nothing can be sent (any more)."""
        return self.raw is None or self.raw.is_closing()

    # -- for asyncssh's callbacks -------------------------------------------------------

    def opened(self, raw: Any) -> None:
        """Asyncssh has opened it; raises as `check_packets`."""
        check_packets(raw)
        spare_notes(raw)
        self.raw = raw

    def store(self, sname: str, data: bytes) -> None:
        """Some bytes have come."""
        self._chunks.append((sname, data))
        self._bytes += len(data)
        if self._bytes > _HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self.raw.pause_reading()
        self._wake.set()

    def pause_writing(self) -> None:
        """Asyncssh has enough of ours to send."""
        self._writable = trio.Event()

    def resume_writing(self) -> None:
        """Asyncssh takes more."""
        self._writable.set()

    # -- for Trio's tasks ---------------------------------------------------------------

    def wake(self) -> None:
        """Let who waits look again."""
        self._wake.set()

    async def wait(self) -> None:
        """Wait for bytes, or for `wake`. One task at a time."""
        self._wake = trio.Event()
        await self._wake.wait()

    def take(self) -> list[Chunk]:
        """All that has come; more may come then."""
        chunks, self._chunks = self._chunks, []
        self._bytes = 0
        if self._paused:
            self._paused = False
            self.raw.resume_reading()
            self._bridge.flush()
        return chunks

    async def send(self, data: bytes) -> None:
        """Send all of `data`, waiting while the other side does not take it.

        Raises:
            trio.BrokenResourceError: nobody will read it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        for at in range(0, len(data), _PIECE_BYTES):
            while not self._writable.is_set():
                await self._writable.wait()
            if self._wire is not None:  # the channel's window says nothing about that
                await self._wire.wait_room()
            if self._eof_sent or self._deaf or self.closing:
                raise trio.BrokenResourceError("nobody reads it any more")
            self.raw.write(data[at : at + _PIECE_BYTES])
            self._bridge.flush()

    def send_eof(self) -> None:
        """Send no more. Harmless when repeated."""
        if not self._eof_sent and not self.closing:
            self._eof_sent = True
            self.raw.write_eof()
            self._bridge.flush()

    def refuse(self) -> None:
        """Nobody reads what is sent any more."""
        self._deaf = True
        self._writable.set()

    def end(self) -> None:
        """Nothing more comes, and nobody reads what is sent: it is over."""
        self.ended = True
        self.refuse()
        self._wake.set()

    def abort(self) -> None:
        """Close it at once, whatever is on its way."""
        self.end()
        if self.raw is not None:
            self.raw.abort()
            self._bridge.flush()
