"""simulate(): virtual time, results and exceptions, and an order drawn from a seed."""

from __future__ import annotations

import time

import pytest
import trio

from trioshell.testing import simulate


def test_returns_the_result_and_passes_the_arguments() -> None:
    async def add(a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    assert simulate(add, 2, 3) == 5


def test_time_is_virtual_exact_and_starts_at_zero() -> None:
    async def main() -> list[float]:
        times = [trio.current_time()]
        await trio.sleep(3600.5)
        times.append(trio.current_time())
        with trio.move_on_after(0.25):
            await trio.sleep_forever()
        times.append(trio.current_time())
        return times

    began = time.monotonic()
    assert simulate(main) == [0.0, 3600.5, 3600.75]
    assert time.monotonic() - began < 60


def test_what_it_raises_comes_out_bare() -> None:
    async def main() -> None:
        raise KeyError("bare")

    with pytest.raises(KeyError, match="bare"):
        simulate(main)


async def test_refuses_to_be_called_inside_a_run() -> None:
    async def main() -> None:
        raise AssertionError("must not run")

    with pytest.raises(RuntimeError, match="from a function that is not async"):
        simulate(main)


async def _order(tasks: int = 8, rounds: int = 6) -> tuple[int, ...]:
    order = []

    async def one(number: int) -> None:
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(tasks):
            nursery.start_soon(one, number)
    return tuple(order)


def test_a_seed_fixes_the_order_and_another_seed_changes_it() -> None:
    orders = [simulate(_order, seed=seed) for seed in range(10)]
    assert orders == [simulate(_order, seed=seed) for seed in range(10)]
    assert len(set(orders)) > 1


def test_a_seed_leaves_trio_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from trio._core import _run as scheduler

    monkeypatch.setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", False)
    state = scheduler._r.getstate()

    async def main() -> None:
        assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING
        await _order()
        raise KeyError(7)

    with pytest.raises(KeyError, match="7"):
        simulate(main, seed=7)
    assert scheduler._r.getstate() == state
    assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING is False


def test_a_trio_without_these_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from trio._core import _run as scheduler

    with monkeypatch.context() as patch:
        patch.delattr(scheduler, "_r")
        with pytest.raises(RuntimeError, match="does not let its order be set"):
            simulate(_order, seed=1)
