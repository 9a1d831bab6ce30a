"""The one table of what may follow what in a node's run.

Every change of a run's state goes through `advance`, which raises on a step that the table
does not have and so changes nothing. There is no other place that decides it.

A run waits for its place in the fanout, then its way is *opening*, then its command is
*running*; a run that we end is *ending* until all of it is gone, and output may still come
then. It is *over* once, with one outcome::

    WAITING --pickup--> OPENING --opened--> RUNNING --end--> ENDING
       |                   |                   |               |
       +-------------------+-------over--------+---------------+--> OVER
"""

from __future__ import annotations

from enum import Enum, auto

from trioshell._errors import TrioshellError
from trioshell._results import (
    Aborted,
    Exited,
    NotStarted,
    Outcome,
    Signaled,
    TimedOut,
    Unreachable,
)


class State(Enum):
    """Where a node's run is."""

    WAITING = auto()
    OPENING = auto()
    RUNNING = auto()
    ENDING = auto()
    OVER = auto()


class Step(Enum):
    """What can happen to a run, short of its being over."""

    PICKUP = auto()
    OPENED = auto()
    READ = auto()
    WRITTEN = auto()
    END = auto()


STEPS: dict[State, dict[Step, State]] = {
    State.WAITING: {Step.PICKUP: State.OPENING},
    State.OPENING: {Step.OPENED: State.RUNNING},
    State.RUNNING: {
        Step.READ: State.RUNNING,
        Step.WRITTEN: State.RUNNING,
        Step.END: State.ENDING,
    },
    State.ENDING: {Step.READ: State.ENDING, Step.WRITTEN: State.ENDING},
    State.OVER: {},
}

# How a run may be over, by where it was. A run that is ending may turn out to have ended by
# itself just before, or to have lost its connection meanwhile.
OUTCOMES: dict[State, tuple[type[Outcome], ...]] = {
    State.WAITING: (NotStarted,),
    State.OPENING: (NotStarted, Unreachable),
    State.RUNNING: (Exited, Signaled, Unreachable),
    State.ENDING: (Exited, Signaled, Unreachable, TimedOut, Aborted),
    State.OVER: (),
}


class IllegalStepError(TrioshellError):
    """A run was to take a step that the table does not have: a defect of trioshell."""


def advance(state: State, step: Step) -> State:
    """The state after `step`.

    Raises:
        IllegalStepError: nothing of the kind may happen in this state.
    """
    try:
        return STEPS[state][step]
    except KeyError:
        raise IllegalStepError(f"{step.name} cannot follow in state {state.name}") from None


def finish(state: State, outcome: Outcome) -> State:
    """`State.OVER`, if a run may be over with `outcome` in this state.

    Raises:
        IllegalStepError: it may not.
    """
    if not isinstance(outcome, OUTCOMES[state]):
        raise IllegalStepError(f"{outcome!r} cannot be the outcome in state {state.name}")
    return State.OVER
