"""A small SFTP client (protocol version 3) over the pipes of ``ssh -s HOST sftp``.

sftp(1) and scp(1) themselves do not do: what they make of a name depends on their version,
they skip or follow links as they like, and a file that is half written stands under its final
name. This speaks to the same server, in the words of draft-ietf-secsh-filexfer-02.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

_VERSION: Final = 3

_INIT, _REPLIED_VERSION = 1, 2
_OPEN, _CLOSE, _READ, _WRITE, _LSTAT, _SETSTAT, _FSETSTAT = 3, 4, 5, 6, 7, 9, 10
_OPENDIR, _READDIR, _REMOVE, _MKDIR, _REALPATH, _STAT, _RENAME = 11, 12, 13, 14, 16, 17, 18
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED = 101, 102, 103, 104, 105, 200

_OK, _EOF = 0, 1

_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES = 1, 2, 4, 8

_READ_FLAG: Final = 0x01
_CREATE_NEW: Final = 0x02 | 0x08 | 0x20  # write, create, and it must not be there

# What every server takes in one request, and how many are on their way at once: 2 MB, as
# much as ssh's own window.
PIECE_BYTES: Final = 32768
_REQUESTS: Final = 64

# The protocol lets a packet be 34000 bytes; a few servers send more in a listing.
_LONGEST_PACKET: Final = 1 << 20

_MOST_NAMES: Final = 1_000_000

_POSIX_RENAME: Final = b"posix-rename@openssh.com"


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


class Sftp:
    """A client, for one task.

    Args:
        send: hands bytes to the server.
        receive: waits for bytes from it; none when it will send no more.
    """

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[None]],
        receive: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._send = send
        self._receive = receive
        self._input = bytearray()
        self._next_id = 0
        self._extensions: set[bytes] = set()
        # Answers that came before the one that is waited for, and those of whom nobody waits.
        self._answers: dict[int, tuple[int, _Reader]] = {}
        self._forgotten: set[int] = set()

    async def start(self) -> None:
        """Agree on the version.

        Raises:
            SftpLost: nobody there speaks SFTP.
        """
        await self._send(_packet(_INIT, struct.pack(">I", _VERSION)))
        kind, body = await self._read_packet()
        if kind != _REPLIED_VERSION:
            raise SftpLost("its SFTP server answers with something else")
        reader = _Reader(body)
        reader.number()
        while not reader.at_end:
            self._extensions.add(reader.string())
            reader.string()

    # -- names -------------------------------------------------------------------------

    async def stat(self, path: bytes) -> Attributes:
        """What `path` is, following links."""
        return (await self._ask(_STAT, _string(path), _ATTRS)).attributes()

    async def lstat(self, path: bytes) -> Attributes:
        """What `path` is, not following a link."""
        return (await self._ask(_LSTAT, _string(path), _ATTRS)).attributes()

    async def realpath(self, path: bytes) -> bytes:
        """Where `path` leads."""
        reader = await self._ask(_REALPATH, _string(path), _NAME)
        reader.number()
        return reader.string()

    async def set_attributes(self, path: bytes, attributes: Attributes) -> None:
        """Give `path` these permissions and times."""
        await self._ask(_SETSTAT, _string(path) + _pack_attributes(attributes), _STATUS)

    async def mkdir(self, path: bytes, mode: int) -> None:
        """Make a directory."""
        await self._ask(_MKDIR, _string(path) + _pack_attributes(Attributes(mode=mode)), _STATUS)

    async def remove(self, path: bytes) -> None:
        """Remove a file."""
        await self._ask(_REMOVE, _string(path), _STATUS)

    async def replace(self, path: bytes, by: bytes) -> None:
        """Rename `by` to `path`, in one step; where the server can't, what was there goes first."""
        if _POSIX_RENAME in self._extensions:
            body = _string(_POSIX_RENAME) + _string(by) + _string(path)
            await self._ask(_EXTENDED, body, _STATUS)
            return
        try:
            await self.remove(path)
        except SftpError:
            pass  # there is none
        await self._ask(_RENAME, _string(by) + _string(path), _STATUS)

    async def names(self, path: bytes) -> list[bytes]:
        """The names in a directory, as the server says them: not to be trusted."""
        handle = (await self._ask(_OPENDIR, _string(path), _HANDLE)).string()
        found: list[bytes] = []
        while True:
            kind, reader = await self._answer(await self._request(_READDIR, _string(handle)))
            if kind == _STATUS:
                reader.raise_unless(_EOF)
                break
            for _ in range(reader.number()):
                name = reader.string()
                reader.string()
                reader.attributes()
                if name not in (b".", b".."):
                    found.append(name)
            if len(found) > _MOST_NAMES:
                raise SftpError(f"more than {_MOST_NAMES} files in one directory")
        await self.close(handle)
        return found

    # -- files -------------------------------------------------------------------------

    async def create(self, path: bytes, mode: int) -> bytes:
        """Open a new file for writing, and return its handle."""
        body = _string(path) + struct.pack(">I", _CREATE_NEW)
        body += _pack_attributes(Attributes(mode=mode))
        return (await self._ask(_OPEN, body, _HANDLE)).string()

    async def open(self, path: bytes) -> bytes:
        """Open a file for reading, and return its handle."""
        body = _string(path) + struct.pack(">I", _READ_FLAG) + _pack_attributes(Attributes())
        return (await self._ask(_OPEN, body, _HANDLE)).string()

    async def set_handle_attributes(self, handle: bytes, attributes: Attributes) -> None:
        """Give an open file these permissions and times."""
        await self._ask(_FSETSTAT, _string(handle) + _pack_attributes(attributes), _STATUS)

    async def close(self, handle: bytes) -> None:
        """Close an open file; an error is of what was written to it."""
        await self._ask(_CLOSE, _string(handle), _STATUS)

    async def write_all(self, handle: bytes, pieces: Iterable[bytes]) -> None:
        """Write all pieces (of up to `PIECE_BYTES` each) one behind the other."""
        offset = 0
        pending: deque[int] = deque()
        failure: SftpError | None = None
        for piece in pieces:
            if len(pending) >= _REQUESTS:
                failure = await self._written(pending.popleft())
            if failure is not None:
                break
            body = _string(handle) + struct.pack(">Q", offset) + _string(piece)
            pending.append(await self._request(_WRITE, body))
            offset += len(piece)
        while pending:
            failure = await self._written(pending.popleft()) or failure
        if failure is not None:
            raise failure

    async def _written(self, number: int) -> SftpError | None:
        try:
            (await self._answer(number))[1].raise_unless(_OK)
        except SftpError as exc:
            return exc
        return None

    async def read_all(self, handle: bytes, size: int, take: Callable[[bytes], object]) -> None:
        """Give `take` the contents of an open file, in order.

        `size` is what the server says that it holds: so far we ask ahead. It is read to its
        end whatever that was.
        """
        asked, offset = 0, 0
        pending: deque[tuple[int, int]] = deque()  # the number of a request, and its offset
        ended = False
        try:
            while pending or not ended:
                while not ended and (not pending or (len(pending) < _REQUESTS and asked < size)):
                    body = _string(handle) + struct.pack(">QI", asked, PIECE_BYTES)
                    pending.append((await self._request(_READ, body), asked))
                    asked += PIECE_BYTES
                number, at = pending.popleft()
                kind, reader = await self._answer(number)
                if at != offset:  # asked for before we knew that a piece would be short
                    continue
                if kind == _STATUS:
                    reader.raise_unless(_EOF)
                    ended = True
                    continue
                data = reader.string()
                take(data)
                offset += len(data)
                if len(data) < PIECE_BYTES:
                    asked = offset  # go on behind it; mostly that is the end
        finally:
            self._forgotten.update(number for number, _ in pending)

    # -- packets -----------------------------------------------------------------------

    async def _ask(self, kind: int, body: bytes, wanted: int) -> _Reader:
        """Ask, and wait for the answer."""
        got, reader = await self._answer(await self._request(kind, body))
        if got == _STATUS:
            reader.raise_unless(_OK)
        if got != wanted:
            raise SftpLost("its SFTP server answers with something else")
        return reader

    async def _request(self, kind: int, body: bytes) -> int:
        number = self._next_id
        self._next_id = (number + 1) & 0xFFFFFFFF
        await self._send(_packet(kind, struct.pack(">I", number) + body))
        return number

    async def _answer(self, number: int) -> tuple[int, _Reader]:
        """The kind and the body of the answer to that request; a server may mix the order."""
        while number not in self._answers:
            kind, body = await self._read_packet()
            reader = _Reader(body)
            answered = reader.number()
            if answered in self._forgotten:
                self._forgotten.discard(answered)
            elif len(self._answers) > 2 * _REQUESTS:
                raise SftpLost("its SFTP server answers what it was not asked")
            else:
                self._answers[answered] = kind, reader
        return self._answers.pop(number)

    async def _read_packet(self) -> tuple[int, bytes]:
        size = struct.unpack(">I", await self._read(4))[0]
        if not 1 <= size <= _LONGEST_PACKET:
            raise SftpLost("its SFTP server, or its login shell, says something that is no SFTP")
        packet = await self._read(size)
        return packet[0], packet[1:]

    async def _read(self, size: int) -> bytes:
        while len(self._input) < size:
            data = await self._receive()
            if not data:
                raise SftpLost("its SFTP server has ended")
            self._input += data
        taken = bytes(self._input[:size])
        del self._input[:size]
        return taken


class _Reader:
    """The body of a packet, taken apart from its beginning."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._body)

    def _take(self, size: int) -> bytes:
        taken = self._body[self._at : self._at + size]
        if len(taken) < size:
            raise SftpLost("its SFTP server sends packets that are cut off")
        self._at += size
        return taken

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def string(self) -> bytes:
        return self._take(self.number())

    def attributes(self) -> Attributes:
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
            raise SftpError(said or f"failed with SFTP status {code}")


def _packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, kind) + body


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _pack_attributes(attributes: Attributes) -> bytes:
    flags, packed = 0, b""
    if attributes.mode is not None:
        flags |= _HAS_MODE
        packed += struct.pack(">I", attributes.mode)
    if attributes.times is not None:
        flags |= _HAS_TIMES
        packed += struct.pack(">II", *(time & 0xFFFFFFFF for time in attributes.times))
    return struct.pack(">I", flags) + packed
