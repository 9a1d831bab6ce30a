"""Places in the fanout: taken on behalf of a node before there is a task for it."""

from __future__ import annotations

from collections.abc import Iterable

import trio


class Place:
    """A place in every limiter that binds a node; held from its pickup until its session is
    closed.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[trio.CapacityLimiter] = []

    async def take(self, limiters: Iterable[trio.CapacityLimiter]) -> None:
        """Wait for a place in each, in the order given. Cancelled, none is held.

        The narrower one must come first, so that nobody holds a place in the wider one
        while it waits.
        """
        try:
            for limiter in limiters:
                await limiter.acquire_on_behalf_of(self)
                self._held.append(limiter)
        except trio.Cancelled:
            self.release()
            raise

    def release(self) -> None:
        """Give back what is held."""
        while self._held:
            self._held.pop().release_on_behalf_of(self)
