"""The packets of SFTP (protocol version 3) put together, and those of a server taken apart.

What a server sends is not to be trusted: a packet that is not what it says is the end of the
conversation (`SftpLost`), and no more of it is believed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES = 1, 2, 4, 8

# A server that means well says why in a sentence, and is done with it.
_LONGEST_REASON: Final = 500


class SftpError(Exception):
    """The server has refused something. Its text is the server's reason."""


class SftpLost(Exception):
    """The server says no more, or something that is no SFTP."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a server says of a file, or is told to make of it; None: not said.

    Attributes:
        mode: type and permissions, as in a `stat_result`.
        times: access and modification, in whole seconds.
    """

    size: int | None = None
    mode: int | None = None
    times: tuple[int, int] | None = None


class Reader:
    """The body of a packet, taken apart from its beginning.

    Whatever the bytes are, each method returns what it promises or raises `SftpLost`.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def at_end(self) -> bool:
        """True if nothing is left."""
        return self._at >= len(self._body)

    def _take(self, size: int) -> bytes:
        taken = self._body[self._at : self._at + size]
        if len(taken) < size:
            raise SftpLost("its SFTP server sends packets that are cut off")
        self._at += size
        return taken

    def number(self) -> int:
        """The next four bytes."""
        return int.from_bytes(self._take(4), "big")

    def string(self) -> bytes:
        """The next string, which says itself how long it is."""
        return self._take(self.number())

    def attributes(self) -> Attributes:
        """What is said of a file."""
        flags = self.number()
        size = mode = times = None
        if flags & _HAS_SIZE:
            size = int.from_bytes(self._take(8), "big")
        if flags & _HAS_OWNER:
            self._take(8)
        if flags & _HAS_MODE:
            mode = self.number()
        if flags & _HAS_TIMES:
            times = (self.number(), self.number())
        return Attributes(size, mode, times)

    def raise_unless(self, accepted: int) -> None:
        """Raise the failure that a status tells, unless it is `accepted`."""
        code = self.number()
        if code != accepted:
            said = self.string().decode(errors="replace") if not self.at_end else ""
            said = said[:_LONGEST_REASON]
            raise SftpError(said or f"failed with SFTP status {code}")


def packet(kind: int, body: bytes) -> bytes:
    """A packet of this kind, as it is sent."""
    return struct.pack(">IB", len(body) + 1, kind) + body


def pack_string(value: bytes) -> bytes:
    """A string in a packet."""
    return struct.pack(">I", len(value)) + value


def pack_attributes(attributes: Attributes) -> bytes:
    """What a server is to make of a file, in a packet; what is None is left as it is."""
    flags, packed = 0, b""
    if attributes.mode is not None:
        flags |= _HAS_MODE
        packed += struct.pack(">I", attributes.mode)
    if attributes.times is not None:
        flags |= _HAS_TIMES
        packed += struct.pack(">II", *(time & 0xFFFFFFFF for time in attributes.times))
    return struct.pack(">I", flags) + packed
