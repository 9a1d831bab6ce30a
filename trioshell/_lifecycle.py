"""The one table of what may follow what in a node's run, and in the worker that it belongs to.

Every change of a state goes through `advance`, `finish` or `advance_worker`, which raise on a
step that the table does not have and so change nothing. There is no other place that decides
it.

A run waits for its place in the fanout, then its way is *opening*, then its command is
*running*; a run that we end is *ending* until all of it is gone, and output may still come
then. It is *over* once, with one outcome. Nodes are picked up only between the start of their
worker and its close. docs/lifecycle.md has the diagram, which is drawn from the tables.
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


class WorkerState(Enum):
    """Where a worker is."""

    NEW = auto()
    STARTED = auto()
    CLOSED = auto()


class WorkerStep(Enum):
    """What can happen to a worker. PICKUP is that of one of its nodes."""

    START = auto()
    PICKUP = auto()
    CLOSE = auto()


WORKER_STEPS: dict[WorkerState, dict[WorkerStep, WorkerState]] = {
    WorkerState.NEW: {WorkerStep.START: WorkerState.STARTED},
    WorkerState.STARTED: {
        WorkerStep.PICKUP: WorkerState.STARTED,
        WorkerStep.CLOSE: WorkerState.CLOSED,  # once all runs that were picked up are over
    },
    WorkerState.CLOSED: {},
}


class IllegalStepError(TrioshellError):
    """Something was to take a step that the table does not have: a defect of trioshell."""


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


def advance_worker(state: WorkerState, step: WorkerStep, running: int = 0) -> WorkerState:
    """The state of a worker after `step`, while so many of its runs are not over.

    Raises:
        IllegalStepError: nothing of the kind may happen in this state, or while these run.
    """
    after = WORKER_STEPS[state].get(step)
    if after is None:
        raise IllegalStepError(f"{step.name} of a worker cannot follow in state {state.name}")
    if after is WorkerState.CLOSED and running:
        raise IllegalStepError(f"{step.name} of a worker cannot follow while {running} runs go on")
    return after
