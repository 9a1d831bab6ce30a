"""How a run ended (the outcomes), and what is known of it afterwards (`NodeResult`)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


class Outcome:
    """Base of the six ways in which a run can end. Every node ends in exactly one."""

    __slots__ = ()

    @property
    def rc(self) -> int | None:
        """The return code that the outcome stands for, or None if there is none."""
        return None

    @property
    def ok(self) -> bool:
        """True for ``Exited(0)`` and for nothing else."""
        return False


@dataclass(frozen=True, slots=True)
class Exited(Outcome):
    """The command ran and exited by itself with this return code."""

    rc: int

    @property
    def ok(self) -> bool:
        return self.rc == 0

    def __str__(self) -> str:
        return f"exited with {self.rc}"


@dataclass(frozen=True, slots=True)
class Signaled(Outcome):
    """The command ran, and a signal that we did not send ended it. Its rc is 128 + signum."""

    signum: int

    @property
    def rc(self) -> int:
        return 128 + self.signum

    def __str__(self) -> str:
        return f"killed by signal {self.signum}"


@dataclass(frozen=True, slots=True)
class TimedOut(Outcome):
    """The command ran longer than its timeout of so many seconds, and has been killed.

    A target that could not be *reached* in time is `Unreachable` instead.
    """

    seconds: float

    def __str__(self) -> str:
        return f"timed out after {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Aborted(Outcome):
    """The command ran and was aborted, or cancelled from outside, and has been killed.

    A node that was aborted before its command had started is `NotStarted` instead.
    """

    def __str__(self) -> str:
        return "aborted"


@dataclass(frozen=True, slots=True)
class Unreachable(Outcome):
    """The target could not be reached, refused us, or the connection broke. Its rc is 255."""

    reason: str

    @property
    def rc(self) -> int:
        return 255

    def __str__(self) -> str:
        return f"unreachable: {self.reason}"


@dataclass(frozen=True, slots=True)
class NotStarted(Outcome):
    """The command never ran: aborted while it waited, or it could not be spawned."""

    reason: str

    def __str__(self) -> str:
        return f"not started: {self.reason}"


@dataclass(frozen=True, slots=True)
class NodeResult:
    """All that is known of one command on one node, once its run is over.

    Attributes:
        node: the node's name (or the key of a worker that runs here, without nodes).
        outcome: the one way in which it ended.
        stdout: what it wrote there, byte for byte as it was received: line ends, a
            carriage return or a missing last newline included. With ``stderr=False``
            what it wrote to stderr is in here too, in the order of writing.
        stderr: the same for stderr; empty unless the worker keeps them apart.
        started_at: when the command started, in seconds of the Trio clock; None if it
            never did.
        ended_at: when its session was closed, on the same clock; None if it never started.
        missing_bytes: how much of what it wrote was left out of `stdout` and `stderr`, and told
            to nobody, because of ``max_output_bytes`` or ``max_line_bytes``.
    """

    node: Hashable
    outcome: Outcome
    stdout: bytes = b""
    stderr: bytes = b""
    started_at: float | None = None
    ended_at: float | None = None
    missing_bytes: int = 0

    @property
    def rc(self) -> int | None:
        """The return code of the outcome; None if it has none."""
        return self.outcome.rc

    @property
    def ok(self) -> bool:
        """True if the command ran and exited with 0."""
        return self.outcome.ok

    @property
    def truncated(self) -> bool:
        """True if output was left out on purpose; see `missing_bytes`."""
        return self.missing_bytes > 0
