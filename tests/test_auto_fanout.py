"""`fanout="auto"`: what the governor decides, and how soon it finishes in worlds of several kinds.

The worlds are transports of a few lines in virtual time, each with one thing that is used up when
too much runs at once. Auto is compared with fixed values there: nowhere far from the best of
them, though a different one is the best in each, and far from the worst.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import trioshell
from trioshell import Exited, Task, Unreachable
from trioshell._governor import START, Governor, Period
from trioshell.testing import Script, SimulatedTransport, simulate
from trioshell.transports import Job, Session, Transport

# -- the governor alone -------------------------------------------------------------------------


def period(
    governor: Governor,
    *,
    opening: float = 0.05,
    ended: int = 0,
    failed: int = 0,
    full: bool = True,
    load: float = 0.0,
) -> Period:
    return Period(
        seconds=0.05,
        full=full,
        running=governor.fanout,
        opened=5,
        opening_seconds=opening,
        ended=ended,
        node_seconds=1.0 if ended else 0.0,
        failed=failed,
        load=load,
    )


def grown(periods: int = 20, most: int = 512) -> Governor:
    governor = Governor(most)
    for _ in range(periods):
        governor.judge(period(governor))
    return governor


def test_it_grows_to_its_bound_within_a_second_while_nothing_speaks_against_it() -> None:
    assert Governor(512).fanout == START
    assert grown().fanout == 512
    assert Governor(3).fanout == grown(most=3).fanout == 3


def test_it_stays_while_nobody_waits_and_while_the_processors_are_busy() -> None:
    governor = Governor(512)
    for _ in range(20):
        assert governor.judge(period(governor, full=False)) == START
    for _ in range(20):
        governor.judge(period(governor, load=1.0))
    assert governor.fanout < 3 * START  # it takes a few periods to believe in the load
    stays = governor.fanout
    assert governor.judge(period(governor, load=1.0)) == stays


def test_it_backs_off_where_ways_open_slowly_once_a_second() -> None:
    governor = grown()
    assert governor.judge(period(governor, opening=1.0)) == pytest.approx(0.7 * 512, abs=1)
    after = governor.fanout
    for _ in range(15):
        assert governor.judge(period(governor, opening=1.0)) == after
    for _ in range(15):
        governor.judge(period(governor, opening=1.0))
    assert governor.fanout == pytest.approx(0.7 * after, abs=1)


def test_it_backs_off_where_more_fail_and_not_where_as_many_fail_as_ever() -> None:
    governor = Governor(512)
    for _ in range(60):
        ended = governor.fanout // 4
        governor.judge(period(governor, ended=ended, failed=2 * ended // 5))
    assert governor.fanout == 512
    assert governor.judge(period(governor, ended=100, failed=100)) < 512


def test_after_it_has_hurt_it_grows_by_two_a_round() -> None:
    governor = grown()
    governor.judge(period(governor, opening=1.0))
    low = governor.fanout
    for _ in range(21):
        governor.judge(period(governor))  # the pause
    for _ in range(10):
        governor.judge(period(governor, ended=low // 10))
    assert low < governor.fanout <= low + 3


def test_it_goes_back_where_more_at_once_was_in_vain() -> None:
    governor = Governor(512)
    for _ in range(200):
        governor.judge(period(governor, ended=8))  # 160 a second, however many there are
    # A node takes a second where it does not wait: by Little's law 160 are enough.
    assert governor.fanout < 250


@given(
    st.integers(1, 40),
    st.lists(
        st.builds(
            Period,
            seconds=st.floats(0.001, 5),
            full=st.booleans(),
            running=st.integers(0, 600),
            opened=st.integers(0, 100),
            opening_seconds=st.floats(0, 100),
            ended=st.integers(0, 100),
            node_seconds=st.floats(0, 100),
            failed=st.integers(0, 100),
            load=st.floats(0, 1),
        ),
        max_size=60,
    ),
)
def test_it_never_leaves_its_bounds(most: int, periods: list[Period]) -> None:
    governor = Governor(most)
    for seen in periods:
        assert 1 <= governor.judge(seen) == governor.fanout <= most


# -- the worlds -----------------------------------------------------------------------------


class Work(Session):
    """A run that is over when its work is done."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self.exit: Exited | None = None
        self._work = work

    async def receive(self) -> Sequence[tuple[str, bytes]]:
        if self.exit is None:
            await self._work()
            self.exit = Exited(0)
        return ()

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def end(self, grace: float) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass(eq=False)
class World(Transport):
    """What it takes to reach a node and to run there, and what is used up meanwhile.

    Attributes:
        seconds: that a command takes, on average.
        opening: seconds that a login takes.
        door: how many may log in at the same time; beyond that some are dropped and try again.
        shared: how many commands what they all share can serve at the same time.
        thrash: how much slower each gets by one more that waits for it.
        login_cpu: seconds of our only processor that a login takes.
        dead: the share of nodes that do not answer.
    """

    seconds: float
    opening: float = 0.05
    door: int = 0
    shared: int = 0
    thrash: float = 0.0
    login_cpu: float = 0.0
    dead: float = 0.0

    def __post_init__(self) -> None:
        self._chance = random.Random(1)
        self._processor = trio.CapacityLimiter(1)
        self._place = trio.CapacityLimiter(self.shared or math.inf)
        self._at_door = 0
        self._inside = 0

    def check(self, job: Job) -> None:
        pass

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        if self._chance.random() < self.dead:
            await trio.sleep_forever()
        pause = 0.1
        while not await self._log_in():
            await trio.sleep(pause * (0.5 + self._chance.random()))
            pause = min(2 * pause, 2.0)
        return Work(self._run)

    async def _log_in(self) -> bool:
        async with self._processor:
            await trio.sleep(self.login_cpu)
        self._at_door += 1
        try:
            crowd = self._at_door / self.door - 1 if self.door else 0.0
            taken = crowd <= 0 or self._chance.random() > 0.3 + 0.7 * min(1.0, crowd / 4)
            await trio.sleep(self.opening if taken else self.opening / 2)
        finally:
            self._at_door -= 1
        return taken

    async def _run(self) -> None:
        self._inside += 1
        waiting = max(0.0, self._inside - self._place.total_tokens) if self.shared else 0.0
        async with self._place:
            spread = 1.0 if self.shared else 0.5 + self._chance.random()
            await trio.sleep(self.seconds * spread * (1 + self.thrash * waiting))
        self._inside -= 1


