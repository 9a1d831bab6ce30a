"""What is written to a worker: one queue for all its nodes, kept until each has had it."""

from __future__ import annotations

import trio


class Input:
    """Data for every node of a worker, started or not; each reads it at its own pace.

    The pieces are kept once. One is forgotten as soon as no node needs it any more, which
    can't be before the last node has started.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[str, bytes]] = []
        self._forgotten = 0  # how many pieces stood before the first that is kept
        self.eof = False
        self.changed = trio.lowlevel.ParkingLot()
        self.progress = trio.lowlevel.ParkingLot()

    @property
    def used(self) -> bool:
        """True once anything, or the end, has been written."""
        return self.end > 0 or self.eof

    @property
    def end(self) -> int:
        """The position after the last piece."""
        return self._forgotten + len(self._pieces)

    def put(self, sname: str, data: bytes) -> None:
        """Add a piece for the stream `sname`; never blocks."""
        self._pieces.append((sname, data))
        self.changed.unpark_all()

    def close(self) -> None:
        """Nothing more comes."""
        self.eof = True
        self.changed.unpark_all()

    async def get(self, position: int) -> tuple[str, bytes] | None:
        """Wait for the piece at `position`; None if the input ends there."""
        while position >= self.end:
            if self.eof:
                return None
            await self.changed.park()
        return self._pieces[position - self._forgotten]

    def forget(self, position: int) -> None:
        """Nobody needs a piece before `position` any more."""
        # Half at a time, so that forgetting costs as much as adding did.
        if 2 * (position - self._forgotten) > len(self._pieces):
            del self._pieces[: position - self._forgotten]
            self._forgotten = position
