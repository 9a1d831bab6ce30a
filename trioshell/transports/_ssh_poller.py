"""One epoll set for the sockets of all SSH connections, awaited through Trio as one descriptor.

Trio's `wait_readable` costs two trips through the scheduler and a system call for each wait,
and a connection waits a dozen times for an ``echo``. Here a socket is registered once, an
event costs a plain function call, and what has become ready at the same moment is dealt with
in one turn.
"""

from __future__ import annotations

import select
from collections.abc import Callable

import trio

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT


class Poller:
    """Registered descriptors, and what to call when they are ready (level-triggered).

    A callback may close and register descriptors. An event for a descriptor that was closed
    in the same turn is dropped, or reaches the next one of the same number, which then finds
    nothing to read.

    Args:
        give: runs a function as a turn of its own.
    """

    def __init__(self, give: Callable[[Callable[[], object]], None]) -> None:
        self._give = give
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], object]] = {}

    def add(self, fd: int, callback: Callable[[], object]) -> None:
        """Have `callback` called when `fd` is readable."""
        self._epoll.register(fd, READABLE)
        self._callbacks[fd] = callback

    def set_mask(self, fd: int, mask: int) -> None:
        """Have the callback of `fd` called for these events from now on."""
        self._epoll.modify(fd, mask)

    def remove(self, fd: int) -> None:
        """Forget `fd`. To be called before it is closed.

        Closing is not enough: a child between vfork and exec still holds a copy, so the
        kernel would go on reporting events under a number that may by then be another's.
        """
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    async def run(self) -> None:
        """Call everybody who is ready, until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._give(self._turn)
        finally:
            self._epoll.close()

    def _turn(self) -> None:
        for fd, _ in self._epoll.poll(0):
            callback = self._callbacks.get(fd)
            if callback is not None:
                callback()
