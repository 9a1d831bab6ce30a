"""``fanout="auto"``: watches how a Task's nodes fare, and lets the governor set the fanout."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import trio

from trioshell._governor import Governor, Period

# How often it is judged while nodes wait. A node waits for its place no longer than it would have,
# so this is short enough to be at hundreds within a second.
_PERIOD_SECONDS = 0.05


class Pace:
    """The fanout of one Task, while nobody says what it is to be.

    It costs something only while nodes wait for a place.

    Args:
        limiter: what is set.
        most: the bound of what it is set to.
    """

    def __init__(self, limiter: trio.CapacityLimiter, most: int) -> None:
        self._limiter = limiter
        self._governor = Governor(most)
        self._processors = Processors()
        self._waited_for = trio.Event()
        self._scope = trio.CancelScope()
        self._opened = self._ended = self._failed = 0
        self._opening_seconds = self._node_seconds = 0.0
        limiter.total_tokens = self._governor.fanout

    # -- told by the runs --------------------------------------------------------------------

    def wanted(self) -> None:
        """A node asks for its place."""
        self._waited_for.set()

    def opened(self, seconds: float) -> None:
        """A way is open, and it took so long."""
        self._opened += 1
        self._opening_seconds += seconds

    def ended(self, seconds: float, *, began: bool) -> None:
        """A node had its place for so long; False if its command has never begun."""
        self._ended += 1
        self._node_seconds += seconds
        self._failed += not began

    # -- its own life ------------------------------------------------------------------------

    async def run(self) -> None:
        """Judge and set, until `stop`."""
        with self._scope:
            while True:
                await self._waited_for.wait()
                self._period(_PERIOD_SECONDS, full=False)  # what came before is of no interest
                await self._judge_while_nodes_wait()

    def stop(self) -> None:
        """Leave the fanout as it is from now on."""
        self._scope.cancel()

    async def _judge_while_nodes_wait(self) -> None:
        before = trio.current_time()
        idle = False
        while True:
            await trio.sleep(_PERIOD_SECONDS)
            now = trio.current_time()
            waiting = self._limiter.statistics().tasks_waiting > 0
            period = self._period(now - before, full=waiting)
            self._limiter.total_tokens = self._governor.judge(period)
            before = now
            if idle and not waiting:
                self._waited_for = trio.Event()
                return
            idle = not waiting

    def _period(self, seconds: float, *, full: bool) -> Period:
        period = Period(
            seconds=seconds,
            full=full,
            running=self._limiter.borrowed_tokens,
            opened=self._opened,
            opening_seconds=self._opening_seconds / self._opened if self._opened else 0.0,
            ended=self._ended,
            node_seconds=self._node_seconds / self._ended if self._ended else 0.0,
            failed=self._failed,
            load=self._processors.load(seconds),
        )
        self._opened = self._ended = self._failed = 0
        self._opening_seconds = self._node_seconds = 0.0
        return period


class Processors:
    """How busy those processors are that the program needs: its own thread's, and all together."""

    def __init__(self) -> None:
        self._count = os.cpu_count() or 1
        self._at = time.monotonic()
        self._mine = time.thread_time()
        self._all = _busy_seconds()

    def load(self, seconds: float) -> float:
        """From 0 to 1, since the last call, which was so many seconds of the Trio clock ago.

        Always 0 where that clock is not that of the world: processors work in real time.
        """
        now, mine, everybody = time.monotonic(), time.thread_time(), _busy_seconds()
        elapsed = now - self._at
        worked = mine - self._mine, (everybody - self._all) / self._count
        self._at, self._mine, self._all = now, mine, everybody
        if not 0.5 < elapsed / seconds < 2.0:
            return 0.0
        return min(1.0, max(worked) / elapsed)  # a NaN comes second, and is passed over


def _busy_seconds() -> float:
    """What all processors of this machine have worked until now; NaN if that is not to be had."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/stat", "rb", buffering=0) as file:
            fields = file.read(256).split(b"\n", 1)[0].split()
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return float("nan")
