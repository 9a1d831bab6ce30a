"""Run commands on many machines at once, from inside a Trio program.

See `Task`, or `run` for a single command. Everything that a user needs is named here;
transports are in `trioshell.transports`, what tests need in `trioshell.testing`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

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


# Where each name lives. A module is imported when a name of it is first asked for: the command
# line shows its help without Trio, and nobody looks for the groups of node sets in vain.
_HOMES = {
    "ClusterShell.NodeSet": ("NodeSet",),
    "trioshell._copy": ("CopyWorker",),
    "trioshell._distant": ("DistantWorker", "ExecWorker", "SshWorker"),
    "trioshell._errors": (
        "FailedNodesError",
        "TaskError",
        "TransportError",
        "TrioshellError",
        "WorkerError",
    ),
    "trioshell._events": ("Close", "Hup", "Pickup", "Read", "Start", "Written"),
    "trioshell._handler": ("EventHandler",),
    "trioshell._msgtree": ("MsgTree",),
    "trioshell._results": (
        "Aborted",
        "Exited",
        "NodeResult",
        "NotStarted",
        "Signaled",
        "TimedOut",
        "Unreachable",
    ),
    "trioshell._run": ("run",),
    "trioshell._stream": ("StreamWorker",),
    "trioshell._task": ("Task",),
    "trioshell._worker": ("Worker",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
