"""What is written to a worker: one queue for all its nodes, kept until each has had it."""

from __future__ import annotations

import trio


class Input:
    """Data for every node of a worker, started or not; each reads it at its own pace.

    The pieces are kept once. One is forgotten when no reader needs it any more, which can't
    be before the last reader has joined. Whatever a reader does costs the same however many
    there are.

    Attributes:
        eof: True when nothing more comes.
        progress: whoever waits there is woken when some reader that was last has gone on.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[str, bytes]] = []
        self._forgotten = 0  # how many pieces stood before the first that is kept
        # Invariant: how many readers stand at each position where there are any.
        self._readers: dict[int, int] = {}
        self._lowest = 0  # no reader stands before it
        self._sealed = False
        self.eof = False
        self._changed = trio.lowlevel.ParkingLot()
        self.progress = trio.lowlevel.ParkingLot()

    @property
    def used(self) -> bool:
        """True once anything, or the end, has been written."""
        return self.end > 0 or self.eof

    @property
    def end(self) -> int:
        """The position after the last piece."""
        return self._forgotten + len(self._pieces)

    # -- who writes --------------------------------------------------------------------------

    def put(self, sname: str, data: bytes) -> None:
        """Add a piece for the stream `sname`; never blocks."""
        self._pieces.append((sname, data))
        self._changed.unpark_all()
        self._settle()

    def close(self) -> None:
        """Nothing more comes."""
        self.eof = True
        self._changed.unpark_all()

    # -- who reads ---------------------------------------------------------------------------

    def join(self) -> None:
        """One reader more, at position 0."""
        self._readers[0] = self._readers.get(0, 0) + 1

    async def get(self, position: int) -> tuple[str, bytes] | None:
        """Wait for the piece at `position`; None if the input ends there."""
        while position >= self.end:
            if self.eof:
                return None
            await self._changed.park()
        return self._pieces[position - self._forgotten]

    def advance(self, position: int) -> None:
        """A reader goes on from `position` to the next."""
        self._readers[position + 1] = self._readers.get(position + 1, 0) + 1
        self.leave(position)

    def leave(self, position: int) -> None:
        """A reader at `position` needs nothing more."""
        left = self._readers[position] - 1
        if left:
            self._readers[position] = left
        else:
            del self._readers[position]
            self.progress.unpark_all()
            self._settle()

    def seal(self) -> None:
        """No more readers join."""
        self._sealed = True
        self.progress.unpark_all()
        self._settle()

    def _settle(self) -> None:
        # Half of what is kept at a time, so that forgetting costs as much as adding did.
        if not self._sealed:
            return
        while self._lowest < self.end and self._lowest not in self._readers:
            self._lowest += 1
        if 2 * (self._lowest - self._forgotten) > len(self._pieces):
            del self._pieces[: self._lowest - self._forgotten]
            self._forgotten = self._lowest
