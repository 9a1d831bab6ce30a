"""What child tasks report to the dispatcher, over its bounded channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trioshell._conduct import Run
    from trioshell._results import Outcome
    from trioshell._timer import Timer
    from trioshell._worker import Worker
    from trioshell.transports import Chunk


@dataclass(slots=True)
class Started:
    """The worker's task runs."""

    worker: Worker


@dataclass(slots=True)
class PickedUp:
    """A node has its place in the fanout."""

    run: Run


@dataclass(slots=True)
class Received:
    """A batch of output, as it came. A batch is the unit of hand-over, and not a line: to
    wake the dispatcher costs as much as hundreds of lines.
    """

    run: Run
    chunks: Sequence[Chunk]


@dataclass(slots=True)
class Sent:
    """So many bytes have been handed to the node."""

    run: Run
    sname: str
    size: int


@dataclass(slots=True)
class Ended:
    """The node's run is over, its session closed at this time of the Trio clock."""

    run: Run
    outcome: Outcome
    ended_at: float


@dataclass(slots=True)
class Finished:
    """All runs of the worker are over, and nodes that have not been picked up never will be."""

    worker: Worker


@dataclass(slots=True)
class Fired:
    """A timer has come to its end; stale if it has been set anew since."""

    timer: Timer
    setting: int


Report: TypeAlias = Started | PickedUp | Received | Sent | Ended | Finished | Fired
