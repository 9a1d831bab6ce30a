"""What ^C and its like mean to us, decided by a plain object, and how they are heard."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from enum import Enum, auto

import trio

# Two ^C within this time mean it (pdsh has the same).
AGAIN_SECONDS = 1.0

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Answer(Enum):
    """What is done about a signal."""

    REPORT = auto()  # say which nodes are still running, and go on
    END = auto()  # abort everything
    HURRY = auto()  # everything is being aborted: do not even wait for the screen


class Interrupts:
    """Decides what a signal means, from those before it.

    Args:
        careful: True if the first ^C only asks for a report. What other signals say is never
            asked again.
    """

    def __init__(self, careful: bool) -> None:
        self.ended_by: signal.Signals | None = None
        self._careful = careful
        self._last = float("-inf")

    def answer(self, signum: signal.Signals, now: float) -> Answer:
        """What to do about `signum`, which came at the time `now`, in seconds."""
        if self.ended_by is not None:
            return Answer.HURRY
        again = now - self._last <= AGAIN_SECONDS
        self._last = now
        if self._careful and signum == signal.SIGINT and not again:
            return Answer.REPORT
        self.ended_by = signum
        return Answer.END


def heard() -> list[signal.Signals]:
    """The signals that end us: not those which whoever started us has had us ignore."""
    return [signum for signum in _ENDING if signal.getsignal(signum) is not signal.SIG_IGN]


@contextmanager
def signals() -> Iterator[AsyncIterator[signal.Signals]]:
    """The signals that are `heard`, one by one as they come; inside, they do nothing else."""
    which = heard()
    if not which:
        yield _never()
        return
    with trio.open_signal_receiver(*which) as arriving:
        yield (signal.Signals(number) async for number in arriving)


async def _never() -> AsyncIterator[signal.Signals]:
    await trio.Event().wait()
    yield signal.SIGTERM  # which does not happen
