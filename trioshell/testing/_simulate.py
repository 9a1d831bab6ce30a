"""Run an async function in virtual time, where waiting costs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def simulate(async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, seed: int | None = None) -> T:
    """Run ``async_fn(*args)`` with `trio.run` in virtual time, and return what it returns.

    Whenever every task waits, the clock jumps to the next deadline: hours take
    milliseconds, and what happens at which time is exact. The clock starts at 0.
    Everything that is waited for must be a matter of time or of other tasks of this run, as
    with `SimulatedTransport`; a real process or a real connection would find its timeout
    over at once.

    Args:
        async_fn: what to run, as for `trio.run`; what it raises comes out.
        args: its positional arguments.
        seed: an int from which the order is drawn in which Trio runs tasks that could
            all go on. The same seed and the same program give the same run. With None
            the order is whatever Trio makes it.

    Raises:
        RuntimeError: it was called from inside a running Trio program; or `seed` was given,
            and this version of Trio does not let its order be set.
    """
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "simulate() starts a Trio run of its own: call it from a function that is not async "
            "(in a test with @given or parametrize, say), not from inside trio.run"
        )
    from trio.testing import MockClock  # not at the top: it brings pytest with it

    with nullcontext() if seed is None else _order_from(seed):
        return trio.run(async_fn, *args, clock=MockClock(autojump_threshold=0))


@contextmanager
def _order_from(seed: int) -> Iterator[None]:
    """Draw the order of Trio's scheduler from `seed`; put everything back afterwards.

    Trio has no public way for this. These two names of its scheduler are what its own
    plugin for Hypothesis sets, and pytest-trio with it, so they are the least private ones
    that there are: a flag that has each batch of tasks sorted before it is shuffled, and
    the generator that shuffles. Both belong to the whole process: another thread's Trio
    run at the same time would draw from the same generator.
    """
    from trio._core import _run as scheduler

    if not hasattr(scheduler, "_r") or not hasattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING"):
        raise RuntimeError(f"seed: Trio {trio.__version__} does not let its order be set")
    sorted_before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    state = scheduler._r.getstate()
    # setattr, since Trio declares the flag final.
    setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # noqa: B010
    scheduler._r.seed(seed)
    try:
        yield
    finally:
        scheduler._r.setstate(state)
        # As above.
        setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", sorted_before)  # noqa: B010
