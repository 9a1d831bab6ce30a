"""One epoll set for all descriptors of our local processes, awaited as a single descriptor.

Trio's `wait_readable` costs two trips through the scheduler and a system call or two for
each wait. Here a descriptor is registered once, edge-triggered, and an event costs a
dictionary look-up and a plain function call; Trio itself sees one descriptor, that of the
epoll set, however many processes run.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TypeAlias

import trio

READABLE = select.EPOLLIN | select.EPOLLET
WRITABLE = select.EPOLLOUT | select.EPOLLET

# Called with the mask of epoll. It may only note what it was told and wake a task: as no
# callback closes or registers a descriptor, no number changes its owner within one batch.
OnEvent: TypeAlias = Callable[[int], None]


# While programs queue up to be started, what happens is collected for so long and then told at
# once, as network cards do with their interrupts: it makes no command any later, since they
# wait for the processor, and spares two of three trips through Trio's scheduler.
_COLLECTED_SECONDS = 0.002


class Poller:
    """Registered descriptors and whom to tell about them. Belongs to one `trio.run`.

    Args:
        is_busy: says whether nothing is lost if all are told a little later.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
        self._epoll = select.epoll()
        self._callbacks: dict[int, OnEvent] = {}

    def add(self, fd: int, events: int, callback: OnEvent) -> None:
        """Have `callback` called on each edge; at once if there already is something.

        Raises:
            OSError: as ``epoll_ctl`` does (EPERM for a regular file, say).
        """
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Forget `fd`, if it is known. To be called before it is closed.

        Closing is not enough: a child between vfork and exec still holds a copy, so the
        kernel would go on reporting events under a number that may by then be another's.
        """
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    @trio.lowlevel.enable_ki_protection  # a child of a system task has not inherited it
    async def run(self) -> None:
        """Tell everybody what happens, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll)
            if self._is_busy():
                await trio.sleep(_COLLECTED_SECONDS)
            for fd, mask in self._epoll.poll(0):
                callback = self._callbacks.get(fd)
                if callback is not None:
                    callback(mask)

    def close(self) -> None:
        self._epoll.close()
