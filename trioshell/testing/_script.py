"""What one simulated node does, as data: the steps of its command, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TypeAlias, cast


@dataclass(frozen=True, slots=True)
class ReadStdin:
    """A step: read stdin to its end, or until `total` bytes of it have been read.

    Attributes:
        echo: True to write what is read to stdout, as ``cat`` does.
        size: the most bytes that one read takes; at least 1.
        pause: the seconds between one read and the next, to read slowly; 0 or more.
        total: go on to the next step after so many bytes; None reads to the end of input.
    """

    echo: bool = False
    _: KW_ONLY
    size: int = 65536
    pause: float = 0.0
    total: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: at least 1 byte, not {self.size!r}")
        if self.total is not None and self.total < 0:
            raise ValueError(f"total: 0 bytes or more, or None, not {self.total!r}")
        _check_seconds("pause", self.pause, finite=True)


@dataclass(frozen=True, slots=True)
class CloseStdin:
    """A step: close stdin and go on. What is sent to it from now on is refused."""


@dataclass(frozen=True, slots=True)
class CloseOutput:
    """A step: close stdout and stderr and go on. The run is over at its exit, as ever."""


@dataclass(frozen=True, slots=True)
class ListProcesses:
    """A step: write to stdout what runs on this node now, one command a line, like ``ps``."""


@dataclass(frozen=True, slots=True)
class Break:
    """A step, the last one: the connection breaks here, for the `reason` given.

    What was written before is still received; the run then ends in ``Unreachable(reason)``.
    """

    reason: str = "connection lost"


# One thing that a simulated command does: a number waits so many seconds (`math.inf`: for
# ever), bytes are written to stdout, a pair like ("stderr", b"...") to the stream named.
Step: TypeAlias = (
    float | bytes | tuple[str, bytes] | ReadStdin | CloseStdin | CloseOutput | ListProcesses | Break
)
Steps: TypeAlias = Step | Sequence[Step]

_ACTIONS = (ReadStdin, CloseStdin, CloseOutput, ListProcesses, Break)


@dataclass(frozen=True, slots=True)
class Script:
    """What a simulated node does with one command. By default it exits with 0 at once.

    ::

        Script(b"hello\\n")                              # prints, exits with 0
        Script((b"one\\n", 2.5, ("stderr", b"two\\n")), rc=3)
        Script(math.inf, on_term=None)                  # hangs, and ignores SIGTERM
        Script(ReadStdin(echo=True))                    # cat
        Script((b"half a li", Break("link is down")))   # the connection breaks
        Script(unreachable="no route to host", connect=3.0)

    Attributes:
        steps: what the command does, one after the other, then it exits. One step alone
            needs no sequence around it. A step takes no time unless it waits, is held up by
            a full pipe, or waits for its stdin.
        rc: the code that it exits with, 0 to 255.
        signum: a signal, not ours, that ends it instead.
        connect: the seconds until the way to the node is open; `math.inf` never opens it.
        unreachable: after `connect` seconds the node turns out to be unreachable, and this
            is why.
        not_started: after `connect` seconds the command cannot be started, and this is why.
        on_term: what it does instead of its steps when our SIGTERM comes, before it dies of
            it: nothing, by default, so that it is gone at once. None ignores the signal.
        holds_output: the seconds for which something that it left in the background keeps
            its output open after its exit.
    """

    steps: Steps = ()
    rc: int = 0
    _: KW_ONLY
    signum: int | None = None
    connect: float = 0.0
    unreachable: str | None = None
    not_started: str | None = None
    on_term: Steps | None = ()
    holds_output: float = 0.0
    # The same as `steps` and `on_term`, always as a tuple of steps.
    program: tuple[Step, ...] = field(init=False, repr=False, compare=False)
    last_words: tuple[Step, ...] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.rc <= 255:
            raise ValueError(f"rc: 0 to 255, not {self.rc!r}")
        if self.signum is not None:
            if not 1 <= self.signum <= 64:
                raise ValueError(f"signum: 1 to 64, or None, not {self.signum!r}")
            if self.rc:
                raise ValueError(f"rc: {self.rc!r} and signum={self.signum!r}: give only one")
        if self.unreachable is not None and self.not_started is not None:
            raise ValueError("unreachable and not_started: give only one")
        _check_seconds("connect", self.connect)
        _check_seconds("holds_output", self.holds_output)
        object.__setattr__(self, "program", _program("steps", self.steps))
        last_words = None if self.on_term is None else _program("on_term", self.on_term)
        object.__setattr__(self, "last_words", last_words)


def _check_seconds(name: str, value: object, *, finite: bool = False) -> None:
    accepted = "a number of seconds, 0 or more" + ("" if finite else " (math.inf: for ever)")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: {accepted}, not {value!r}")
    if not value >= 0 or (finite and value == math.inf):
        raise ValueError(f"{name}: {accepted}, not {value!r}")


def _program(name: str, steps: object) -> tuple[Step, ...]:
    """`steps` as a tuple of steps that can be done; anything else is refused."""
    if _is_write(steps) or isinstance(steps, str) or not isinstance(steps, Sequence):
        given: tuple[object, ...] = (steps,)
    else:
        given = tuple(steps)
    for step in given:
        _check_step(name, step)
    program = cast(tuple[Step, ...], given)  # which has just been looked at
    closed: set[type] = set()
    for step in program:
        if isinstance(step, CloseOutput | CloseStdin):
            closed.add(type(step))
        if CloseOutput in closed and _is_output(step):
            raise ValueError(f"{name}: {step!r} would write after CloseOutput()")
        if CloseStdin in closed and isinstance(step, ReadStdin):
            raise ValueError(f"{name}: {step!r} would read after CloseStdin()")
    return program


def _check_step(name: str, step: object) -> None:
    if isinstance(step, _ACTIONS) or _is_write(step):
        return
    if isinstance(step, bool) or not isinstance(step, int | float):
        raise TypeError(
            f"{name}: a step is a number of seconds, bytes, ('stdout' or 'stderr', bytes), or one "
            f"of {', '.join(action.__name__ for action in _ACTIONS)}; not {step!r}"
        )
    _check_seconds(name, step)


def _is_write(step: object) -> bool:
    """True for bytes, and for a pair of a stream's name and bytes."""
    if isinstance(step, bytes):
        return True
    return (
        isinstance(step, tuple)
        and len(step) == 2
        and step[0] in ("stdout", "stderr")
        and isinstance(step[1], bytes)
    )


def _is_output(step: Step) -> bool:
    return (
        _is_write(step)
        or isinstance(step, ListProcesses)
        or (isinstance(step, ReadStdin) and step.echo)
    )
