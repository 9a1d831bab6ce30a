"""Streams that exist already, as a session: no command, but output, input and an end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeAlias

import trio

from trioshell._results import Exited, Unreachable
from trioshell.transports._base import Chunk, Job, Session, Transport

Reader: TypeAlias = trio.abc.ReceiveStream
Writer: TypeAlias = trio.abc.SendStream

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError)

_CHUNK_BYTES = 65536


class StreamsTransport(Transport):
    """Opens one session on the streams of a `StreamWorker`.

    Args:
        readers: by name, what is read to its end.
        writers: by name, what can be written to.
        nursery: gives the nursery in which the readers' tasks live.
    """

    connects = False

    def __init__(
        self,
        readers: Mapping[str, Reader],
        writers: Mapping[str, Writer],
        nursery: Callable[[], trio.Nursery],
    ) -> None:
        self._readers = readers
        self._writers = writers
        self._nursery = nursery

    def check(self, job: Job) -> None:
        if not self._readers and not self._writers:
            raise ValueError(
                "a StreamWorker must have a stream, and has none; give it one by set_reader() "
                "or set_writer() before it is scheduled"
            )

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        session = StreamsSession(self._readers, self._writers)
        self._nursery().start_soon(session.read)
        return session


class StreamsSession(Session):
    """It is over when every reader is at its end and every writer is closed."""

    def __init__(self, readers: Mapping[str, Reader], writers: Mapping[str, Writer]) -> None:
        self.exit: Exited | Unreachable | None = None
        self._readers = dict(readers)
        self._writers = dict(writers)
        reads: set[object] = set(readers.values())
        self._both = reads.intersection(writers.values())
        self._everything = {*readers.values(), *writers.values()}
        self._failure: str | None = None
        # Invariant: at most one chunk of each reader, which reads on when it has been taken.
        self._chunks: list[Chunk] = []
        self._taken = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()
        self._reading = trio.CancelScope()
        self._read_out = trio.Event()
        self._ended = False

    async def read(self) -> None:
        """The session's child task: reads every reader to its end, or until `end`."""
        try:
            with self._reading:
                async with trio.open_nursery() as nursery:
                    for sname, reader in tuple(self._readers.items()):
                        nursery.start_soon(self._read_one, sname, reader)
        finally:
            self._read_out.set()
            self._changed.unpark_all()

    async def _read_one(self, sname: str, reader: Reader) -> None:
        try:
            while data := await reader.receive_some(_CHUNK_BYTES):
                self._chunks.append((sname, bytes(data)))
                self._changed.unpark_all()
                await self._taken.park()
        except _BROKEN as exc:
            self._fail(sname, "read", exc)
        del self._readers[sname]
        self._changed.unpark_all()

    def _fail(self, sname: str, what: str, exc: Exception) -> None:
        detail = str(exc) or type(exc).__name__
        self._failure = self._failure or f"stream {sname!r} broke while it was {what}: {detail}"

    async def receive(self) -> Sequence[Chunk]:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._chunks:
            if not self._ended and not self._readers and not self._writers:
                broken = self._failure
                self.exit = Exited(0) if broken is None else Unreachable(broken)
                return ()
            if self._ended:
                return ()
            await self._changed.park()
        chunks, self._chunks = self._chunks, []
        self._taken.unpark_all()
        return chunks

    async def send(self, data: bytes) -> None:
        await self.send_to("stdin", data)

    async def send_to(self, sname: str, data: bytes) -> None:
        """Nothing, as `data`, closes the writer."""
        writer = self._writers.get(sname)
        if writer is None:
            await trio.lowlevel.checkpoint()
            return
        try:
            if data:
                await writer.send_all(data)
                return
        except _BROKEN as exc:
            self._fail(sname, "written", exc)
        await self._close_writer(sname)

    async def send_eof(self) -> None:
        for sname in tuple(self._writers):
            await self._close_writer(sname)

    async def _close_writer(self, sname: str) -> None:
        writer = self._writers.pop(sname)
        self._changed.unpark_all()
        with contextlib.suppress(*_BROKEN):
            if writer not in self._both:
                await writer.aclose()
            elif isinstance(writer, trio.abc.HalfCloseableStream):
                await writer.send_eof()  # it is a reader as well

    async def end(self, grace: float) -> None:
        self._reading.cancel()
        await self._read_out.wait()
        self._ended = self.exit is None
        self._changed.unpark_all()

    async def aclose(self) -> None:
        self._reading.cancel()
        await self._read_out.wait()
        for stream in self._everything:
            with contextlib.suppress(*_BROKEN):
                await trio.aclose_forcefully(stream)
