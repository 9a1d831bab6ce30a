"""An end at every single point at which one can come: cancellation, abort, interrupt, exception.

A small service is played once, and the steps are counted that Trio's scheduler takes: between two
of them is where a cancellation can arrive, whichever task it meets. Then it is played once for each
step, with an end of one kind exactly there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from tests.checker import check, leaves
from tests.mixed import Crew, Mixed, Visit
from tests.stage import Stage, play
from tests.troupe import Boom
from trioshell.testing import ReadStdin, Script

SMALL = Mixed(
    workers=(
        Crew(
            scripts=(
                Script((b"a\n", 0.25, ("stderr", b"no end")), rc=3),
                Script(math.inf, on_term=(b"bye\n", 0.25)),
                Script((ReadStdin(echo=True), b"read\n")),
            ),
            faults=(None, None, None),
            timeout=0.5,
            fanout=2,
            stderr=True,
        ),
        Crew(
            scripts=(Script(unreachable="gone", connect=0.25), Script(math.inf, on_term=None)),
            faults=(None, None),
            timeout=0.75,
            handler="sync",
        ),
    ),
    fanout=3,
    grace=0.5,
    timed=((0.375, ("write", 0)), (0.5, ("eof", 0)), (0.25, ("timer", 3))),
    visits=(Visit(0, 0.0, pause=0.25),),
    delay=0.125,
    # So that the consumer and the handler hold nodes back, with what they have said in their hands.
    lag=1,
    reports=1,
)


class AtStep(trio.abc.Instrument):
    """Counts the scheduler's steps while a Task lives, and does something right after one."""

    def __init__(self, step: int, act: Callable[[], None]) -> None:
        self.left = step
        self.act = act
        self.steps = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self.left:
            self.act()


# How the end comes: it is told of the stage, and returns what is to be called at the step.
Kind = Callable[[Stage], Callable[[], None]]


def cancelled(stage: Stage) -> Callable[[], None]:
    return lambda: stage.act_cancel(0)


def aborted(stage: Stage) -> Callable[[], None]:
    return lambda: stage.act_abort(0)


def worker_aborted(stage: Stage) -> Callable[[], None]:
    return lambda: stage.act_abort_worker(0)


def interrupted(stage: Stage) -> Callable[[], None]:
    return stage.interrupt


def raised(stage: Stage) -> Callable[[], None]:
    event = trio.Event()

    async def block() -> None:
        with trio.move_on_after(60):
            await event.wait()
            raise stage.throw(Boom("block"))

    stage.block = block
    return event.set


KINDS: dict[str, Kind] = {
    "cancelled": cancelled,
    "aborted": aborted,
    "worker aborted": worker_aborted,
    "interrupted": interrupted,
    "raised": raised,
}


def walk(mixed: Mixed, step: int, kind: Kind) -> tuple[Stage, int]:
    """Play it with an end right after `step`; and how many steps there were."""
    instruments: list[AtStep] = []

    async def perform(stage: Stage) -> None:
        instrument = AtStep(step, kind(stage))
        instruments.append(instrument)
        trio.lowlevel.add_instrument(instrument)
        try:
            await stage.perform()
        finally:
            trio.lowlevel.remove_instrument(instrument)
            if stage.interrupts:
                # It is delivered at a checkpoint of the main task, which may be after the Task.
                try:
                    await trio.sleep(1 / 16)
                except KeyboardInterrupt:
                    pass

    stage = play(mixed, perform)
    return stage, instruments[0].steps


def check_walk(mixed: Mixed, name: str, stride: int, offset: int = 0) -> int:
    """An end at every step, or at every so manieth; returns how many there were."""
    kind = KINDS[name]
    quiet, steps = walk(mixed, 0, aborted)
    check(quiet)
    ended = 0
    for step in range(1 + offset, steps + 1, stride):
        stage, _ = walk(mixed, step, kind)
        try:
            check(stage)
            check_end(name, stage, quiet)
            ended += bool(stage.ends)
        except AssertionError as error:
            error.add_note(f"{name} right after step {step} of {steps}, seed {mixed.seed}")
            raise
    assert ended >= 0.8 * steps / stride  # with an exception the very last steps are not there
    return steps


def check_end(name: str, stage: Stage, quiet: Stage) -> None:
    """It came out as what it was, and ended everything in time."""
    came = leaves(stage.raised)
    if name == "raised":
        assert came == stage.thrown  # nothing, if all was over before the step came
    elif name == "interrupted":
        assert all(isinstance(error, KeyboardInterrupt) for error in came)
    else:
        assert came == []
    assert stage.scope.cancelled_caught <= (name == "cancelled")
    if name == "cancelled" and stage.over_at > stage.ends[0]:
        assert stage.scope.cancelled_caught
    if name in ("cancelled", "raised", "interrupted") and stage.ends:
        # Async methods are cancelled at their first checkpoint: nothing but the grace is left.
        latest = max(stage.ends) + stage.mixed.grace
        assert stage.over_at <= latest + (1 / 16 if name == "interrupted" else 0)
    elif name != "worker aborted":
        assert stage.over_at <= max(quiet.over_at, 60) + stage.mixed.grace


def test_a_cancellation_at_every_step() -> None:
    assert check_walk(SMALL, "cancelled", 1) > 100


@pytest.mark.parametrize("name", [name for name in KINDS if name != "cancelled"])
def test_another_end_at_every_seventh_step(name: str) -> None:
    assert check_walk(SMALL, name, 7) > 100


def test_an_interrupt_within_every_call_of_a_handler() -> None:
    calls = len(play(SMALL).calls)
    assert calls > 15
    for number in range(calls):
        stage = play(replace(SMALL, reactions=((number, ("interrupt", 0)),)))
        check(stage)
        assert [type(error) for error in leaves(stage.raised)] == [KeyboardInterrupt]
        assert len(stage.calls) > number


@pytest.mark.soak
@pytest.mark.parametrize("name", KINDS)
def test_every_end_at_every_step(name: str) -> None:
    for seed in (1, 2):
        check_walk(replace(SMALL, seed=seed), name, 1)
