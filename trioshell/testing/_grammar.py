"""The order of events that every worker keeps to, as a check on a list of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trioshell._events import Close, Event, Hup, Pickup, Read, Start, Written

if TYPE_CHECKING:
    from trioshell._worker import Worker


@dataclass
class _Seen:
    """How far one worker has come."""

    worker: Worker
    closed: bool = False
    running: set[Hashable] = field(default_factory=set)
    over: set[Hashable] = field(default_factory=set)


def check_grammar(events: Iterable[Event], *, complete: bool = True) -> None:
    """Check that `events`, of one worker or of several, come in the order promised.

    For each worker: ``start (pickup (read | written)* hup)* close``, where each node's own
    part comes in that order, once, and the parts of different nodes may be interleaved.

    Args:
        events: the records of ``events()``, or of a `Recorder`.
        complete: False if more events may still come; the order is then checked so far.

    Raises:
        AssertionError: it is another order; names the event that came at the wrong time.
    """
    workers: dict[int, _Seen] = {}
    for place, event in enumerate(events):
        wrong = _take(workers, event)
        if wrong:
            raise AssertionError(f"event {place}, {event!r}: {wrong}")
    for seen in workers.values():
        if complete and not seen.closed:
            raise AssertionError(f"no close of {seen.worker!r}, still running: {seen.running}")


def _take(workers: dict[int, _Seen], event: Event) -> str:
    """Enter `event`; why it must not come now, or nothing."""
    seen = workers.get(id(event.worker))
    if seen is None:
        workers[id(event.worker)] = _Seen(event.worker)
        return "" if isinstance(event, Start) else "comes before the start of its worker"
    if seen.closed:
        return "comes after the close of its worker"
    match event:
        case Start():
            return "comes a second time"
        case Pickup(node=node):
            if node in seen.running or node in seen.over:
                return "the node has been picked up before"
            seen.running.add(node)
        case Read(node=node) | Written(node=node):
            if node not in seen.running:
                return "the node is not running"
        case Hup(node=node):
            if node not in seen.running:
                return "the node is not running"
            seen.running.remove(node)
            seen.over.add(node)
        case Close():
            if seen.running:
                return f"comes before the hup of {seen.running}"
            seen.closed = True
    return ""
