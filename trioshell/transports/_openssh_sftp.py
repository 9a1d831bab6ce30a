"""A small SFTP client (protocol version 3) over the pipes of ``ssh -s HOST sftp``.

sftp(1) and scp(1) themselves do not do: what they make of a name depends on their version,
they skip or follow links as they like, and a file that is half written stands under its final
name. This speaks to the same server, in the words of draft-ietf-secsh-filexfer-02.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from trioshell.transports._openssh_sftp_packets import (
    Attributes,
    Reader,
    SftpError,
    SftpLost,
    pack_attributes,
    pack_string,
    packet,
)

_VERSION: Final = 3

_INIT, _REPLIED_VERSION = 1, 2
_OPEN, _CLOSE, _READ, _WRITE, _LSTAT, _SETSTAT, _FSETSTAT = 3, 4, 5, 6, 7, 9, 10
_OPENDIR, _READDIR, _REMOVE, _MKDIR, _REALPATH, _STAT, _RENAME = 11, 12, 13, 14, 16, 17, 18
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED = 101, 102, 103, 104, 105, 200

_OK, _EOF = 0, 1

_READ_FLAG: Final = 0x01
_CREATE_NEW: Final = 0x02 | 0x08 | 0x20  # write, create, and it must not be there

# What every server takes in one request, and how many are on their way at once: 2 MB, as
# much as ssh's own window.
PIECE_BYTES: Final = 32768
_REQUESTS: Final = 64

# The protocol lets a packet be 34000 bytes; a few servers send more in a listing, and OpenSSH
# itself neither sends nor takes more than this.
_LONGEST_PACKET: Final = 1 << 18

_POSIX_RENAME: Final = b"posix-rename@openssh.com"

# A name waits in memory until its turn comes, and this is about what it takes beside its bytes.
NAME_BYTES: Final = 64

# A server answers sooner or later what nobody waits for any more.
_MOST_FORGOTTEN: Final = 64 * _REQUESTS

# So many parts of a listing may be without a name before we take it to be endless.
_MOST_EMPTY: Final = 100

_SOMETHING_ELSE: Final = "its SFTP server answers with something else"


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
        # Invariant: what has been asked and not been answered, what has been answered and not
        # been looked at, and what will be answered for nobody have no number in common. So the
        # server can make us keep no more than we have asked for.
        self._asked: set[int] = set()
        self._answers: dict[int, tuple[int, Reader]] = {}
        self._forgotten: set[int] = set()

    async def start(self) -> None:
        """Agree on the version.

        Raises:
            SftpLost: nobody there speaks SFTP.
        """
        await self._send(packet(_INIT, struct.pack(">I", _VERSION)))
        kind, body = await self._read_packet()
        if kind != _REPLIED_VERSION:
            raise SftpLost(_SOMETHING_ELSE)
        reader = Reader(body)
        reader.number()
        while not reader.at_end:
            self._extensions.add(reader.string())
            reader.string()

    # -- names -------------------------------------------------------------------------

    async def stat(self, path: bytes) -> Attributes:
        """What `path` is, following links."""
        return (await self._ask(_STAT, pack_string(path), _ATTRS)).attributes()

    async def lstat(self, path: bytes) -> Attributes:
        """What `path` is, not following a link."""
        return (await self._ask(_LSTAT, pack_string(path), _ATTRS)).attributes()

    async def realpath(self, path: bytes) -> bytes:
        """Where `path` leads."""
        reader = await self._ask(_REALPATH, pack_string(path), _NAME)
        reader.number()
        return reader.string()

    async def set_attributes(self, path: bytes, attributes: Attributes) -> None:
        """Give `path` these permissions and times."""
        await self._ask(_SETSTAT, pack_string(path) + pack_attributes(attributes), _STATUS)

    async def mkdir(self, path: bytes, mode: int) -> None:
        """Make a directory."""
        await self._ask(_MKDIR, pack_string(path) + pack_attributes(Attributes(mode=mode)), _STATUS)

    async def remove(self, path: bytes) -> None:
        """Remove a file."""
        await self._ask(_REMOVE, pack_string(path), _STATUS)

    async def replace(self, path: bytes, by: bytes) -> None:
        """Rename `by` to `path`, in one step; where the server can't, what was there goes first."""
        if _POSIX_RENAME in self._extensions:
            body = pack_string(_POSIX_RENAME) + pack_string(by) + pack_string(path)
            await self._ask(_EXTENDED, body, _STATUS)
            return
        try:
            await self.remove(path)
        except SftpError:
            pass  # there is none
        await self._ask(_RENAME, pack_string(by) + pack_string(path), _STATUS)

    async def names(self, path: bytes, room: int) -> list[bytes]:
        """The names in a directory, as the server says them: not to be trusted.

        Raises:
            SftpError: they need more than `room` bytes of memory, `NAME_BYTES` for each name
                beside its own; or the server has refused.
        """
        handle = (await self._ask(_OPENDIR, pack_string(path), _HANDLE)).string()
        found: list[bytes] = []
        empty = 0
        while (reader := await self._next_names(handle)) is not None:
            before = len(found)
            for _ in range(reader.number()):
                name = reader.string()
                reader.string()
                reader.attributes()
                if name not in (b".", b".."):
                    found.append(name)
                    room -= len(name) + NAME_BYTES
            if room < 0:
                await self.close(handle)
                raise SftpError("more files in it than can be listed at once")
            empty = 0 if len(found) > before else empty + 1
            if empty > _MOST_EMPTY:
                raise SftpLost("its SFTP server lists nothing without an end")
        await self.close(handle)
        return found

    async def _next_names(self, handle: bytes) -> Reader | None:
        """The next part of a listing; None at its end."""
        kind, reader = await self._answer(await self._request(_READDIR, pack_string(handle)))
        if kind == _STATUS:
            reader.raise_unless(_EOF)
            return None
        if kind != _NAME:
            raise SftpLost(_SOMETHING_ELSE)
        return reader

    # -- files -------------------------------------------------------------------------

    async def create(self, path: bytes, mode: int) -> bytes:
        """Open a new file for writing, and return its handle."""
        body = pack_string(path) + struct.pack(">I", _CREATE_NEW)
        body += pack_attributes(Attributes(mode=mode))
        return (await self._ask(_OPEN, body, _HANDLE)).string()

    async def open(self, path: bytes) -> bytes:
        """Open a file for reading, and return its handle."""
        body = pack_string(path) + struct.pack(">I", _READ_FLAG) + pack_attributes(Attributes())
        return (await self._ask(_OPEN, body, _HANDLE)).string()

    async def set_handle_attributes(self, handle: bytes, attributes: Attributes) -> None:
        """Give an open file these permissions and times."""
        await self._ask(_FSETSTAT, pack_string(handle) + pack_attributes(attributes), _STATUS)

    async def close(self, handle: bytes) -> None:
        """Close an open file; an error is of what was written to it."""
        await self._ask(_CLOSE, pack_string(handle), _STATUS)

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
            body = pack_string(handle) + struct.pack(">Q", offset) + pack_string(piece)
            pending.append(await self._request(_WRITE, body))
            offset += len(piece)
        while pending:
            failure = await self._written(pending.popleft()) or failure
        if failure is not None:
            raise failure

    async def _written(self, number: int) -> SftpError | None:
        try:
            kind, reader = await self._answer(number)
            if kind != _STATUS:
                raise SftpLost(_SOMETHING_ELSE)
            reader.raise_unless(_OK)
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
                    body = pack_string(handle) + struct.pack(">QI", asked, PIECE_BYTES)
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
                data = reader.string() if kind == _DATA else b""
                # Nothing, again and again, would never end, and more than was asked for would
                # come twice.
                if not 0 < len(data) <= PIECE_BYTES:
                    raise SftpLost(_SOMETHING_ELSE)
                take(data)
                offset += len(data)
                if len(data) < PIECE_BYTES:
                    asked = offset  # go on behind it; mostly that is the end
        finally:
            for number, _ in pending:
                self._forget(number)

    # -- packets -----------------------------------------------------------------------

    async def _ask(self, kind: int, body: bytes, wanted: int) -> Reader:
        """Ask, and wait for the answer."""
        got, reader = await self._answer(await self._request(kind, body))
        if got == _STATUS:
            reader.raise_unless(_OK)
        if got != wanted:
            raise SftpLost(_SOMETHING_ELSE)
        return reader

    async def _request(self, kind: int, body: bytes) -> int:
        if len(self._forgotten) > _MOST_FORGOTTEN:
            raise SftpLost("its SFTP server does not answer what it is asked")
        number = self._next_id
        self._next_id = (number + 1) & 0xFFFFFFFF
        self._asked.add(number)
        await self._send(packet(kind, struct.pack(">I", number) + body))
        return number

    async def _answer(self, number: int) -> tuple[int, Reader]:
        """The kind and the body of the answer to that request; a server may mix the order."""
        while number not in self._answers:
            kind, body = await self._read_packet()
            reader = Reader(body)
            answered = reader.number()
            if answered in self._asked:
                self._asked.discard(answered)
                self._answers[answered] = kind, reader
            elif answered in self._forgotten:
                self._forgotten.discard(answered)
            else:
                raise SftpLost("its SFTP server answers what it was not asked")
        return self._answers.pop(number)

    def _forget(self, number: int) -> None:
        """Nobody waits for this answer any more."""
        if self._answers.pop(number, None) is None:
            self._asked.discard(number)
            self._forgotten.add(number)

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
