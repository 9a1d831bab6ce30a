"""Run commands on many machines at once, from inside a Trio program.

See `Task`, or `run` for a single command. Everything that a user needs is named here;
transports are in `trioshell.transports`, what tests need in `trioshell.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioshell._copy import CopyWorker
from trioshell._distant import DistantWorker, ExecWorker, SshWorker
from trioshell._errors import (
    FailedNodesError,
    TaskError,
    TransportError,
    TrioshellError,
    WorkerError,
)
from trioshell._events import Close, Hup, Pickup, Read, Start, Written
from trioshell._handler import EventHandler
from trioshell._msgtree import MsgTree
from trioshell._results import (
    Aborted,
    Exited,
    NodeResult,
    NotStarted,
    Signaled,
    TimedOut,
    Unreachable,
)
from trioshell._run import run
from trioshell._stream import StreamWorker
from trioshell._task import Task
from trioshell._worker import Worker

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

__version__ = "0.1.0"

__all__ = [
    "Aborted",
    "Close",
    "CopyWorker",
    "DistantWorker",
    "EventHandler",
    "ExecWorker",
    "Exited",
    "FailedNodesError",
    "Hup",
    "MsgTree",
    "NodeResult",
    "NodeSet",
    "NotStarted",
    "Pickup",
    "Read",
    "Signaled",
    "SshWorker",
    "Start",
    "StreamWorker",
    "Task",
    "TaskError",
    "TimedOut",
    "TransportError",
    "TrioshellError",
    "Unreachable",
    "Worker",
    "WorkerError",
    "Written",
    "run",
]


def __getattr__(name: str) -> Any:
    # Its module looks for the group configuration when imported: not at our own start-up.
    if name == "NodeSet":
        from ClusterShell.NodeSet import NodeSet

        return NodeSet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
