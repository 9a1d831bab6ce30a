"""A handler that writes down what it is told, as the records that ``events()`` yields."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from trioshell._events import Close, Event, Hup, Pickup, Read, Start, Written

if TYPE_CHECKING:
    from trioshell._worker import Worker


class Recorder:
    """A handler for any number of workers that keeps all events, in the order of the calls.

    Attributes:
        events: what it has been told so far.

    Args:
        then: is called with each event after it has been kept, to react to it.
    """

    def __init__(self, then: Callable[[Event], object] | None = None) -> None:
        self.events: list[Event] = []
        self._then = then

    def of(self, worker: Worker) -> list[Event]:
        """The events of one worker."""
        return [event for event in self.events if event.worker is worker]

    def _keep(self, event: Event) -> None:
        self.events.append(event)
        if self._then is not None:
            self._then(event)

    def ev_start(self, worker: Worker) -> None:
        self._keep(Start(worker))

    def ev_pickup(self, worker: Worker, node: Hashable) -> None:
        self._keep(Pickup(worker, node))

    def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
        self._keep(Read(worker, node, sname, msg))

    def ev_written(self, worker: Worker, node: Hashable, sname: str, size: int) -> None:
        self._keep(Written(worker, node, sname, size))

    def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> None:
        self._keep(Hup(worker, node, rc))

    def ev_close(self, worker: Worker, timedout: bool) -> None:
        self._keep(Close(worker, timedout))
