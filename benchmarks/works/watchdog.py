"""The watchdog of local commands: what it costs a command, and what its start costs a run."""

from __future__ import annotations

from functools import partial

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload


def run(watched: bool, amount: int, meter: Meter) -> None:
    """The commands run once before it counts, so that the start of the watchdog does not."""
    import trio

    from trioshell import Task
    from trioshell.transports import ExecTransport

    async def main() -> None:
        async with Task(fanout=64, transport=ExecTransport(watchdog=watched)) as task:
            await task.run("true", nodes="n0")
            with meter:
                worker = await task.run("echo hello", nodes=f"n[1-{amount}]", stdin=False)
            ((_, nodes),) = worker.iter_buffers()
            assert len(nodes) == amount

    trio.run(main)


def start(amount: int, meter: Meter) -> None:
    from trioshell.transports._watchdog import Watchdog

    with meter:
        for _ in range(amount):
            watchdog = Watchdog()
            watchdog.start()
            watchdog.close()


WORKLOADS = (
    Workload(
        "watchdog",
        "1,000 local `echo` with a watchdog and without",
        "1,000 local `echo` at fanout 64; with the watchdog that ends them should this process be "
        "killed, which is how it is by default, and without it.",
        "command",
        (1_000,),
        (200,),
        (
            Contender(OURS, partial(run, True), "ExecTransport(), fanout 64"),
            Contender("without", partial(run, False), "ExecTransport(watchdog=False), fanout 64"),
        ),
        counts="cpu",
    ),
    Workload(
        "watchdog-start",
        "the start of the watchdog",
        "The start and the end of a watchdog, once for each `trio.run` that has local commands.",
        "start",
        (50,),
        (5,),
        (Contender(OURS, start, "Watchdog().start() and close()"),),
        counts="cpu",
    ),
)