FIXED = (4, 16, 64, 256, 512)

# The number of nodes, the world, and how much more time than the best of all auto may take.
WORLDS: dict[str, tuple[int, Callable[[], World], float]] = {
    "only far away": (2000, lambda: World(seconds=1.0), 1.3),
    "long commands": (600, lambda: World(seconds=30.0), 1.1),
    "short commands": (20_000, lambda: World(seconds=0.05), 1.4),
    "a server that all share": (3000, lambda: World(seconds=0.5, shared=100), 1.2),
    "one that suffers": (1500, lambda: World(seconds=0.2, shared=32, thrash=0.005), 1.6),
    "logins at one door": (1000, lambda: World(seconds=0.3, opening=0.2, door=10), 1.5),
    "logins that cost us": (2000, lambda: World(seconds=0.3, login_cpu=0.005), 1.2),
    "some are dead": (1000, lambda: World(seconds=0.5, dead=0.1), 1.3),
}


def finish(nodes: int, make: Callable[[], World], fanout: int | str) -> tuple[float, int]:
    """Seconds until all is over, and how many could not be reached."""

    async def main() -> tuple[float, int]:
        begun = trio.current_time()
        async with Task(fanout=fanout, transport=make()) as task:  # type: ignore[arg-type]
            worker = task.shell("work", nodes=[f"n{i}" for i in range(nodes)])
        outcomes = [result.outcome for result in worker.results().values()]
        lost = sum(isinstance(outcome, Unreachable) for outcome in outcomes)
        return trio.current_time() - begun, lost

    return simulate(main, seed=1)


@pytest.mark.parametrize("name", WORLDS)
def test_it_finishes_nearly_as_soon_as_the_best_of_all(name: str) -> None:
    nodes, make, allowed = WORLDS[name]
    auto, lost = finish(nodes, make, "auto")
    fixed = {fanout: finish(nodes, make, fanout) for fanout in FIXED}
    times = [seconds for seconds, _ in fixed.values()]
    told = f"auto {auto:.1f} s, " + ", ".join(f"{f}: {s:.1f} s" for f, (s, _) in fixed.items())
    assert auto <= allowed * min(times), told
    assert auto < 0.65 * max(times), told
    # It drives nobody out who could have been reached.
    assert lost <= max(0.02 * nodes, 1.3 * fixed[4][1]), told


def test_its_bound_is_kept() -> None:
    async def main() -> int:
        transport = SimulatedTransport(Script(1.0))
        async with Task(fanout="auto", max_fanout=20, transport=transport) as task:
            task.shell("work", nodes="n[1-200]")
        return transport.statistics().peak

    assert simulate(main) == 20


def test_a_number_ends_the_search_and_the_word_begins_it_anew() -> None:
    async def main() -> None:
        transport = SimulatedTransport(Script(1.0))
        async with Task(fanout="auto", transport=transport) as task:
            worker = task.shell("work", nodes="n[1-5000]")
            assert task.fanout == START
            await trio.sleep(0.9)
            assert task.fanout > 200
            task.fanout = 7
            await trio.sleep(3.0)
            assert task.fanout == 7
            assert task.statistics().running == 7
            task.fanout = "auto"
            assert task.fanout == START
            await trio.sleep(2.0)
            assert task.fanout > START
            worker.abort()

    simulate(main)


def test_it_costs_nothing_while_nobody_waits() -> None:
    async def main() -> int:
        woken = 0

        class Count(trio.abc.Instrument):
            def before_task_step(self, task: trio.lowlevel.Task) -> None:
                nonlocal woken
                woken += "Pace" in task.name

        transport = SimulatedTransport(Script(1000.0))
        async with Task(fanout="auto", transport=transport) as task:
            trio.lowlevel.add_instrument(Count())
            task.shell("work", nodes="n[1-10]")
        return woken

    assert simulate(main) < 10


@pytest.mark.parametrize(
    ("fanout", "error", "said"),
    [
        ("many", TypeError, "fanout must be a whole number or 'auto', not 'many'"),
        (0, ValueError, "1 or more"),
    ],
)
def test_anything_else_is_refused(fanout: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Task(fanout=fanout)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match="max_fanout must be 1 or more"):
        Task(fanout="auto", max_fanout=0)


def test_the_one_liner_takes_it() -> None:
    async def main() -> None:
        transport = SimulatedTransport(Script(0.1))
        worker = await trioshell.run("work", "n[1-100]", transport=transport, fanout="auto")
        assert all(result.ok for result in worker.results().values())

    simulate(main)
