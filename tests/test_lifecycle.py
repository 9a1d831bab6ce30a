"""The table of a run's life: everything that it has, and nothing that it has not."""

from __future__ import annotations

import itertools

import pytest

from trioshell._lifecycle import OUTCOMES, STEPS, IllegalStepError, State, Step, advance, finish
from trioshell._results import (
    Aborted,
    Exited,
    NotStarted,
    Outcome,
    Signaled,
    TimedOut,
    Unreachable,
)

EVERY_OUTCOME: list[Outcome] = [
    Exited(0),
    Signaled(9),
    TimedOut(1.0),
    Aborted(),
    Unreachable("gone"),
    NotStarted("aborted"),
]


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, Step)))
def test_a_step_is_taken_if_the_table_has_it_and_refused_if_not(state: State, step: Step) -> None:
    if step in STEPS[state]:
        assert advance(state, step) is STEPS[state][step]
    else:
        with pytest.raises(IllegalStepError, match=f"{step.name} .* {state.name}"):
            advance(state, step)


@pytest.mark.parametrize(("state", "outcome"), list(itertools.product(State, EVERY_OUTCOME)))
def test_an_outcome_ends_a_run_only_where_the_table_has_it(state: State, outcome: Outcome) -> None:
    if isinstance(outcome, OUTCOMES[state]):
        assert finish(state, outcome) is State.OVER
    else:
        with pytest.raises(IllegalStepError, match=state.name):
            finish(state, outcome)


def test_every_state_can_be_reached_and_left_but_the_last() -> None:
    reached = {State.WAITING}
    for _ in State:
        reached |= {after for state in reached for after in STEPS[state].values()}
    assert reached | {State.OVER} == set(State)
    for state in set(State) - {State.OVER}:
        assert OUTCOMES[state], "a run must be able to be over wherever it is"
    assert not STEPS[State.OVER]
    assert not OUTCOMES[State.OVER], "a run is over once"


def test_every_outcome_is_possible_somewhere() -> None:
    possible = {kind for kinds in OUTCOMES.values() for kind in kinds}
    assert possible == {type(outcome) for outcome in EVERY_OUTCOME}


def test_what_never_ran_did_not_end_by_itself_and_what_ran_did_not_never_start() -> None:
    for state in (State.WAITING, State.OPENING):
        assert not {Exited, Signaled, TimedOut, Aborted} & set(OUTCOMES[state])
    for state in (State.RUNNING, State.ENDING):
        assert NotStarted not in OUTCOMES[state]
