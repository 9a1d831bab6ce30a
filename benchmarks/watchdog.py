"""What the watchdog costs a command, and what it costs a run: with it and without it, in turn.

Run it as ``python benchmarks/watchdog.py`` (``--rounds N``, ``--amount N``). In each round the
same commands run once with the watchdog and once without, in an order that is drawn; what counts
is the difference within a round, for the machine may be busy with something else. CPU is that
of this process alone, without that of the commands.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from dataclasses import dataclass
from functools import partial

import trio

from trioshell import Task
from trioshell.transports import ExecTransport
from trioshell.transports._watchdog import Watchdog

FANOUT = 64
STARTS = 50


@dataclass
class Cost:
    cpu: float
    seconds: float


def run(amount: int, *, watchdog: bool) -> Cost:
    """So many commands, a short one each time."""

    async def main() -> None:
        transport = ExecTransport(watchdog=watchdog)
        async with Task(fanout=FANOUT, transport=transport) as task:
            worker = task.shell(["echo", "%h"], nodes=f"n[1-{amount}]", stdin=False)
        assert len(list(worker.iter_buffers())) == amount

    cpu, seconds = time.process_time(), time.perf_counter()
    trio.run(main)
    return Cost(time.process_time() - cpu, time.perf_counter() - seconds)


def start() -> Cost:
    """The start of a watchdog, and its end."""
    cpu, seconds = time.process_time(), time.perf_counter()
    watchdog = Watchdog()
    watchdog.start()
    watchdog.close()
    return Cost(time.process_time() - cpu, time.perf_counter() - seconds)


def enter(amount: int) -> float:
    """CPU seconds to enter a command in the table and to strike it out again."""
    watchdog = Watchdog()
    watchdog.start()
    cpu = time.process_time()
    for _ in range(amount):
        watchdog.take(None, 1, 1).clear()
    cpu = time.process_time() - cpu
    watchdog.close()
    return cpu / amount


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--amount", type=int, default=1000)
    given = parser.parse_args()
    run(given.amount, watchdog=True)  # so that all is imported, and the caches are warm
    draw = random.Random(1)
    cpu: list[float] = []
    ratios: list[float] = []
    plain: list[float] = []
    for _ in range(given.rounds):
        both = {"with": partial(run, watchdog=True), "without": partial(run, watchdog=False)}
        costs = {name: both[name](given.amount) for name in draw.sample(list(both), 2)}
        cpu.append((costs["with"].cpu - costs["without"].cpu) / given.amount)
        ratios.append(costs["with"].seconds / costs["without"].seconds)
        plain.append(costs["without"].cpu / given.amount)
    starts = [start() for _ in range(STARTS)]
    print(f"{given.rounds} rounds of {given.amount} commands, fanout {FANOUT}")
    print(f"own CPU a command, without: {_spread(plain, 1e6)} µs")
    print(f"own CPU a command, more with it: {_spread(cpu, 1e6)} µs")
    print(f"entering and striking out alone: {enter(100_000) * 1e6:.2f} µs")
    print(f"duration, with / without: {_spread(ratios, 1)}")
    print(f"start and end, once a trio.run: {_spread([one.seconds for one in starts], 1e3)} ms")
    print(f"  of which own CPU: {_spread([one.cpu for one in starts], 1e3)} ms")


def _spread(values: list[float], scale: float) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle * scale:.2f} (quartiles {low * scale:.2f} and {high * scale:.2f})"


if __name__ == "__main__":
    main()
