"""The handler that a worker reports to: whom to subclass, and what each method is told."""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trioshell._timer import Timer
    from trioshell._worker import Worker

# Each method may be a plain function or an async one.
Told: TypeAlias = Awaitable[None] | None


class EventHandler:
    """Reacts to what happens to a worker or a timer. Every method here does nothing.

    Subclass it, or use any other object that has some of these methods; each may be sync or
    async. They are called one at a time over the whole Task, so a handler needs no locks. For
    each worker: ``start (pickup (read | written)* hup)* close``, each node's own part in that
    order, parts of different nodes interleaved.

    When a method is called, what it is told can already be read on the worker, and the
    worker's ``current_…`` attributes are set to it. From inside a method everything sync may
    be called: new workers, `abort`, `write`, timers, `fanout`. Waiting in one for a worker of
    the same Task would wait for itself, and raises `TaskError`.

    A slow method slows the commands down and loses nothing. A method that raises has every
    worker of the Task aborted; they are still reported to their ends, and what was raised
    comes out of the Task's block.
    """

    def ev_start(self, worker: Worker) -> Told:
        """The worker starts."""

    def ev_pickup(self, worker: Worker, node: Hashable) -> Told:
        """The node has taken its place in the fanout, and its way is being opened."""

    def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> Told:
        """The node has written the line `msg` to its stream `sname`."""

    def ev_written(self, worker: Worker, node: Hashable, sname: str, size: int) -> Told:
        """So many bytes of what was written to the worker have been handed to the node."""

    def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> Told:
        """The node's run is over. `rc` is None if it timed out, was aborted or never ran."""

    def ev_close(self, worker: Worker, timedout: bool) -> Told:
        """The worker is closed. `timedout` tells whether any of its nodes timed out."""

    def ev_timer(self, timer: Timer) -> Told:
        """The timer has fired."""
