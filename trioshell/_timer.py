"""A timer of a Task: one call of `ev_timer` after a time, or one after each interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioshell._arguments import check_finite_seconds, check_flag
from trioshell._errors import TaskError
from trioshell._reports import Fired

if TYPE_CHECKING:
    from trioshell._task import Task


class Timer:
    """Calls ``handler.ev_timer(timer)`` when its time has come; made by `Task.timer`.

    It never fires early, nor twice for one setting, nor after `invalidate`. It keeps the
    Task's block open as long as it is valid, unless it is `autoclose`. A handler that is busy
    delays it; intervals that pass meanwhile are not made up for.

    Attributes:
        eh: the handler.
        interval: seconds from one call to the next; None to fire once.
    """

    def __init__(
        self,
        task: Task,
        fire: float,
        handler: object,
        interval: float | None,
        autoclose: bool,
    ) -> None:
        self._fire = check_finite_seconds("fire", fire)
        self.interval = None if interval is None else check_finite_seconds("interval", interval)
        if self.interval == 0:
            raise ValueError("interval must be more than 0 seconds, or None to fire once, not 0")
        self.autoclose = check_flag("autoclose", autoclose)
        self.task = task
        self.eh = handler
        self._valid = True
        self._ended = False
        self._due: float | None = None  # on the Trio clock; None until it runs
        # Invariant: counts up at each setting. What was reported of an older one is stale.
        self._setting = 0
        self._sleeping = trio.CancelScope()
        self._told = trio.Event()

    def is_valid(self) -> bool:
        """True if it will fire again."""
        return self._valid

    def invalidate(self) -> None:
        """It does not fire any more; harmless when repeated."""
        self._set(None)

    def set_nextfire(self, fire: float, interval: float | None = None) -> None:
        """Fire next so many seconds from now, and not when it was to fire before.

        A timer that has fired for the last time, or was invalidated, is valid again if this
        is called before or within its own `ev_timer`. Once the Task is cancelled, or a handler
        has raised, it has no effect.

        Args:
            fire: seconds from now.
            interval: seconds from then on to each further call; None leaves it as it is.

        Raises:
            TaskError: the timer has ended.
        """
        seconds = check_finite_seconds("fire", fire)
        if interval is not None:
            self.interval = check_finite_seconds("interval", interval) or None
        if self._ended:
            raise TaskError("the timer has ended; make a new one")
        self._set(seconds)

    def _set(self, fire: float | None) -> None:
        self._setting += 1
        # When everything is to end, a timer that sets itself anew would hold it up for ever.
        self._valid = fire is not None and not self.task._engine.stopped
        if fire is not None:
            self._fire = fire
            if self._due is not None:
                self._due = trio.current_time() + fire
        self._sleeping.cancel()

    # -- the engine's side -----------------------------------------------------------------

    abort = invalidate

    def abandon(self) -> None:
        """The engine has broken down; nobody waits for a timer."""

    @trio.lowlevel.enable_ki_protection  # an interrupt belongs to the block or to a handler
    async def serve(self) -> None:
        """The timer's child task: sleeps until it is due, and has it told."""
        self._due = trio.current_time() + self._fire
        while self._valid:
            setting = self._setting
            with trio.CancelScope() as self._sleeping:
                await trio.sleep_until(self._due)
            if setting != self._setting:
                continue
            self._told = trio.Event()
            await self.task._engine.dispatcher.report(Fired(self, setting))
            await self._told.wait()
            if setting == self._setting:  # its handler has left it as it was
                self._go_on()
        self._ended = True
        self.task._engine.closed(self)

    def _go_on(self) -> None:
        if self.interval is None:
            self._valid = False
            return
        assert self._due is not None
        passed = trio.current_time() - self._due
        self._due += self.interval * (1 + passed // self.interval)

    def _is_current(self, setting: int) -> bool:
        """True if what was reported of this setting is to be told still."""
        return self._valid and setting == self._setting
