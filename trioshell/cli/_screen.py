"""Our standard output and error: written in order, and without stopping anything else."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable

import trio

# How much may wait to be written before those who write are asked to wait.
_MOST_BYTES = 1 << 20

# At most so much in one write, so that a slow reader can be told from one that has stopped.
_WRITE_BYTES = 1 << 16

# How long a descriptor that somebody made non-blocking is waited for before it is tried again.
_POLL_MS = 1000


class Screen:
    """Takes what is to be shown, and writes it as soon, and as fast, as it is taken.

    `out` and `err` never block: what they take is written by `run`, in a thread, so that a
    terminal that was stopped or a pager that nobody pages holds up no timeout and no ^C. What
    comes while a write is going on is written by the next, all at once: a line that comes
    alone is out at once, and a flood is written in large pieces.

    Attributes:
        failure: what made writing impossible; from then on everything is dropped.
        steps: how many writes have been done, for those who watch that it moves.
    """

    def __init__(
        self,
        on_failure: Callable[[], None],
        out: int = 1,
        err: int = 2,
        encoding: str = "utf-8",
    ) -> None:
        self.failure: OSError | None = None
        self.steps = 0
        self._on_failure = on_failure
        self._out = out
        self._err = err
        self._encoding = encoding
        # Pieces in order; each is a descriptor and what is to be written to it.
        self._pieces: list[tuple[int, list[bytes]]] = []
        self._size = 0
        self._status_columns = 0
        self._writing = False
        self._filled = trio.Event()
        self._emptied = trio.lowlevel.ParkingLot()

    def out(self, data: bytes) -> None:
        """Write to standard output, later."""
        self._add(self._out, data)

    def err(self, data: bytes) -> None:
        """Write to standard error, later, and after what `out` was given before."""
        self._add(self._err, data)

    def set_status(self, text: str) -> None:
        """Draw `text` as a line that gives way to whatever is written next; empty to erase it."""
        self._erase_status()
        # Carriage returns and blanks only: they mean the same on every terminal.
        self._add(self._err, text.encode(self._encoding, "replace") + b"\r" if text else b"")
        self._status_columns = len(text)

    def _erase_status(self) -> None:
        columns, self._status_columns = self._status_columns, 0
        if columns:
            self._add(self._err, b" " * columns + b"\r")

    def _add(self, fd: int, data: bytes) -> None:
        if self.failure is not None or not data:
            return
        if self._status_columns:
            self._erase_status()
        if self._pieces and self._pieces[-1][0] == fd:
            self._pieces[-1][1].append(data)
        else:
            self._pieces.append((fd, [data]))
            self._filled.set()
        self._size += len(data)

    @property
    def full(self) -> bool:
        """True if so much waits to be written that more should wait for `wait_room`."""
        return self._size > _MOST_BYTES

    async def wait_room(self) -> None:
        """Wait until no more waits to be written than should."""
        while self.full:
            await self._emptied.park()

    async def wait_written(self) -> None:
        """Wait until everything has been written, or writing has become impossible."""
        while self.failure is None and self.busy:
            await self._emptied.park()

    @property
    def busy(self) -> bool:
        """True if something waits to be written, or is being written."""
        return bool(self._pieces) or self._writing

    def drop(self) -> None:
        """Give up: what waits to be written is dropped, and so is all that comes."""
        self._fail(OSError(errno.ECANCELED, "given up"))

    async def run(self) -> None:
        """Write, until cancelled. What waits then, and what is being written, may be lost."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            pieces, self._pieces, self._size = self._pieces, [], 0
            self._writing = True
            try:
                # Abandoned when cancelled, because a write can last as long as its reader
                # likes; the thread dies with the program.
                await trio.to_thread.run_sync(self._write, pieces, abandon_on_cancel=True)
            except OSError as exc:
                self._fail(exc)
                self._on_failure()
            finally:
                self._writing = False
                self._emptied.unpark_all()

    def _fail(self, exc: OSError) -> None:
        self.failure = exc
        self._pieces.clear()
        self._size = 0
        self._emptied.unpark_all()

    def _write(self, pieces: list[tuple[int, list[bytes]]]) -> None:
        """Write all pieces, in order; blocks. The one thing that is done in a thread."""
        for fd, datas in pieces:
            rest = memoryview(b"".join(datas))
            while rest and self.failure is None:
                try:
                    rest = rest[os.write(fd, rest[:_WRITE_BYTES]) :]
                except BlockingIOError:  # shared with somebody who made it non-blocking
                    poll = select.poll()
                    poll.register(fd, select.POLLOUT)
                    poll.poll(_POLL_MS)
                self.steps += 1
