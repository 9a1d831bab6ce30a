"""The records that ``worker.events()`` yields: what a handler is told, as values to match."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trioshell._worker import Worker


@dataclass(frozen=True, slots=True)
class Start:
    """The worker has started. The first event of every worker, once."""

    worker: Worker


@dataclass(frozen=True, slots=True)
class Pickup:
    """The node has taken its place in the fanout, and its way is being opened."""

    worker: Worker
    node: Hashable


@dataclass(frozen=True, slots=True)
class Read:
    """One line of output: cut at ``\\n``, without it and without one ``\\r`` before it."""

    worker: Worker
    node: Hashable
    sname: str
    msg: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """So many bytes of what was written to the worker have been handed to this node."""

    worker: Worker
    node: Hashable
    sname: str
    size: int


@dataclass(frozen=True, slots=True)
class Hup:
    """The node's run is over. Exactly one for each `Pickup`."""

    worker: Worker
    node: Hashable
    rc: int | None


@dataclass(frozen=True, slots=True)
class Close:
    """The worker is closed. The last event of every worker, once."""

    worker: Worker
    timedout: bool


Event: TypeAlias = Start | Pickup | Read | Written | Hup | Close
