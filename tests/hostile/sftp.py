"""A hostile SFTP server as a plain object: bytes of a client in, bytes of the server out.

It has a root with files in it, as many as it likes, and answers as it is told to. It is put
under a client in memory, or behind a real SSH connection (`tests.hostile.server`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trio

from trioshell.transports import _openssh_files as files
from trioshell.transports._base import Copy
from trioshell.transports._openssh_sftp import Sftp
from trioshell.transports._openssh_sftp_packets import SftpLost

INIT, OPEN, CLOSE, READ, LSTAT, OPENDIR, READDIR, REALPATH, STAT = 1, 3, 4, 5, 7, 11, 12, 16, 17
VERSION, STATUS, HANDLE, DATA, NAME, ATTRS = 2, 101, 102, 103, 104, 105
OK, END, FAILURE = 0, 1, 4

DIRECTORY, FILE = 0o40755, 0o100644


def string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def packet(kind: int, number: int, body: bytes) -> bytes:
    return struct.pack(">IBI", len(body) + 5, kind, number) + body


def status(number: int, code: int, text: bytes = b"no") -> bytes:
    return packet(STATUS, number, struct.pack(">I", code) + string(text) + string(b""))


def listing(number: int, names: Iterable[bytes]) -> bytes:
    entries = [string(name) + string(b"") + struct.pack(">I", 0) for name in names]
    return packet(NAME, number, struct.pack(">I", len(entries)) + b"".join(entries))


@dataclass
class HostileSftp:
    """A server; as it is, it has one root with no files.

    Attributes:
        names: the parts of a listing, made anew for each directory.
        modes: whether a path is a file or a directory.
        content: of every file.
        size: what is said of its size.
        piece: how many bytes of it an answer has, at most.
        reply: makes the answer to a request of that kind, with that number, instead.
        real: where a path is said to lead; None to refuse.
    """

    names: Callable[[], Iterator[list[bytes]]] = field(default=lambda: iter([]))
    modes: Callable[[bytes], int] = field(
        default=lambda path: DIRECTORY if path == b"root" else FILE
    )
    content: bytes = b"content"
    size: int | None = None
    piece: int = 1 << 30
    reply: dict[int, Callable[[int], bytes]] = field(default_factory=dict)
    real: Callable[[bytes], bytes | None] = field(default=lambda path: None)
    asked: int = 0
    _input: bytearray = field(default_factory=bytearray)
    _listings: dict[bytes, Iterator[list[bytes]]] = field(default_factory=dict)

    def answer(self, data: bytes) -> bytes:
        """What is answered to these bytes."""
        self._input += data
        answers = []
        while len(self._input) >= 4:
            size = 4 + int.from_bytes(self._input[:4], "big")
            if len(self._input) < size:
                break
            request = bytes(self._input[4:size])
            del self._input[:size]
            answers.append(self._answer(request[0], request[1:]))
        return b"".join(answers)

    def _answer(self, kind: int, body: bytes) -> bytes:
        self.asked += 1
        number = int.from_bytes(body[:4], "big")
        if kind in self.reply:
            return self.reply[kind](number)
        if kind == INIT:
            return struct.pack(">IBI", 5, VERSION, 3)
        return self._serve(kind, number, body[4:])

    def _serve(self, kind: int, number: int, rest: bytes) -> bytes:
        length = int.from_bytes(rest[:4], "big")
        path = rest[4 : 4 + length]
        if kind in (STAT, LSTAT):
            size = len(self.content) if self.size is None else self.size
            return packet(ATTRS, number, struct.pack(">IQI", 1 | 4, size, self.modes(path)))
        if kind == OPENDIR:
            handle = b"%d" % number
            self._listings[handle] = self.names()
            return packet(HANDLE, number, string(handle))
        if kind == READDIR:
            part = next(self._listings.get(path, iter(())), None)
            return status(number, END) if part is None else listing(number, part)
        if kind == OPEN:
            return packet(HANDLE, number, string(b"file"))
        if kind == READ:
            at, size = struct.unpack(">QI", rest[4 + length :])
            data = self.content[at : at + min(size, self.piece)]
            return packet(DATA, number, string(data)) if data else status(number, END)
        if kind == REALPATH and (real := self.real(path)) is not None:
            return listing(number, [real])
        return status(number, OK if kind == CLOSE else FAILURE)


@dataclass
class Fetched:
    """What came of it.

    Attributes:
        said: what could not be copied, and why.
        lost: why the conversation with the server was ended, if it was.
        transfer: how far it has come.
    """

    said: list[str]
    lost: str = ""
    transfer: files.Transfer | None = None


async def fetch(server: HostileSftp, dest: Path) -> Fetched:
    """Copy the server's root into `dest`, over nothing but memory."""
    answers = bytearray()

    async def send(data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        answers.extend(server.answer(data))

    async def receive() -> bytes:
        await trio.lowlevel.checkpoint()
        data = bytes(answers)
        answers.clear()
        return data

    fetched = Fetched([])
    sftp = Sftp(send, receive)
    fetched.transfer = files.Transfer(
        sftp, "node", Copy("root", str(dest), reverse=True), fetched.said.append
    )
    try:
        await sftp.start()
        await fetched.transfer.run()
    except SftpLost as exc:
        fetched.lost = str(exc)
    return fetched
