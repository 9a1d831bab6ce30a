"""Timers beside real commands: never early, never twice, changed from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.real.probes import AT_ONCE_SECONDS, only
from trioshell import Aborted, Exited, Task, TaskError


class Ticks:
    """Keeps when it was called, and may react."""

    def __init__(self, react: Callable[[Any], object] | None = None) -> None:
        self.times: list[float] = []
        self.react = react

    def ev_timer(self, timer: Any) -> None:
        self.times.append(trio.current_time())
        if self.react is not None:
            self.react(timer)


async def test_fires_once_and_not_early() -> None:
    ticks = Ticks()
    async with Task() as task:
        began = trio.current_time()
        timer = task.timer(0.05, ticks)
        assert timer.is_valid()
    assert len(ticks.times) == 1
    assert ticks.times[0] - began >= 0.05
    assert not timer.is_valid()


async def test_fires_at_each_interval_until_invalidated() -> None:
    def stop(timer: Any) -> None:
        if len(ticks.times) == 4:
            timer.invalidate()

    ticks = Ticks(stop)
    async with Task() as task:
        began = trio.current_time()
        task.timer(0.02, ticks, interval=0.03)
    assert len(ticks.times) == 4
    for number, at in enumerate(ticks.times):
        assert at - began >= 0.02 + 0.03 * number


async def test_a_busy_handler_delays_and_nothing_is_made_up_for() -> None:
    class Busy(Ticks):
        async def ev_timer(self, timer: Any) -> None:  # type: ignore[override]
            super().ev_timer(timer)
            if len(self.times) == 1:
                await trio.sleep(0.1)
            if len(self.times) == 3:
                timer.invalidate()

    ticks = Busy()
    async with Task() as task:
        task.timer(0, ticks, interval=0.02)
    assert ticks.times[1] - ticks.times[0] >= 0.1
    assert ticks.times[2] - ticks.times[1] > 0.001  # not at once, to catch up


async def test_invalidated_before_it_fires() -> None:
    ticks = Ticks()
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            timer = task.timer(600, ticks)
            timer.invalidate()
            timer.invalidate()
            assert not timer.is_valid()
    assert ticks.times == []


async def test_set_anew_earlier_and_later() -> None:
    ticks = Ticks()
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            began = trio.current_time()
            task.timer(600, ticks).set_nextfire(0.01)
            later = task.timer(0.01, ticks)
            later.set_nextfire(0.1)
    assert len(ticks.times) == 2
    assert ticks.times[1] - began >= 0.1


async def test_set_anew_from_its_own_handler() -> None:
    def again(timer: Any) -> None:
        if len(ticks.times) < 3:
            timer.set_nextfire(0.01)
            assert timer.is_valid()

    ticks = Ticks(again)
    async with Task() as task:
        task.timer(0, ticks)
    assert len(ticks.times) == 3


async def test_one_that_has_ended_cannot_be_set() -> None:
    async with Task() as task:
        timer = task.timer(0, Ticks())
        done = await task.run("true")
        assert done.closed
    with pytest.raises(TaskError):
        timer.set_nextfire(1)
    timer.invalidate()


async def test_a_valid_timer_keeps_the_block_open_and_an_autoclose_one_does_not() -> None:
    keeper, free = Ticks(), Ticks()
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            task.timer(0.05, keeper)
            task.timer(600, free, autoclose=True)
            every = task.timer(0.01, free, interval=0.01, autoclose=True)
    assert len(keeper.times) == 1
    assert free.times
    assert not every.is_valid()


async def test_an_autoclose_worker_is_aborted_when_nothing_else_is_open() -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(kill_grace=0.1) as task:
            background = task.shell("sleep 61", autoclose=True)
            work = task.shell("sleep 0.05; exit 3")
    assert only(background).outcome == Aborted()
    assert only(work).outcome == Exited(3)


async def test_autoclose_alone_does_not_open_a_task_for_long() -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(kill_grace=0.1) as task:
            task.shell("sleep 61", autoclose=True)
            task.timer(600, Ticks(), autoclose=True)


async def test_abort_ends_timers() -> None:
    ticks = Ticks()
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task() as task:
            timer = task.timer(600, ticks, interval=1)
            task.abort()
    assert not timer.is_valid()
    assert ticks.times == []


async def test_a_cancelled_task_leaves_no_timer() -> None:
    ticks = Ticks()
    with trio.move_on_after(0.02):
        async with Task() as task:
            timer = task.timer(600, ticks)
    assert not timer.is_valid()


async def test_before_the_task_is_entered_its_time_does_not_run() -> None:
    ticks = Ticks()
    task = Task()
    task.timer(0.03, ticks)
    await trio.sleep(0.05)
    async with task:
        began = trio.current_time()
    assert len(ticks.times) == 1
    assert ticks.times[0] - began >= 0.03


async def test_a_timer_bounds_a_worker() -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(kill_grace=0.1) as task:
            worker = task.shell("sleep 61")
            task.timer(0.05, Ticks(lambda timer: worker.abort()))
    assert only(worker).outcome == Aborted()


async def test_a_handler_without_ev_timer_is_harmless() -> None:
    async with Task() as task:
        task.timer(0, object())
