"""When a child of ours has died: learnt from a pidfd, but only by those that live long enough.

To open a pidfd, have it watched, hear of it, and give it back costs five system calls. Most
commands are over within milliseconds, and since a process that dies closes its output, one look
at that moment finds them dead. So a child is given a pidfd when it has lived for a while, or as
soon as somebody has to know.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

import trio

from trioshell.transports._poller import READABLE, Poller

# How long a child may go unwatched. It is as much later that we may hear of a death when
# something else still holds the output open.
_UNWATCHED_SECONDS = 0.02


class Child:
    """One child, which its owner has not reaped yet.

    Attributes:
        pid: its number; its owner alone reaps it, if it is not some stranger who waits for all.
    """

    __slots__ = ("_due", "_pidfd", "_tell", "pid")

    def __init__(self, pid: int, tell: Callable[[], None], due: float) -> None:
        self.pid = pid
        self._tell: Callable[[], None] | None = tell
        self._due = due
        self._pidfd: int | None = None


class Deaths:
    """Tells each child's owner of its death. Belongs to one `trio.run`.

    Raises:
        OSError: there are no pidfds here: the kernel is too old, or a sandbox forbids them.
    """

    def __init__(self, poller: Poller) -> None:
        os.close(os.pidfd_open(os.getpid()))
        self._poller = poller
        # Invariant: by the time when each is to be watched, the first one first.
        self._unwatched: deque[Child] = deque()
        self._nobody = trio.lowlevel.ParkingLot()

    def expect(self, pid: int, tell: Callable[[], None]) -> Child:
        """Call `tell` once `pid` is a zombie, or has been reaped by a stranger; see `forget`."""
        child = Child(pid, tell, 0.0)
        self._watch_later(child)
        return child

    def watch(self, child: Child) -> None:
        """Watch it from now on, instead of in a while."""
        if child._pidfd is None and child._tell is not None:
            try:
                child._pidfd = os.pidfd_open(child.pid)
                self._poller.add(child._pidfd, READABLE, lambda _: _tell(child))
            except ProcessLookupError:
                _tell(child)
            except OSError:  # no descriptor or no memory to be had: others will give theirs back
                self._close(child)
                self._watch_later(child)

    def forget(self, child: Child) -> None:
        """Never tell of it any more; before it is reaped or after."""
        child._tell = None
        if child._pidfd is not None:
            self._poller.remove(child._pidfd)
            self._close(child)

    @trio.lowlevel.enable_ki_protection  # a child of a system task has not inherited it
    async def run(self) -> None:
        """Watch whom nobody has forgotten in time, until cancelled."""
        while True:
            while not self._unwatched:
                await self._nobody.park()
            await trio.sleep_until(self._unwatched[0]._due)
            now = trio.current_time()
            while self._unwatched and self._unwatched[0]._due <= now:
                self.watch(self._unwatched.popleft())

    def _watch_later(self, child: Child) -> None:
        child._due = trio.current_time() + _UNWATCHED_SECONDS
        if not self._unwatched:
            self._nobody.unpark_all()
        self._unwatched.append(child)

    def _close(self, child: Child) -> None:
        if child._pidfd is not None:
            os.close(child._pidfd)
            child._pidfd = None


def _tell(child: Child) -> None:
    if child._tell is not None:
        child._tell()
