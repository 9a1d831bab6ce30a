"""The exceptions that trioshell raises, and the border between each and its neighbours.

What a *node* does is never an exception: it is an outcome (see `_results`). These
classes are for what the caller, a handler or a transport did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioshell._results import NodeResult


class TrioshellError(Exception):
    """Base of everything that trioshell itself raises.

    A wrong *argument* is the builtin `ValueError` or `TypeError` instead, raised at the
    call and before anything has started.
    """


class WorkerError(TrioshellError):
    """A worker was used in a way that its state does not allow.

    Scheduled twice, read before it was scheduled, written to after its end of input.
    A Task that is in the wrong state raises `TaskError`.
    """


class TaskError(TrioshellError):
    """A Task was used in a way that its state does not allow.

    Given work after it was left, entered twice, asked for results that
    ``keep_results=False`` told it not to keep, or waited for from inside one of its own
    handlers. A worker that is in the wrong state raises `WorkerError`.
    """


class TransportError(TrioshellError):
    """A transport could not open a session, or lost the one it had.

    Raised by a `Transport` towards the engine, which turns it into the outcome
    `Unreachable` of that one node; a program that uses Tasks and workers meets it only
    when a transport as a whole cannot be used (it is not installed, say).

    Args:
        reason: one sentence a person can act on. It becomes ``Unreachable.reason``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SpawnError(TransportError):
    """The command could not be started, though nothing stood between us and the target.

    The engine turns it into the outcome `NotStarted`: no process ever ran. Where the
    target itself could not be reached, it is a plain `TransportError`.
    """


class FailedNodesError(TrioshellError):
    """``run(..., check=True)`` met nodes whose command did not exit with 0.

    Attributes:
        worker: the closed worker, with everything that it gathered.
        failed: the results that are not ``ok``, by node, in node order.
    """

    def __init__(self, message: str, worker: object, failed: dict[object, NodeResult]) -> None:
        super().__init__(message)
        self.worker = worker
        self.failed = failed
